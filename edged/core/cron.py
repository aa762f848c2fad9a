"""Parsing of cron expressions with five fields (minute hour day month weekday). Pure: the scheduler computes the times.

A field is `*`, a number, a name (`jan`, `mon`), a range (`6-22`), one of these with a step (`*/5`), or a list of them.
Weekdays count from Sunday: 0 and 7 are Sunday. `last` is the last day of a month. Day and weekday must both match.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from edged.core.text import counted, shorten

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
DAYS_OF_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
LAST = "last"


@dataclass(frozen=True, slots=True)
class CronTimes:
    """The values that each field allows. In `weekdays`, 0 is Monday, as in datetime. `last_day`: that of the month."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    last_day: bool
    months: frozenset[int]
    weekdays: frozenset[int]

    @property
    def every_day(self) -> bool:
        """True if no date is excluded by its month or its day of the month."""
        return len(self.days) == 31 and len(self.months) == 12

    @property
    def has_a_date(self) -> bool:
        """True if one of the months has one of the days. In some year that date falls on any given weekday."""
        longest = max(DAYS_OF_MONTH[month - 1] for month in self.months)
        return self.last_day or min(self.days) <= longest


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    names: Sequence[str] = ()

    @property
    def _most(self) -> int:
        """The largest number. 7 is Sunday as well."""
        return 7 if self.names is WEEKDAYS else self.high

    def values(self, text: str) -> list[int]:
        return [value for part in text.lower().split(",") for value in self._range(part)]

    def _range(self, part: str) -> range:
        span, slash, step = part.partition("/")
        if slash and not (_is_number(step) and int(step)):
            raise ValueError(f'step "{shorten(step, 20)}" of {self.name} must be a number from 1')
        low, high = self._span(span, bool(slash))
        if slash and int(step) > max(1, high - low):  # `*/90` would look every hour, not every 90 minutes
            raise ValueError(f"step {int(step)} of {self.name} is too large for {low}-{high}")
        return range(low, high + 1, int(step) if slash else 1)

    def _span(self, span: str, stepped: bool) -> tuple[int, int]:
        if span == "*":
            return self.low, self.high
        first, dash, last = span.partition("-")
        low = self._value(first)
        if not dash:
            return low, self._most if stepped else low
        high = self._value(last)
        if self.names is WEEKDAYS and high == 0 < low:
            high = self._most  # mon-sun, but not sun-sun
        if low > high:
            raise ValueError(f'range "{span}" of {self.name} is reversed')
        return low, high

    def _value(self, text: str) -> int:
        if text in self.names:
            return self.names.index(text) + self.low
        if self.name == "day" and text == LAST:
            raise ValueError(f'"{LAST}" takes no range or step')
        if not (_is_number(text) and self.low <= int(text) <= self._most):
            named = f", or {self.names[0]}-{self.names[-1]}" if self.names else ""
            article = "an" if self.name == "hour" else "a"
            allowed = f"{self.low}-{self._most}{named}"
            raise ValueError(f'"{shorten(text, 20)}" is not {article} {self.name} ({allowed})')
        return int(text)


_MINUTE, _HOUR = _Field("minute", 0, 59), _Field("hour", 0, 23)
_DAY, _MONTH = _Field("day", 1, 31), _Field("month", 1, 12, MONTHS)
_WEEKDAY = _Field("weekday", 0, 6, WEEKDAYS)


@lru_cache(maxsize=256)
def parse_cron(expression: str) -> CronTimes:
    """Parse a cron expression. Raises ValueError with a sentence for the user."""
    fields = expression.split()
    if len(fields) != 5:
        raise ValueError(
            f'"{shorten(expression)}" has {counted(len(fields), "field")}; cron has five: minute hour day month weekday'
        )
    minute, hour, day, month, weekday = fields
    days = [part for part in day.split(",") if part.lower() != LAST]
    try:
        return CronTimes(
            minutes=frozenset(_MINUTE.values(minute)),
            hours=frozenset(_HOUR.values(hour)),
            days=frozenset(_DAY.values(",".join(days)) if days else ()),
            last_day=len(days) < len(day.split(",")),
            months=frozenset(_MONTH.values(month)),
            weekdays=frozenset((value - 1) % 7 for value in _WEEKDAY.values(weekday)),
        )
    except ValueError as error:
        raise ValueError(f'"{shorten(expression)}" is not a cron expression: {error}') from None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 4
