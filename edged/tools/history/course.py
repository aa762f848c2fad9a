"""How the answers to one question went over a period, in bounded memory and in one line of text."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from edged.core.json_values import same

COLUMNS = 24  # parts of the period: for a day, hours
LEVELS = "▁▂▃▄▅▆▇█"
REFUSED, NOTHING = "·", " "
SAME, CHANGED = "─", "┼"
NUMERIC = ("integer", "number", "yes_no")
MOST_VALUES = 256  # as many choices as a question may have
OTHER = "?"  # a mark for further values


@dataclass(slots=True)
class Part:
    """One column: what was answered in this part of the period."""

    answers: int = 0
    values: int = 0
    total: float = 0.0  # of numbers; of booleans, how many are true
    changed: bool = False
    choices: Counter[str] = field(default_factory=Counter)

    @property
    def mean(self) -> float:
        return self.total / self.values


@dataclass(slots=True)
class Course:
    """The answers between `since` and `now` (wall clock) so far. If the type of the question changes, the values begin
    anew. `changed_ts` is when the newest value was first given; None if there was no other value before it.
    """

    since: float
    now: float
    type: str | None = None
    value: Any = None
    has_value: bool = False
    changed_ts: float | None = None
    changes: int = 0
    low: float = 0.0
    high: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)
    choices: Counter[str] = field(default_factory=Counter)
    parts: list[Part] = field(default_factory=lambda: [Part() for _ in range(COLUMNS)])
    _moment: float = 0.0

    @property
    def answers(self) -> int:
        return self.statuses.total()

    @property
    def mean(self) -> float:
        """Of all values; of booleans, the share that is true. There must be a value."""
        return sum(part.total for part in self.parts) / sum(part.values for part in self.parts)

    def add(self, payload: dict[str, Any]) -> None:
        """The next answer."""
        if payload.get("type") != self.type:
            self._begin_anew(payload.get("type"))
        status = str(payload.get("status"))
        part = self._part(payload.get("answered_ts"))
        self.statuses[status] += 1
        part.answers += 1
        if status == "ok":
            self._add_value(part, payload.get("value"))

    def marks(self) -> str:
        """One character for each part: the level of numbers, a letter for a choice, whether anything else changed."""
        letters = self.letters()
        return "".join(self._mark(part, letters) for part in self.parts)

    def letters(self) -> dict[str, str]:
        """The mark of each choice, the most frequent first: a letter of it that no other has, or a digit."""
        letters: dict[str, str] = {}
        for value, _ in self.choices.most_common():
            own = [char for char in value if char.isascii() and char.isalpha()]
            free = (char for char in [*own, *"123456789"] if char not in letters.values())
            letters[value] = next(free, OTHER)
        return letters

    def _begin_anew(self, kind: Any) -> None:
        self.type = kind if isinstance(kind, str) else None
        self.has_value, self.value, self.changed_ts, self.changes = False, None, None, 0
        self.choices.clear()
        for part in self.parts:
            part.values, part.total, part.changed = 0, 0.0, False
            part.choices.clear()

    def _part(self, stamp: Any) -> Part:
        """A stamp outside of the period is that of a wrong clock: the answer was given after the one before it."""
        if isinstance(stamp, int | float) and self.since <= stamp <= self.now:
            self._moment = stamp
        share = (max(self._moment, self.since) - self.since) / (self.now - self.since)
        return self.parts[min(int(share * COLUMNS), COLUMNS - 1)]

    def _add_value(self, part: Part, value: Any) -> None:
        if self.has_value and not same(value, self.value):
            self.changed_ts, part.changed = self._moment, True
            self.changes += 1
        if self.type in NUMERIC and isinstance(value, int | float):  # booleans are integers
            self.low = min(self.low, value) if self.has_value else value
            self.high = max(self.high, value) if self.has_value else value
            part.total += value
        if self.type == "choices":
            self._add_choice(part, as_text(value))
        part.values += 1
        self.value, self.has_value = value, True

    def _add_choice(self, part: Part, text: str) -> None:
        if text in self.choices or len(self.choices) < MOST_VALUES:
            self.choices[text] += 1
            part.choices[text] += 1

    def _mark(self, part: Part, letters: dict[str, str]) -> str:
        if not part.values:
            return REFUSED if part.answers else NOTHING
        match self.type:
            case "integer" | "number":
                return _level(part.mean, self.low, self.high)
            case "yes_no":
                return _level(part.mean, 0.0, 1.0)
            case "choices" if part.choices:
                return letters[part.choices.most_common(1)[0][0]]
        return CHANGED if part.changed else SAME


def as_text(value: Any) -> str:
    """A text as it is, anything else as JSON."""
    if isinstance(value, str):
        return value
    if type(value) in (int, float):
        return repr(value)  # the same, without an encoder for each number of a table
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _level(value: float, low: float, high: float) -> str:
    if high <= low:
        return LEVELS[len(LEVELS) // 2]
    share = (value - low) / (high - low)
    return LEVELS[max(0, min(int(share * len(LEVELS)), len(LEVELS) - 1))]
