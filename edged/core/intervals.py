"""How often a camera looks, and when its retained answers expire. Pure."""

from __future__ import annotations

from datetime import time as time_of_day
from functools import lru_cache
from itertools import pairwise
from math import inf

from edged.core.cron import parse_cron
from edged.core.specs import CameraSpec, Cron, Every, Hours
from edged.core.text import shorten

DAY_MIN = 24 * 60
WEEK_MIN = 7 * DAY_MIN
WEEK_S = 60.0 * WEEK_MIN
EXPIRY_INTERVALS = 3
LEAST_EXPIRY_S = 60.0
MOST_EXPIRY_S = WEEK_S


def expiry_s(camera: CameraSpec, question_every_s: float | None) -> float:
    """Seconds until a retained answer expires: three intervals of its camera or question, from 60 s to 7 days."""
    longer = max(interval_s(camera), question_every_s or 0.0)
    return min(max(EXPIRY_INTERVALS * longer, LEAST_EXPIRY_S), MOST_EXPIRY_S)


def interval_s(camera: CameraSpec) -> float:
    """Seconds from one look to the next; for a cron expression the longest gap in a week, within the hours."""
    if isinstance(camera.schedule, Every):
        return camera.schedule.seconds
    return _gaps_s(camera.schedule, camera.hours)[1]


def shortest_interval_s(camera: CameraSpec) -> float:
    """Seconds from one look to the next; for a cron expression the shortest gap in a week, within the hours."""
    if isinstance(camera.schedule, Every):
        return camera.schedule.seconds
    return _gaps_s(camera.schedule, camera.hours)[0]


def asked_again_after_s(camera: CameraSpec, question_every_s: float) -> float:
    """Seconds after which the next look asks a question with an interval of its own again.

    Looks are not exactly on time, so one that is slightly early counts: by at most 5 % of the interval, 1 s, and half
    of the time between two looks.
    """
    return question_every_s - min(1.0, question_every_s * 0.05, shortest_interval_s(camera) / 2)


def week_times(cron: Cron, hours: tuple[Hours, ...]) -> tuple[int, ...]:
    """When a camera looks, in minutes from Monday 00:00, in a week in which the clocks do not change.

    Month and day of the month are ignored.
    """
    times = parse_cron(cron.expression)
    clock = [60 * hour + minute for hour in sorted(times.hours) for minute in sorted(times.minutes)]
    week = [DAY_MIN * day + minutes for day in sorted(times.weekdays) for minutes in clock]
    if not hours:
        return tuple(week)
    allowed = _minutes_within(hours)
    return tuple(minute for minute in week if minute in allowed)


def why_never(cron: Cron, hours: tuple[Hours, ...]) -> str | None:
    """A sentence that says why a camera with this schedule would never look; None if it looks in some year."""
    shown = f'cron "{shorten(cron.expression)}"'
    if not parse_cron(cron.expression).has_a_date:
        return f"{shown} never occurs: this date does not exist in any year"
    return None if week_times(cron, hours) else f"{shown} never occurs within hours"


def shortest_window_s(hours: tuple[Hours, ...]) -> float:
    """Seconds of the shortest time without a break in these windows; infinite if they cover the whole week."""
    allowed = _minutes_within(hours)
    ends = [minute for minute in allowed if (minute + 1) % WEEK_MIN not in allowed]
    return 60.0 * min((_minutes_before(end, allowed) for end in ends), default=inf)


def _minutes_before(end: int, allowed: set[int]) -> int:
    """How many minutes in a row are allowed up to this one."""
    return next(count for count in range(1, WEEK_MIN + 1) if (end - count) % WEEK_MIN not in allowed)


def is_always(hours: tuple[Hours, ...]) -> bool:
    """True if these windows cover the whole week."""
    return len(_minutes_within(hours)) == WEEK_MIN


@lru_cache(maxsize=256)
def _gaps_s(cron: Cron, hours: tuple[Hours, ...]) -> tuple[float, float]:
    """The shortest and the longest gap. The longest is a week if some dates are excluded, which a week cannot show."""
    times = week_times(cron, hours)
    if not times:
        return WEEK_S, WEEK_S
    gaps = [after - before for before, after in pairwise([*times, times[0] + WEEK_MIN])]
    return 60.0 * min(gaps), 60.0 * max(gaps) if parse_cron(cron.expression).every_day else WEEK_S


def _minutes_within(hours: tuple[Hours, ...]) -> set[int]:
    """The minutes of a week that lie in one of the windows."""
    minutes: set[int] = set()
    for window in hours:
        begin, end = _minute(window.begin), _minute(window.end)
        length = (end - begin - 1) % DAY_MIN + 1  # past midnight if it ends earlier, the whole day if begin is end
        for day in window.days:
            first = DAY_MIN * day + begin
            minutes.update(minute % WEEK_MIN for minute in range(first, first + length))
    return minutes


def _minute(clock: time_of_day) -> int:
    return 60 * clock.hour + clock.minute
