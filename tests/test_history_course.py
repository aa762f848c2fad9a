"""A line of `edged history`: the course of a question's answers, its values, the last change, the statuses."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from rich.cells import cell_len
from rich.console import Console
from support.history import NOW, Row, answered, refused

from edged.tools.history.course import COLUMNS, Course
from edged.tools.history.table import Line, line, shortened, show, table, values

HOUR_S = 3600.0
SEOUL = ZoneInfo("Asia/Seoul")


def a_day(*rows: Row, hours: float = 24) -> Course:
    """The course of the last 24 hours, of which each mark is one."""
    course = Course(NOW - hours * HOUR_S, NOW)
    for row in rows:
        course.add(json.loads(row.payload))
    return course


def each_hour(found: list[Any], kind: str) -> Course:
    """One value in the middle of each of the last hours; None is a refusal, and an empty list is no answer."""
    rows = []
    for number, value in enumerate(found):
        stamp = NOW - (len(found) - number - 0.5) * HOUR_S
        if value is None:
            rows.append(refused(stamp, "unsure", kind))
        elif value != []:
            rows.append(answered(stamp, value, kind))
    return a_day(*rows)


def marks(found: list[Any], kind: str) -> str:
    text = each_hour(found, kind).marks()
    assert len(text) == COLUMNS
    return text[COLUMNS - len(found) :]


def test_numbers_are_drawn_between_their_lowest_and_highest():
    assert marks([0, 1, 2, 3, 4, 5, 6, 7], "integer") == "▁▂▃▄▅▆▇█"
    assert marks([-1.5, 1.5, -1.5], "number") == "▁█▁"
    assert marks([3, 3], "integer") == "▅▅"


def test_the_mean_of_the_numbers_of_an_hour_is_drawn():
    course = a_day(answered(NOW - 60, 0), answered(NOW - 50, 8), answered(NOW - 2.5 * HOUR_S, 0))
    assert course.marks()[-3:] == "▁ ▅"


def test_yes_and_no_are_drawn_as_the_share_of_yes():
    assert marks([False, True, False], "yes_no") == "▁█▁"
    assert marks([True, True], "yes_no") == "██"
    both = a_day(answered(NOW - 60, True, "yes_no"), answered(NOW - 50, False, "yes_no"))
    assert both.marks()[-1] == "▅"


def test_refusals_and_hours_without_an_answer_are_gaps():
    assert marks([1, None, [], 2], "integer") == "▁· █"
    assert marks([None, True], "yes_no") == "·█"
    assert marks([None, "clear"], "choices") == "·c"


def test_choices_have_letters_of_their_own():
    course = each_hour(["clear", "clear", "cloudy", "rain"], "choices")
    assert course.marks()[-4:] == "cclr"
    assert values(course) == "c clear, l cloudy, r rain"


def test_choices_without_latin_letters_have_numbers():
    course = each_hour(["맑음", "맑음", "비"], "choices")
    assert (course.marks()[-3:], values(course)) == ("112", "1 맑음, 2 비")


def test_choices_may_have_values_of_any_type_and_any_number():
    assert marks([True, None, 5, 5], "choices") == "t·11"
    assert marks([10**400], "choices") == "1"
    course = a_day(*(answered(NOW - 60, f"{number:03}", "choices") for number in range(400)))
    assert len(course.choices) == 256
    assert course.marks()[-1] == "1"


@pytest.mark.parametrize("kind", ["text", "json"])
def test_of_other_types_it_is_shown_whether_they_changed(kind: str):
    assert marks(["a", "a", "b", None, "b"], kind) == "──┼·─"


def test_a_changed_type_begins_the_values_anew():
    course = a_day(answered(NOW - 3000, 40), refused(NOW - 2000, "unsure"), answered(NOW - 1000, True, "yes_no"))
    assert (course.type, values(course), course.changed_ts, course.answers) == ("yes_no", "true 100 %", None, 3)


def test_a_stamp_outside_of_the_period_counts_for_the_time_before():
    course = a_day(answered(NOW - 5.5 * HOUR_S, 1), answered(1.0, 2), answered(NOW + 9e6, 2), answered(NOW, 1))
    assert course.marks()[-6:] == "▆    ▁"
    assert a_day(answered(1.0, 1)).marks()[0] == "▅"


def cells(course: Course, now: float = NOW, zone: Any = UTC) -> Line:
    return line(("dock", "people"), course, now, zone)


def test_the_newest_value_and_its_last_change():
    assert cells(a_day()) == Line("dock/people", " " * COLUMNS, "", "-", "", "none")
    same = cells(a_day(answered(NOW - 60, 3), answered(NOW, 3)))
    assert (same.newest, same.since) == ("3", "")
    course = a_day(answered(NOW - 7200, 1), answered(NOW - 3600, 2), refused(NOW - 60, "unsure"), answered(NOW, 2))
    changed = cells(course)
    assert (changed.newest, changed.since) == ("2", "07:00")
    assert cells(course, zone=SEOUL).since == "16:00"


def test_a_change_a_day_ago_has_its_date():
    course = a_day(answered(NOW - 40 * HOUR_S, 1), answered(NOW - 30 * HOUR_S, 2), hours=48)
    assert cells(course, zone=SEOUL).since == "07-28 11:00"


def test_statuses_begin_with_the_answers_that_have_a_value():
    rows = [refused(NOW, "camera_down"), refused(NOW, "unsure"), refused(NOW, "unsure"), answered(NOW, 1)]
    assert cells(a_day(*rows)).statuses == "25 % ok, 50 % unsure, 25 % camera_down"
    many = [answered(NOW, 1)] * 999
    assert cells(a_day(*many, refused(NOW, "unsure"))).statuses == "99 % ok, <1 % unsure"
    assert cells(a_day(*many)).statuses == "100 % ok"


def test_values_of_each_type():
    assert values(each_hour([3, 12], "integer")) == "3–12"
    assert values(each_hour([0.25, 0.25], "number")) == "0.25"
    assert values(each_hour([True, False, False], "yes_no")) == "true 33 %"
    assert values(each_hour(["a", "b", "a"], "text")) == "2 changes"
    assert values(each_hour([None], "integer")) == ""


def printed(courses: dict[tuple[str, str], Course], width: int, colours: bool = False) -> str:
    console = Console(width=width, force_terminal=colours, color_system="standard" if colours else None)
    with console.capture() as captured:
        show(courses, NOW - 24 * HOUR_S, NOW, SEOUL, console)
    return captured.get()


LONG = "a very long description of the yard, with\na line break and \x1b[31mcolours" * 3
COURSES = {
    ("dock", "people"): each_hour([1, 12, None, 3], "integer"),
    ("dock", "날씨"): each_hour(["맑음", "비"], "choices"),
    ("dock", "설명"): each_hour(["마당에 차가 두 대 있고 사람은 없습니다. 문은 닫혀 있습니다.", "비가 옵니다"], "text"),
    ("loading-dock-with-a-long-name", "scene"): each_hour(["x", LONG], "text"),
    ("roof", "gate"): a_day(*(refused(NOW, status) for status in ("camera_down", "stale_frame", "unreadable"))),
}


@pytest.mark.parametrize("width", [50, 60, 67, 68, 80, 100, 200])
def test_every_line_fits_the_terminal_with_wide_characters_too(width: int):
    lines = printed(COURSES, width).splitlines()
    assert len(lines) == len(COURSES) + 3
    assert max(cell_len(each) for each in lines) <= width
    assert all(each.isprintable() for each in lines)


def test_columns_stay_aligned_beside_wide_characters():
    rows = printed({name: COURSES[name] for name in COURSES if name[0] == "dock"}, 100).splitlines()[2:-1]
    assert len({cell_len(row[: row.index("16:30")]) for row in rows}) == 1


def test_the_whole_picture():
    courses = {name: COURSES[name] for name in [("dock", "people"), ("dock", "날씨"), ("roof", "gate")]}
    lines = [row.rstrip() for row in printed(courses, 80).splitlines()]
    assert lines == [
        "9 answers since 2026-07-28 17:00 (Asia/Seoul)",
        "question                             values    newest since answers",
        "dock/people                     ▁█·▂ 1–12      3      16:30 75 % ok, 25 % unsure",
        "dock/날씨                         12 1 맑음, … 비     16:30 100 % ok",
        "roof/gate                          ·           -            33 % camera_down, …",
        "each column is 1 h; ·: only refusals; blank: no answer",
    ]


FIGURES = {
    ("dock", "on"): each_hour([True, True], "yes_no"),
    ("dock", "weight"): each_hour([-12.345678, 123456.25], "number"),
    ("dock", "views"): each_hour(["a", "b"] * 6, "text"),
    ("dock", "plate"): each_hour(["x", "lorry 1234567890123"], "text"),
}


def test_numbers_are_shown_whole_where_80_columns_have_room_for_them():
    rows = printed(FIGURES, 80).splitlines()[2:-1]
    for row, whole in zip(rows, ("true 100 %", "-12.3457–123456 123456.25", "11 changes", "lorry …"), strict=True):
        assert whole in row


@pytest.mark.parametrize("width", range(50, 120))
def test_no_number_is_cut_so_that_it_reads_as_another_one(width: int):
    courses = {**FIGURES, ("roof", "gate"): a_day(*(refused(NOW, status) for status in ("timeout", "a", "b", "c")))}
    whole = {word for row in printed(courses, 200).split("\n") for word in row.split()}
    shown = {word for row in printed(courses, width).split("\n")[2:] for word in row.split()}
    assert [word for word in shown - whole if re.search(r"\d…?$", word)] == []


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("-12.5 and -13", 12, "-12.5 and …"),
        ("seen 2026-11-28", 14, "seen …"),
        ("seen 14:49", 9, "seen …"),
        ("27 % of it", 5, "27 %…"),
        ("27 % of it", 4, "…"),
        ("10 people", 3, "…"),
        ("10 people", 4, "10 …"),
        ("10 people", 9, "10 people"),
        ("version 1.2.3", 12, "version …"),
        ("가나 12", 6, "가나 …"),
    ],
)
def test_a_number_at_the_end_of_a_cut_text_is_whole_or_left_out(text: str, width: int, shown: str):
    assert shortened(text, width) == shown


def test_without_a_terminal_there_are_no_colours_and_in_one_there_are():
    assert "\x1b" not in printed(COURSES, 80)
    assert "\x1b[90m" in printed(COURSES, 80, colours=True)


def test_without_a_question_there_is_one_line():
    assert printed({}, 80) == "0 answers since 2026-07-28 17:00 (Asia/Seoul)\n"


def test_a_table_without_room_keeps_what_matters():
    text = Console(width=57, color_system=None)
    with text.capture() as captured:
        text.print(table([cells(COURSES["dock", "people"])], 57))
    assert "answers" not in captured.get()
    assert datetime.fromtimestamp(NOW, UTC).strftime("%H") == "08"
