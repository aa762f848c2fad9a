"""Schedules the looks at cameras, with APScheduler.

A camera never has two looks at once: a tick that finds the previous look still running is skipped and counted. The
first tick after a camera was added again is not: it waits for the end of the look that the earlier schedule has begun.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo

from apscheduler.events import EVENT_JOB_MAX_INSTANCES, EVENT_JOB_SUBMITTED, JobSubmissionEvent
from apscheduler.job import Job
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from edged.core.cron import LAST, parse_cron
from edged.core.specs import WEEK, CameraSpec, Cron, Every, Hours
from edged.service.lateness import SETTLED_S, Lateness, SkippedLooks
from edged.service.look_pool import LookPool
from edged.service.time_zone import zone

log = logging.getLogger("edged.schedule")

FIRST_LOOK_WITHIN_S = 1.0
MISSED_S = 60.0  # a run that is overdue by more is dropped
STOP_WAIT_S = 5.0
OVERDUE_S = 1.0  # by more, APScheduler's thread is woken
AHEAD = timedelta(seconds=5)  # by which a clock may be set without being noticed; see watchdog.CLOCK_JUMP_S


@dataclass(frozen=True, slots=True)
class Ticks:
    """A camera's ticks since it was added: all, those that were skipped, and those outside of its hours.

    `done_at` (monotonic) is when one was last followed by a look that has ended, or was outside of the hours; at first,
    when the camera was added. None: there is no such camera.
    """

    due: int = 0
    skipped: int = 0
    outside_hours: int = 0
    done_at: float | None = None


@dataclass(frozen=True, slots=True)
class _Tick:
    """A camera's schedule as a pool thread needs it."""

    name: str
    hours: tuple[Hours, ...]
    time_zone: tzinfo

    def within_hours(self) -> bool:
        moment = datetime.now(self.time_zone)
        return not self.hours or any(window.contains(moment) for window in self.hours)


class Schedule:
    """Calls `look(camera name)` in a pool of threads whenever a camera is due.

    All methods are for the thread that owns the schedule. `settled_s` is how long a camera that fell behind must not
    skip a look to be back on schedule.
    """

    def __init__(
        self, look: Callable[[str], None], threads: int, lateness: Lateness, settled_s: float = SETTLED_S
    ) -> None:
        self._look = look
        self._lateness = lateness
        self._pool = LookPool(max(1, threads), lateness)
        self._lock = threading.Lock()  # for the counts, which APScheduler's thread changes
        self._ticks: dict[str, Ticks] = {}
        self._current: dict[str, _Tick] = {}  # of each camera's newest schedule
        # By camera. get_jobs() takes a lock that APScheduler's thread holds if it hangs. Each schedule of a camera is
        # a job with an id of its own, because APScheduler counts running looks by the id.
        self._jobs: dict[str, Job] = {}
        self._numbers = itertools.count(1)
        self._skipped_looks = SkippedLooks(settled_s)
        self._scheduler = BackgroundScheduler(
            timezone=UTC,  # the default is the system's, and an invalid TZ raises
            executors={"default": self._pool},
            job_defaults={
                # The default is 1 s. LookPool ignores it, but APScheduler's own pool would drop looks under load.
                "misfire_grace_time": None,
                "coalesce": True,
                "max_instances": 1,
            },
        )
        self._scheduler.add_listener(self._submitted, EVENT_JOB_SUBMITTED)
        self._scheduler.add_listener(self._skipped, EVENT_JOB_MAX_INSTANCES)

    def start(self) -> None:
        # it logs each run and each skip; skips are logged by SkippedLooks
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._scheduler.start()

    def add(self, camera: CameraSpec, timezone: str | None, soon: bool = True) -> None:
        """Schedule a camera, its first look within a second if `soon`. Replaces the camera's old schedule.

        Raises ValueError, and leaves the old schedule, if the time zone or the cron expression is invalid.
        """
        time_zone = zone(timezone)
        when = trigger(camera, time_zone, soon)
        tick = _Tick(camera.name, camera.hours, time_zone)
        self._drop_job(camera.name)
        with self._lock:
            self._ticks.setdefault(camera.name, Ticks(done_at=time.monotonic()))
            self._current[camera.name] = tick
        self._jobs[camera.name] = self._scheduler.add_job(
            self._tick,
            when,
            args=[tick],
            id=f"{camera.name} {next(self._numbers)}",
            name=camera.name,
        )

    def has(self, name: str) -> bool:
        return name in self._jobs

    def remove(self, name: str) -> None:
        self._drop_job(name)
        with self._lock:
            self._ticks.pop(name, None)
            self._current.pop(name, None)
            self._skipped_looks.removed(name)
        self._lateness.ended(name)

    def _drop_job(self, name: str) -> None:
        job = self._jobs.pop(name, None)
        if job and self._scheduler.get_job(job.id):
            self._scheduler.remove_job(job.id)

    def ticks(self, name: str) -> Ticks:
        with self._lock:
            return self._ticks.get(name, Ticks())

    def timer_lateness_s(self) -> float:
        """By how many seconds APScheduler's thread is late with the most overdue camera. Near 0 while it works."""
        now = datetime.now(UTC)
        # a job has no such attribute before the start
        due: list[datetime | None] = [getattr(job, "next_run_time", None) for job in self._jobs.values()]
        return max([0.0, *((now - moment).total_seconds() for moment in due if moment)])

    def wake_if_overdue(self) -> None:
        """Call regularly. Wakes APScheduler's thread if a camera is overdue.

        The thread sleeps until the next look by the wall clock. If the clock was set back by an hour for a moment, too
        short to be noticed, it would sleep for an hour.
        """
        if self.timer_lateness_s() > OVERDUE_S:
            self._scheduler.wakeup()

    def waits_too_long(self) -> bool:
        """True if a camera's next look is further away than its interval: the clock was set during a `shift`."""
        now = datetime.now(UTC)
        for job in self._jobs.values():
            moment: datetime | None = getattr(job, "next_run_time", None)
            if moment and isinstance(job.trigger, IntervalTrigger) and moment - now > job.trigger.interval + AHEAD:
                return True
        return False

    def shift(self) -> None:
        """Restart all intervals. Call after the wall clock was set."""
        self._pool.set_clock()
        for job in self._scheduler.get_jobs():
            job.reschedule(job.trigger if isinstance(job.trigger, CronTrigger) else _restarted(job.name, job.trigger))

    def stop(self, wait_s: float = STOP_WAIT_S) -> bool:
        """Begin no more looks. False if one still runs after `wait_s`; looks end by the stop signal, not by this."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)  # True has no time-out
        return self._pool.wait(wait_s)

    def _tick(self, tick: _Tick) -> None:
        if not self._is_current(tick):
            return
        if within_hours := tick.within_hours():
            self._look(tick.name)
        with self._lock:
            if ticks := self._ticks.get(tick.name):
                outside = ticks.outside_hours + (not within_hours)
                self._ticks[tick.name] = replace(ticks, outside_hours=outside, done_at=time.monotonic())

    def _is_current(self, tick: _Tick) -> bool:
        with self._lock:
            return self._current.get(tick.name) is tick

    # in APScheduler's thread; an event may come after its camera was removed

    def _submitted(self, event: JobSubmissionEvent) -> None:
        name = _camera(event)
        with self._lock:
            if ticks := self._ticks.get(name):
                self._ticks[name] = replace(ticks, due=ticks.due + 1)
                self._skipped_looks.kept(name)

    def _skipped(self, event: JobSubmissionEvent) -> None:
        name = _camera(event)
        with self._lock:
            if ticks := self._ticks.get(name):
                self._ticks[name] = replace(ticks, due=ticks.due + 1, skipped=ticks.skipped + 1)
                self._skipped_looks.skipped(name)


def _camera(event: JobSubmissionEvent) -> str:
    name, _, _ = str(event.job_id).partition(" ")
    return name


# triggers


def phase_s(name: str, seconds: float) -> float:
    """A camera's offset within its interval, in seconds: by its name, so that cameras do not all look at once."""
    share = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) / 2**32
    return share * seconds


def trigger(camera: CameraSpec, time_zone: tzinfo, soon: bool = True) -> CronTrigger | IntervalTrigger:
    """The trigger of a camera's schedule, beginning now. Raises ValueError with a sentence for the user."""
    match camera.schedule:
        case Cron(expression):
            return cron_trigger(expression, time_zone)
        case Every(seconds):
            spread_s = min(FIRST_LOOK_WITHIN_S, seconds) if soon else seconds
            return _every(seconds, phase_s(camera.name, spread_s), time_zone)


def _restarted(name: str, old: IntervalTrigger) -> IntervalTrigger:
    seconds = old.interval.total_seconds()
    return _every(seconds, phase_s(name, min(FIRST_LOOK_WITHIN_S, seconds)), old.timezone)


def _every(seconds: float, first_s: float, time_zone: tzinfo) -> IntervalTrigger:
    begin = datetime.now(time_zone) + timedelta(seconds=first_s)
    return _IntervalTrigger(seconds=seconds, start_date=begin, timezone=time_zone)


def cron_trigger(expression: str, time_zone: tzinfo = UTC) -> CronTrigger:
    """The trigger of a cron expression with five fields. Raises ValueError with a sentence for the user."""
    times = parse_cron(expression)
    days = [*map(str, sorted(times.days)), *([LAST] if times.last_day else [])]
    return _CronTrigger(
        minute=_listed(times.minutes),
        hour=_listed(times.hours),
        day=",".join(days),
        month=_listed(times.months),
        day_of_week=",".join(WEEK[day] for day in sorted(times.weekdays)),
        timezone=time_zone,
    )


def _listed(values: frozenset[int]) -> str:
    return ",".join(map(str, sorted(values)))


class _CronTrigger(CronTrigger):  # type: ignore[misc]  # apscheduler has no types
    __slots__ = ()

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        following: datetime | None = super().get_next_fire_time(_recent(previous, now), now)
        return following


class _IntervalTrigger(IntervalTrigger):  # type: ignore[misc]  # apscheduler has no types
    __slots__ = ()

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        if previous is None:  # IntervalTrigger leaves out a first run that was due before the scheduler was started
            first: datetime = self.start_date
            return first
        following: datetime | None = super().get_next_fire_time(_recent(previous, now), now)
        return following


def _recent(previous: datetime | None, now: datetime) -> datetime | None:
    """None if the previous run is long overdue, so that the next one is counted from now.

    APScheduler computes all missed runs under its lock, which takes 20 s if the clock was set by a year.
    """
    return previous if previous and now.timestamp() - previous.timestamp() <= MISSED_S else None
