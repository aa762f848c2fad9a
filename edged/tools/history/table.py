"""The history as a line for each question: its course, its values, the last change, the share of each status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime, tzinfo

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edged.core.text import counted, printable, spoken
from edged.tools.history.choice import Name
from edged.tools.history.course import COLUMNS, REFUSED, Course, as_text

NARROW = 64  # columns of the terminal; below, there is no room for the values and the statuses
MOST = (22, COLUMNS, 24, 16, 11, 60)  # columns of a terminal for each cell of a line, if there is room
SHRUNK = ((5, 20), (2, 8), (3, 6), (0, 12), (5, 8))  # which cell becomes narrower first, and its least width
DAY_S = 86_400.0
TITLE = ("question", "", "values", "newest", "since", "answers")


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
        _remark(console, f"one mark is {column}; {REFUSED} is refusals only, a blank is no answer")


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
            return low if low == high else f"{low}–{high}"
        case "yes_no":
            return f"true {_percent(course.mean)}"
        case "choices":
            return ", ".join(f"{letter} {value}" for value, letter in course.letters().items())
    return counted(course.changes, "change")


def newest(course: Course) -> str:
    return " ".join(as_text(course.value).split()) if course.has_value else "-"


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
    widths = _widths([max(cell_len(printable(row[number])) for row in cells) for number in kept], list(kept), width)
    grid = Table(box=None, show_header=False, padding=(0, 1, 0, 0), pad_edge=False)
    for least in widths:
        grid.add_column(width=least, no_wrap=True, overflow="ellipsis")
    for row in cells:
        style = "bright_black" if row is TITLE else ""
        grid.add_row(*(_text(row[number], style) for number in kept))
    return grid


def _widths(natural: list[int], kept: list[int], width: int) -> list[int]:
    """The width of each cell: as it needs, but no more than there is."""
    widths = [min(need, MOST[number]) for need, number in zip(natural, kept, strict=True)]
    for number, least in SHRUNK:
        too_wide = sum(widths) + len(widths) - 1 - width
        if number in kept and too_wide > 0:
            index = kept.index(number)
            widths[index] = max(min(least, widths[index]), widths[index] - too_wide)
    return widths


def _percent(share: float) -> str:
    """Never 0 or 100 for what is neither nothing nor all."""
    rounded = round(100 * share)
    if 0 < share < 1:
        return "<1 %" if rounded < 1 else f"{min(rounded, 99)} %"
    return f"{rounded} %"


def _text(text: str, style: str) -> Text:
    return Text(printable(text), style=style)


def _remark(console: Console, text: str) -> None:
    console.print(Text(text, style="bright_black"), no_wrap=True, overflow="ellipsis")
