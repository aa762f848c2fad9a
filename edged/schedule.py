"""When looks are made. The only file that imports apscheduler, and the judge of cron expressions.

A camera's look never runs twice at once: a tick that finds it still running is skipped, counted and said.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from apscheduler.events import EVENT_JOB_MAX_INSTANCES, EVENT_JOB_SUBMITTED, JobSubmissionEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from edged.specs import WEEK, CameraSpec, Cron, Every, Hours

log = logging.getLogger("edged.schedule")

FIRST_LOOK_WITHIN_S = 1.0
CRON_SAMPLE = 30
DAY_S = 86400.0
CRON_DAYS = ("sun", *WEEK)  # cron counts from Sunday, and 7 is Sunday too; APScheduler counts from Monday


@dataclass(frozen=True, slots=True)
class Ticks:
    """What became of a camera's ticks since the start."""

    due: int = 0
    skipped: int = 0
    in_a_row: int = 0  # skips since the last look that ran


def zone(name: str | None) -> tzinfo:
    """The time zone of that name, or the system's. Raises ValueError with a sentence."""
    if name is None:
        return datetime.now().astimezone().tzinfo or ZoneInfo("UTC")
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f'"{name}" is not a time zone (such as Asia/Seoul or UTC)') from None


def cron_trigger(expression: str, where: tzinfo | None = None) -> CronTrigger:
    """The trigger of a cron expression of five fields. Raises ValueError with a sentence."""
    fields = expression.split()
    if len(fields) != 5:
        raise ValueError(f'"{expression}" has {len(fields)} fields; cron has five: minute hour day month weekday')
    minute, hour, day, month, weekday = fields
    try:
        return CronTrigger(
            minute=minute, hour=hour, day=day, month=month, day_of_week=_weekdays(weekday), timezone=where
        )
    except ValueError as error:
        raise ValueError(f'"{expression}" is not a cron expression: {error}') from None


def phase_s(name: str, seconds: float) -> float:
    """When in its interval a camera looks: spread by its name, so that cameras do not all look at once."""
    share = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) / 2**32
    return share * seconds


def interval_s(camera: CameraSpec, timezone: str | None) -> float:
    """The time from one look to the next, in seconds; of a cron expression the longest of the next few."""
    if isinstance(camera.schedule, Every):
        return camera.schedule.seconds
    where = zone(timezone)
    trigger, moment, longest = cron_trigger(camera.schedule.expression, where), datetime.now(where), 0.0
    before: datetime | None = None
    for _ in range(CRON_SAMPLE):
        following = trigger.get_next_fire_time(before, moment)
        if following is None:
            break
        if before:
            longest = max(longest, (following - before).total_seconds())
        before, moment = following, following + timedelta(microseconds=1)
    return longest or DAY_S


class Schedule:
    """Calls `look(camera name)` in a pool of threads whenever a camera is due.

    `add` and `remove` are for the thread that owns the schedule; a look never touches it.
    """

    def __init__(self, look: Callable[[str], None], threads: int) -> None:
        self._look = look
        self._ticks: dict[str, Ticks] = {}
        self._hours: dict[str, tuple[tuple[Hours, ...], tzinfo]] = {}
        # its own words for a run and a skip are not ours
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(max(1, threads))},
            job_defaults={
                # Default is 1 s, judged when a pool thread is free: under load that drops whole looks without a word.
                "misfire_grace_time": None,
                "coalesce": True,
                "max_instances": 1,
            },
        )
        self._scheduler.add_listener(self._submitted, EVENT_JOB_SUBMITTED)
        self._scheduler.add_listener(self._skipped, EVENT_JOB_MAX_INSTANCES)

    def start(self) -> None:
        self._scheduler.start()

    def add(self, camera: CameraSpec, timezone: str | None, soon: bool = True) -> None:
        """Look at this camera from now on: within a second if `soon`, else at its next regular time."""
        where = zone(timezone)
        self._ticks.setdefault(camera.name, Ticks())
        self._hours[camera.name] = (camera.hours, where)
        self._scheduler.add_job(
            self._tick,
            _trigger(camera, where, soon),
            args=[camera.name],
            id=camera.name,
            replace_existing=True,
        )

    def has(self, name: str) -> bool:
        return self._scheduler.get_job(name) is not None

    def remove(self, name: str) -> None:
        if self.has(name):
            self._scheduler.remove_job(name)
        self._hours.pop(name, None)

    def ticks(self, name: str) -> Ticks:
        return self._ticks.get(name, Ticks())

    def lateness_s(self) -> float:
        """How long the most overdue camera has waited to be called; a moving schedule keeps this near 0."""
        now = datetime.now().astimezone()
        due = [job.next_run_time for job in self._scheduler.get_jobs() if job.next_run_time]
        return max([(now - moment).total_seconds() for moment in due], default=0.0)

    def shift(self) -> None:
        """Begin all intervals anew: after a jump of the wall clock the old times mean nothing."""
        for job in self._scheduler.get_jobs():
            job.reschedule(job.trigger if isinstance(job.trigger, CronTrigger) else _interval(job.id, job.trigger))

    def stop(self) -> None:
        """No look begins any more; those that run are waited for (they see the stop signal themselves)."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)

    def _tick(self, name: str) -> None:
        hours, where = self._hours.get(name, ((), zone(None)))
        if not hours or any(window.hold(datetime.now(where)) for window in hours):
            self._look(name)

    def _submitted(self, event: JobSubmissionEvent) -> None:
        ticks = self._ticks.get(event.job_id, Ticks())
        self._ticks[event.job_id] = Ticks(ticks.due + 1, ticks.skipped)
        if ticks.in_a_row:
            log.info("camera %s: looks are in time again (%d skipped)", event.job_id, ticks.in_a_row)

    def _skipped(self, event: JobSubmissionEvent) -> None:
        ticks = self._ticks.get(event.job_id, Ticks())
        self._ticks[event.job_id] = Ticks(ticks.due + 1, ticks.skipped + 1, ticks.in_a_row + 1)
        if not ticks.in_a_row:
            log.warning("camera %s: look skipped, because the one before is still running", event.job_id)


def _trigger(camera: CameraSpec, where: tzinfo, soon: bool) -> IntervalTrigger | CronTrigger:
    match camera.schedule:
        case Cron(expression):
            return cron_trigger(expression, where)
        case Every(seconds):
            first = phase_s(camera.name, min(FIRST_LOOK_WITHIN_S, seconds) if soon else seconds)
            begin = datetime.now(where) + timedelta(seconds=first)
            return IntervalTrigger(seconds=seconds, start_date=begin, timezone=where)


def _interval(name: str, old: IntervalTrigger) -> IntervalTrigger:
    seconds = old.interval.total_seconds()
    begin = datetime.now(old.timezone) + timedelta(seconds=phase_s(name, min(FIRST_LOOK_WITHIN_S, seconds)))
    return IntervalTrigger(seconds=seconds, start_date=begin, timezone=old.timezone)


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
