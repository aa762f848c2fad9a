"""What a script has measured: a figure with its spread, its unit and its target."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

DIGITS = 4  # significant digits that are kept


@dataclass(frozen=True, slots=True)
class Spread:
    """Of `n` measurements."""

    median: float
    min: float
    max: float
    n: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        ordered = sorted(values)
        return cls(rounded(statistics.median(ordered)), rounded(ordered[0]), rounded(ordered[-1]), len(ordered))


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the results. `name` is unique within its script; its link is `#SCRIPT-NAME`.

    A target is compared with the value, or with the median of a spread. `against` says what the figure was compared
    with, if it is a ratio.
    """

    name: str
    what: str
    value: float | Spread
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None
    against: str = ""

    def stored(self) -> dict[str, Any]:
        """For JSON: rounded, and without what is not set."""
        value = self.value if isinstance(self.value, Spread) else rounded(self.value)
        return {key: each for key, each in asdict(replace(self, value=value)).items() if each not in ("", None)}

    def central(self) -> float:
        return self.value.median if isinstance(self.value, Spread) else self.value

    def reached(self) -> bool | None:
        """None without a target."""
        if self.at_most is None and self.at_least is None:
            return None
        above = self.at_most is not None and self.central() > self.at_most
        below = self.at_least is not None and self.central() < self.at_least
        return not (above or below)


@dataclass(frozen=True, slots=True)
class Table:
    """Results that are no figures with targets, such as a line for each module."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float]]


def rounded(value: float, digits: int = DIGITS) -> float:
    """To so many significant digits; whole numbers stay as they are."""
    return value if isinstance(value, int) else float(f"{value:.{digits}g}")
