"""When looks are made. The only file that imports apscheduler, and the judge of cron expressions.

A camera's look never runs twice at once: a tick that finds it still running is skipped and counted.
"""

from __future__ import annotations

import hashlib
import logging
import os
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from datetime import time as time_of_day
from functools import cache, lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import tzlocal
from apscheduler.events import EVENT_JOB_MAX_INSTANCES, EVENT_JOB_SUBMITTED, JobSubmissionEvent
from apscheduler.executors.base import BaseExecutor
from apscheduler.job import Job
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.cron.fields import BaseField
from apscheduler.triggers.interval import IntervalTrigger

from edged.lateness import SETTLED_S, Behind, Lateness
from edged.outage import counted
from edged.specs import WEEK, CameraSpec, Cron, Every, Hours

log = logging.getLogger("edged.schedule")

FIRST_LOOK_WITHIN_S = 1.0
DAY_MIN = 24 * 60
WEEK_MIN = 7 * DAY_MIN
WEEK_S = 60.0 * WEEK_MIN
EXPIRY_INTERVALS = 3
LEAST_EXPIRY_S = 60.0
MOST_EXPIRY_S = WEEK_S
MISSED_S = 60.0
CLOCK_STEP_S = 1.0  # more than the clock drifts from one look to the next
STOP_WAIT_S = 5.0
CRON_DAYS = ("sun", *WEEK)  # cron counts from Sunday, and 7 is Sunday too; APScheduler counts from Monday
A_MONDAY = datetime(2024, 1, 1)  # noqa: DTZ001  # any leap year would do; read only by the fields of a cron expression


@dataclass(frozen=True, slots=True)
class Ticks:
    """What became of a camera's ticks since it was added."""

    due: int = 0
    skipped: int = 0


# time zones and cron expressions


def zone(name: str | None) -> tzinfo:
    """The time zone of that name, or the system's. Raises ValueError with a sentence."""
    if name is None:
        return _system_zone()
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f'"{name}" is not a time zone (such as Asia/Seoul or UTC)') from None


@cache
def _system_zone() -> tzinfo:
    try:
        return tzlocal.get_localzone()
    except (LookupError, ValueError, OSError, struct.error):  # what a wrong TZ or a damaged zone file raises
        variable = os.environ.get("TZ")
        cause = f'TZ="{variable}" is not supported' if variable else "/etc/localtime cannot be read"
        log.warning("unknown system time zone: %s; using UTC (set timezone: in the config)", cause)
        return UTC


def cron_trigger(expression: str, where: tzinfo = UTC) -> CronTrigger:
    """The trigger of a cron expression of five fields. Raises ValueError with a sentence."""
    fields = expression.split()
    if len(fields) != 5:
        raise ValueError(
            f'"{expression}" has {counted(len(fields), "field")}; cron has five: minute hour day month weekday'
        )
    minute, hour, day, month, weekday = fields
    try:
        return _CronTrigger(
            minute=minute, hour=hour, day=day, month=month, day_of_week=_weekdays(weekday), timezone=where
        )
    except ValueError as error:
        raise ValueError(f'"{expression}" is not a cron expression: {error}') from None


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


def _weekdays(text: str) -> str:
    return ",".join(_weekday_part(part) for part in text.lower().split(","))


def _weekday_part(part: str) -> str:
    days, slash, step = part.partition("/")
    if days == "*" or "#" in part:
        return part
    first, dash, last = days.partition("-")
    begin, end = _weekday(first), _weekday(last) if dash else 7 if slash else _weekday(first)
    if end == 0:
        end = 7  # mon-sun
    if begin > end or (slash and not step.isdigit()) or step == "0":
        raise ValueError(f'"{part}" is not a weekday (0-7 from Sunday, or sun-sat)')
    chosen = range(begin, end + 1) if dash or slash else [begin]
    return ",".join(dict.fromkeys(CRON_DAYS[day] for day in chosen[:: int(step) if slash else 1]))


def _weekday(word: str) -> int:
    if word in CRON_DAYS:
        return CRON_DAYS.index(word)
    if word.isdigit() and int(word) <= 7:
        return int(word)
    raise ValueError(f'"{word}" is not a weekday (0-7 from Sunday, or sun-sat)')


# intervals


def expiry_s(camera: CameraSpec, question_every_s: float | None) -> float:
    """How long an answer may stand at the broker: three intervals of its camera or question, within limits."""
    longer = max(interval_s(camera), question_every_s or 0.0)
    return min(max(EXPIRY_INTERVALS * longer, LEAST_EXPIRY_S), MOST_EXPIRY_S)


def interval_s(camera: CameraSpec) -> float:
    """The time from one look to the next; for `cron` the longest in a week, hours considered."""
    if isinstance(camera.schedule, Every):
        return camera.schedule.seconds
    return _gaps_s(camera.schedule, camera.hours)[1]


def shortest_interval_s(camera: CameraSpec) -> float:
    """The time from one look to the next; for `cron` the shortest in a week, hours considered."""
    if isinstance(camera.schedule, Every):
        return camera.schedule.seconds
    return _gaps_s(camera.schedule, camera.hours)[0]


@lru_cache(maxsize=256)
def _gaps_s(cron: Cron, hours: tuple[Hours, ...]) -> tuple[float, float]:
    """The shortest and the longest; a week where there are days without looks that the week does not show."""
    times = week_times(cron, hours)
    if not times:
        return WEEK_S, WEEK_S
    gaps = [after - before for before, after in pairwise([*times, times[0] + WEEK_MIN])]
    return 60.0 * min(gaps), 60.0 * max(gaps) if _each_week(cron) else WEEK_S


def week_times(cron: Cron, hours: tuple[Hours, ...]) -> tuple[int, ...]:
    """When a camera looks in a week without a change of daylight saving, in minutes from Monday 00:00.

    The day of the month and the month are left out of account.
    """
    *_, weekday, hour, minute, _second = cron_trigger(cron.expression).fields
    days = [day for day in range(7) if _admits(weekday, A_MONDAY + timedelta(days=day), day)]
    clock = [
        60 * of_hour + of_minute
        for of_hour in range(24)
        if _admits(hour, A_MONDAY.replace(hour=of_hour), of_hour)
        for of_minute in range(60)
        if _admits(minute, A_MONDAY.replace(minute=of_minute), of_minute)
    ]
    times = [DAY_MIN * day + minutes for day in days for minutes in clock]
    if not hours:
        return tuple(times)
    held = _held_minutes(hours)
    return tuple(moment for moment in times if moment in held)


def why_never(cron: Cron, hours: tuple[Hours, ...]) -> str | None:
    """Why a camera would never look at these times, as a sentence; None if it does in some year."""
    _year, month, day, *_ = cron_trigger(cron.expression).fields
    # Each day of a leap year is each day of the week in some year.
    year = [A_MONDAY + timedelta(days=number) for number in range(366)]
    if not any(_admits(month, date, date.month) and _admits(day, date, date.day) for date in year):
        return f'cron "{cron.expression}" never occurs: there is no such day in any month'
    return None if week_times(cron, hours) else f'cron "{cron.expression}" never occurs within hours'


def _held_minutes(hours: tuple[Hours, ...]) -> set[int]:
    """The minutes of a week in which one of the windows holds."""
    held: set[int] = set()
    for window in hours:
        begin, end = _minute(window.begin), _minute(window.end)
        length = (end - begin - 1) % DAY_MIN + 1  # past midnight if it ends earlier, the whole day if it ends the same
        for day in window.days:
            first = DAY_MIN * day + begin
            held.update(moment % WEEK_MIN for moment in range(first, first + length))
    return held


def _minute(clock: time_of_day) -> int:
    return 60 * clock.hour + clock.minute


def _each_week(cron: Cron) -> bool:
    """Whether it looks on every day of the month and in every month that its weekdays fall on."""
    _year, month, day, *_ = cron_trigger(cron.expression).fields
    every_day = all(_admits(day, A_MONDAY.replace(day=number), number) for number in range(1, 32))
    return every_day and all(_admits(month, A_MONDAY.replace(month=number), number) for number in range(1, 13))


def _admits(field: BaseField, moment: datetime, value: int) -> bool:
    return bool(field.get_next_value(moment) == value)


# the schedule


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
        self._pool = _LookPool(max(1, threads), lateness)
        self._lock = threading.Lock()  # for what the scheduler's own thread counts
        self._ticks: dict[str, Ticks] = {}
        self._behind = Behind(settled_s)
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
            self._behind.removed(name)
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
                self._behind.kept(event.job_id)

    def _skipped(self, event: JobSubmissionEvent) -> None:
        with self._lock:
            if ticks := self._ticks.get(event.job_id):
                self._ticks[event.job_id] = Ticks(ticks.due + 1, ticks.skipped + 1)
                self._behind.skipped(event.job_id)


class _LookPool(BaseExecutor):  # type: ignore[misc]  # apscheduler has no types
    """Runs looks in at most so many threads. They are daemons: a look that hangs does not keep the process from ending.

    APScheduler's own pool is one of concurrent.futures, whose threads are joined for ever at a stop and at the exit.
    """

    def __init__(self, most: int, lateness: Lateness) -> None:
        super().__init__()
        self._most = most
        self._lateness = lateness
        self._changed = threading.Condition()
        self._queue: deque[Job] = deque()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._closed = False
        self._clock_offset = 0.0

    def start(self, scheduler: BaseScheduler, alias: str) -> None:
        super().start(scheduler, alias)
        self.set_clock()

    def set_clock(self) -> None:
        """From now on the wall clock is right."""
        self._clock_offset = time.time() - time.monotonic()

    def shutdown(self, wait: bool = True) -> None:
        """No queued look begins any more. Never waits: see `wait`."""
        with self._changed:
            self._closed = True
            for job in self._queue:
                self._lateness.ended(job.id)
            self._queue.clear()
            self._changed.notify_all()

    def wait(self, wait_s: float) -> bool:
        """Whether every thread has ended within so many seconds after the shutdown."""
        end = time.monotonic() + wait_s
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _do_submit_job(self, job: Job, run_times: Sequence[datetime]) -> None:
        with self._changed:
            if len(self._queue) >= self._idle and len(self._threads) < self._most:
                thread = threading.Thread(target=self._work, name=f"look-{len(self._threads) + 1}", daemon=True)
                thread.start()  # first of all: where it fails APScheduler takes the look for not submitted
                self._threads.append(thread)
            # here and not in a listener: the listeners of a submission are called when the look may run already
            self._lateness.due(job.id, self._due_at(run_times[-1]))
            self._queue.append(job)
            self._changed.notify()

    def _due_at(self, scheduled: datetime) -> float:
        """When that was on the monotonic clock. A jump of the wall clock counts only after `set_clock`."""
        now = time.monotonic()
        offset = time.time() - now
        if abs(offset - self._clock_offset) < CLOCK_STEP_S:
            self._clock_offset = offset  # it drifts
        return min(now, scheduled.timestamp() - self._clock_offset)

    def _work(self) -> None:
        while job := self._next():
            try:
                job.func(*job.args)
            except Exception:
                log.exception("camera %s: unexpected error in its look", job.id)
            finally:
                self._lateness.ended(job.id)  # first: then its next look may be due
                self._run_job_success(job.id, [])

    def _next(self) -> Job | None:
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._queue or self._closed)
            self._idle -= 1
            return self._queue.popleft() if self._queue else None


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
