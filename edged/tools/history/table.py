"""The history as a line for each question: its course, its values, the last change, the share of each status."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime, tzinfo

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edged.core.text import counted, printable, spoken
from edged.tools.history.choice import Name
from edged.tools.history.course import COLUMNS, REFUSED, Course, as_text

NARROW = 68  # columns of the terminal; below, there is no room for the values and the statuses
MOST = (22, COLUMNS, 24, 16, 11, 60)  # columns of a terminal for each cell of a line, if there is room
SHRUNK = ((5, 20), (2, 8), (3, 6), (0, 12), (5, 8))  # which cell becomes narrower first, and its least width
ELLIPSIS = "…"
# A number, time or date, and the character after it: … directly after a whole number would read as a part of it.
NUMBER = re.compile(r"[<+-]?[0-9](?:[0-9.,:/-]*[0-9])?(?: ?%|.|$)")
DAY_S = 86_400.0
TITLE = ("question", "", "values", "newest", "since", "answers")


class Figures(str):
    """A cell that is shown whole or not at all: a part of it would read as another number."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Line:
    """The cells for one question."""

    name: str
    marks: str
    values: str
    newest: str
    since: str
    statuses: str


def show(courses: Mapping[Name, Course], since: float, now: float, zone: tzinfo, console: Console) -> None:
    """At most as wide as the console, without colours if it is not a terminal."""
    answers = sum(course.answers for course in courses.values())
    begin = datetime.fromtimestamp(since, zone).strftime("%Y-%m-%d %H:%M")
    _remark(console, f"{counted(answers, 'answer')} since {begin} ({zone})")
    if courses:
        console.print(table([line(name, course, now, zone) for name, course in courses.items()], console.width))
        column = spoken((now - since) / COLUMNS)
        _remark(console, f"each column is {column}; {REFUSED}: only refusals; blank: no answer")


def line(name: Name, course: Course, now: float, zone: tzinfo) -> Line:
    marks = f"{course.marks():{COLUMNS}}"
    return Line("/".join(name), marks, values(course), newest(course), last_change(course, now, zone), statuses(course))


def values(course: Course) -> str:
    """`0–7`, `true 34 %`, `c clear, r rain`, `12 changes`."""
    if not course.has_value:
        return ""
    match course.type:
        case "integer" | "number":
            low, high = f"{course.low:.6g}", f"{course.high:.6g}"
            return Figures(low if low == high else f"{low}–{high}")
        case "yes_no":
            return Figures(f"true {_percent(course.mean)}")
        case "choices":
            return ", ".join(f"{letter} {value}" for value, letter in course.letters().items())
    return Figures(counted(course.changes, "change"))


def newest(course: Course) -> str:
    if not course.has_value:
        return "-"
    text = " ".join(as_text(course.value).split())
    return Figures(text) if type(course.value) in (int, float) else text


def last_change(course: Course, now: float, zone: tzinfo) -> str:
    """When the newest value was first given: `14:03`, with its date where that is a day ago or more."""
    if course.changed_ts is None:
        return ""
    form = "%H:%M" if now - course.changed_ts < DAY_S else "%m-%d %H:%M"
    return datetime.fromtimestamp(course.changed_ts, zone).strftime(form)


def statuses(course: Course) -> str:
    """`97 % ok, 3 % unsure`: the value first, then the refusals, the most frequent first."""
    if not course.answers:
        return "none"
    order = sorted(course.statuses.items(), key=lambda item: (item[0] != "ok", -item[1], item[0]))
    return ", ".join(f"{_percent(count / course.answers)} {status}" for status, count in order)


def table(lines: Sequence[Line], width: int) -> Table:
    """In so many columns; Korean and other wide characters take two."""
    cells = [TITLE, *(astuple(each) for each in lines)]
    kept = range(len(TITLE)) if width >= NARROW else (0, 1, 3, 4)
    widths = _widths([[row[number] for row in cells] for number in kept], kept, width)
    grid = Table(box=None, show_header=False, padding=(0, 1, 0, 0), pad_edge=False)
    for least in widths:
        grid.add_column(width=least, no_wrap=True, overflow="ellipsis")
    for row in cells:
        style = "bright_black" if row is TITLE else ""
        texts = (shortened(row[number], least) for number, least in zip(kept, widths, strict=True))
        grid.add_row(*(Text(text, style=style) for text in texts))
    return grid


def shortened(cell: str, width: int) -> str:
    """The cell in so many columns. A number at its end is whole or left out."""
    text = printable(cell)
    if cell_len(text) <= width:
        return text
    if isinstance(cell, Figures):
        return ELLIPSIS
    kept = set_cell_size(text, width - 1)
    cut = (number.start() for number in NUMBER.finditer(text) if number.start() < len(kept) < number.end())
    return kept[: next(cut, None)] + ELLIPSIS


def _widths(columns: Sequence[Sequence[str]], kept: Sequence[int], width: int) -> list[int]:
    """The width of each column: as it needs, but no more than there is. Text becomes narrower before figures do."""
    figures = [_widest(cell for cell in column if isinstance(cell, Figures)) for column in columns]
    most = [max(MOST[number], least) for number, least in zip(kept, figures, strict=True)]
    widths = [min(_widest(column), limit) for column, limit in zip(columns, most, strict=True)]
    for floors in (figures, [0] * len(figures)):
        for number, least in SHRUNK:
            too_wide = sum(widths) + len(widths) - 1 - width
            if number in kept and too_wide > 0:
                index = kept.index(number)
                widths[index] = max(min(max(least, floors[index]), widths[index]), widths[index] - too_wide)
    return widths


def _widest(cells: Iterable[str]) -> int:
    return max((cell_len(printable(cell)) for cell in cells), default=0)


def _percent(share: float) -> str:
    """Never 0 or 100 for what is neither nothing nor all."""
    rounded = round(100 * share)
    if 0 < share < 1:
        return "<1 %" if rounded < 1 else f"{min(rounded, 99)} %"
    return f"{rounded} %"


def _remark(console: Console, text: str) -> None:
    console.print(Text(text, style="bright_black"), no_wrap=True, overflow="ellipsis")
