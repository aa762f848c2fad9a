"""When looks are made, by APScheduler.

A camera's look never runs twice at once: a tick that finds it still running is skipped and counted.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from apscheduler.events import EVENT_JOB_MAX_INSTANCES, EVENT_JOB_SUBMITTED, JobSubmissionEvent
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
MISSED_S = 60.0
STOP_WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Ticks:
    """What became of a camera's ticks since it was added."""

    due: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class _Tick:
    """All that a pool thread needs to know of a camera's schedule."""

    name: str
    hours: tuple[Hours, ...]
    where: tzinfo

    def within_hours(self) -> bool:
        moment = datetime.now(self.where)
        return not self.hours or any(window.hold(moment) for window in self.hours)


class Schedule:
    """Calls `look(camera name)` in a pool of threads whenever a camera is due.

    All methods are for the thread that owns the schedule; a look never touches it.
    A camera is behind until it has skipped no look for `settled_s`.
    """

    def __init__(
        self, look: Callable[[str], None], threads: int, lateness: Lateness, settled_s: float = SETTLED_S
    ) -> None:
        self._look = look
        self._lateness = lateness
        self._pool = LookPool(max(1, threads), lateness)
        self._lock = threading.Lock()  # for what the scheduler's own thread counts
        self._ticks: dict[str, Ticks] = {}
        self._skipped_looks = SkippedLooks(settled_s)
        self._scheduler = BackgroundScheduler(
            timezone=UTC,  # asks the system otherwise, and raises where TZ is wrong
            executors={"default": self._pool},
            job_defaults={
                # Default is 1 s. Our pool ignores it; APScheduler's judges it late and so drops whole looks under load.
                "misfire_grace_time": None,
                "coalesce": True,
                "max_instances": 1,
            },
        )
        self._scheduler.add_listener(self._submitted, EVENT_JOB_SUBMITTED)
        self._scheduler.add_listener(self._skipped, EVENT_JOB_MAX_INSTANCES)

    def start(self) -> None:
        # its own words for a run and a skip are not ours
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._scheduler.start()

    def add(self, camera: CameraSpec, timezone: str | None, soon: bool = True) -> None:
        """Look at this camera from now on: within a second if `soon`, else at its next regular time.

        Replaces its old schedule, which goes on if this raises ValueError.
        """
        where = zone(timezone)
        when = trigger(camera, where, soon)
        with self._lock:
            self._ticks.setdefault(camera.name, Ticks())
        self._scheduler.add_job(
            self._tick,
            when,
            args=[_Tick(camera.name, camera.hours, where)],
            id=camera.name,
            replace_existing=True,
        )

    def has(self, name: str) -> bool:
        return self._scheduler.get_job(name) is not None

    def remove(self, name: str) -> None:
        if self.has(name):
            self._scheduler.remove_job(name)
        with self._lock:
            self._ticks.pop(name, None)
            self._skipped_looks.removed(name)
        self._lateness.ended(name)

    def ticks(self, name: str) -> Ticks:
        with self._lock:
            return self._ticks.get(name, Ticks())

    def timer_lateness_s(self) -> float:
        """How long the most overdue camera has waited for the scheduler's own thread; near 0 while that moves."""
        now = datetime.now(UTC)
        # before the start a job has no such attribute
        due: list[datetime | None] = [getattr(job, "next_run_time", None) for job in self._scheduler.get_jobs()]
        return max([0.0, *((now - moment).total_seconds() for moment in due if moment)])

    def shift(self) -> None:
        """Begin all intervals anew: after a jump of the wall clock the old times mean nothing."""
        self._pool.set_clock()
        for job in self._scheduler.get_jobs():
            job.reschedule(job.trigger if isinstance(job.trigger, CronTrigger) else _anew(job.id, job.trigger))

    def stop(self, wait_s: float = STOP_WAIT_S) -> bool:
        """No look begins any more; False if one still runs after `wait_s` (they see the stop signal themselves)."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)  # True waits for ever
        return self._pool.wait(wait_s)

    def _tick(self, tick: _Tick) -> None:
        if tick.within_hours():
            self._look(tick.name)

    # in the scheduler's own thread; an event may come after its camera was removed

    def _submitted(self, event: JobSubmissionEvent) -> None:
        with self._lock:
            if ticks := self._ticks.get(event.job_id):
                self._ticks[event.job_id] = Ticks(ticks.due + 1, ticks.skipped)
                self._skipped_looks.kept(event.job_id)

    def _skipped(self, event: JobSubmissionEvent) -> None:
        with self._lock:
            if ticks := self._ticks.get(event.job_id):
                self._ticks[event.job_id] = Ticks(ticks.due + 1, ticks.skipped + 1)
                self._skipped_looks.skipped(event.job_id)


# triggers


def phase_s(name: str, seconds: float) -> float:
    """When in its interval a camera looks: spread by its name, so that cameras do not all look at once."""
    share = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) / 2**32
    return share * seconds


def trigger(camera: CameraSpec, where: tzinfo, soon: bool = True) -> CronTrigger | IntervalTrigger:
    """When this camera looks, counted from now. Raises ValueError with a sentence."""
    match camera.schedule:
        case Cron(expression):
            return cron_trigger(expression, where)
        case Every(seconds):
            return _every(seconds, phase_s(camera.name, min(FIRST_LOOK_WITHIN_S, seconds) if soon else seconds), where)


def _anew(name: str, old: IntervalTrigger) -> IntervalTrigger:
    seconds = old.interval.total_seconds()
    return _every(seconds, phase_s(name, min(FIRST_LOOK_WITHIN_S, seconds)), old.timezone)


def _every(seconds: float, first_s: float, where: tzinfo) -> IntervalTrigger:
    begin = datetime.now(where) + timedelta(seconds=first_s)
    return _IntervalTrigger(seconds=seconds, start_date=begin, timezone=where)


def cron_trigger(expression: str, where: tzinfo = UTC) -> CronTrigger:
    """The trigger of a cron expression of five fields. Raises ValueError with a sentence."""
    times = parse_cron(expression)
    days = [*map(str, sorted(times.days)), *([LAST] if times.last_day else [])]
    return _CronTrigger(
        minute=_listed(times.minutes),
        hour=_listed(times.hours),
        day=",".join(days),
        month=_listed(times.months),
        day_of_week=",".join(WEEK[day] for day in sorted(times.weekdays)),
        timezone=where,
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
        following: datetime | None = super().get_next_fire_time(_recent(previous, now), now)
        return following


def _recent(previous: datetime | None, now: datetime) -> datetime | None:
    """None for a run missed long ago, so that the next one is counted from now.

    APScheduler walks through all missed runs under its lock: 20 s after a jump of the clock by a year.
    """
    return previous if previous and now.timestamp() - previous.timestamp() <= MISSED_S else None
