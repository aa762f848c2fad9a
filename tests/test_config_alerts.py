"""`alert:` in the config: the conditions that are accepted, and the message for each that is not."""

from __future__ import annotations

from datetime import time
from pathlib import Path

import pytest
from support.config import ASK, problems, write

from edged.config.load import load
from edged.core.conditions import Comparison, Condition, OneOf
from edged.core.specs import AlertSpec, Hours


def asking(answer: str, written: str) -> str:
    return ASK + f"        answer: {answer}\n        alert: {written}\n"


def alert(tmp_path: Path, answer: str, written: str) -> AlertSpec | None:
    return load(write(tmp_path, asking(answer, written))).cameras[0].questions[0].alert


@pytest.mark.parametrize(
    ("answer", "written", "condition"),
    [
        ("yes_no", "true", OneOf((True,))),
        ("[clear, rain, snow]", "[rain, snow]", OneOf(("rain", "snow"))),
        ("integer", "[0, 40]", OneOf((0, 40))),
        ("integer", '"> 3"', Comparison(">", 3)),
        ("integer", '">=3"', Comparison(">=", 3)),
        ("number", '"< -0.5"', Comparison("<", -0.5)),
        ("number", '"<= 1.0"', Comparison("<=", 1.0)),
        ("integer", '"!= 0"', Comparison("!=", 0)),
        ("['> 3', more]", '"> 3"', OneOf(("> 3",))),
        ("{json: {type: object}}", "[{a: 1}, [2]]", OneOf(({"a": 1}, [2]))),
    ],
)
def test_a_condition_is_a_value_a_list_of_values_or_a_comparison(
    tmp_path: Path, answer: str, written: str, condition: Condition
) -> None:
    assert alert(tmp_path, answer, f"{{when: {written}}}") == AlertSpec(condition)


def test_every_key_of_an_alert_reaches_its_spec(tmp_path: Path) -> None:
    keys = '{when: "> 3", after: 2, for: 2m, clear_when: "<= 1", clear_after: 3, quiet: [22:00-06:00, sun 12:00-14:00]}'
    night = Hours(frozenset(range(7)), time(22), time(6))
    sunday = Hours(frozenset([6]), time(12), time(14))
    assert alert(tmp_path, "integer", keys) == AlertSpec(
        Comparison(">", 3),
        after=2,
        for_s=120.0,
        clear_when=Comparison("<=", 1),
        clear_after=3,
        quiet=(night, sunday),
    )


def test_clear_after_is_a_count_or_a_time_and_by_default_as_many_as_after(tmp_path: Path) -> None:
    once = AlertSpec(OneOf((True,)), after=3)
    assert [
        alert(tmp_path, "yes_no", f"{{when: true, after: 3{more}}}")
        for more in ("", ", clear_after: 1", ", clear_after: 5", ", clear_after: 30s")
    ] == [
        AlertSpec(once.when, after=3, clear_after=3),
        AlertSpec(once.when, after=3, clear_after=1),
        AlertSpec(once.when, after=3, clear_after=5),
        AlertSpec(once.when, after=3, clear_after=1, clear_for_s=30.0),
    ]


NEEDS_A_NUMBER = "is a comparison, which is valid only with answer: integer or answer: number"
NOT_BOTH = "they must exclude each other"
BAD = {
    "a comparison of a yes_no": ("yes_no", '{when: "> 3"}', f'when "> 3" {NEEDS_A_NUMBER}'),
    "a comparison of a choice": ("[a, b]", '{when: "> 3"}', f'when "> 3" {NEEDS_A_NUMBER}'),
    "a comparison of a text": ("text", '{when: "> 3"}', f'when "> 3" {NEEDS_A_NUMBER}'),
    "a comparison that ends an alert": (
        "yes_no",
        '{when: true, clear_when: "< 1"}',
        f'clear_when "< 1" {NEEDS_A_NUMBER}',
    ),
    "an operator of mathematics": ("integer", '{when: "≥ 3"}', 'when "≥ 3" is not a comparison; write ">= 3"'),
    "an operator in the wrong order": ("integer", '{when: "=> 3"}', 'when "=> 3" is not a comparison; write ">= 3"'),
    "equal": (
        "integer",
        '{when: "== 3"}',
        'when "== 3" is not a comparison; write the number alone, without quotes',
    ),
    "a comparison with a word": (
        "integer",
        '{when: "> many"}',
        'when "> many" is not a possible answer (whole numbers, or a comparison such as "> 3")',
    ),
    "a comparison with a unit": (
        "number",
        '{when: "> 3 m"}',
        'when "> 3 m" is not a comparison such as "> 3" (>, >=, <, <=, !=, and a number)',
    ),
    "a comparison with a fraction": (
        "integer",
        '{when: "> 2.5"}',
        'when "> 2.5" must compare with a whole number, because the answer is one',
    ),
    "a comparison in a list": (
        "integer",
        '{when: [1, "> 3"]}',
        'when[1] "> 3" is a comparison; a list can contain only values',
    ),
    "an empty list": ("integer", "{when: []}", "when is an empty list"),
    "an impossible value in a list": (
        "[clear, rain]",
        "{when: [rain, snow]}",
        'when[1] "snow" is not a possible answer ("clear", "rain")',
    ),
    "never": (
        "integer\n        range: [0, 40]",
        '{when: "> 40"}',
        'when "> 40" is never true (whole numbers from 0 to 40)',
    ),
    "always": (
        "number\n        range: [0, 1]",
        '{when: ">= 0"}',
        'when ">= 0" is always true (numbers from 0.0 to 1.0)',
    ),
    "always unequal": (
        "integer\n        range: [0, 40]",
        '{when: "!= 41"}',
        'when "!= 41" is always true (whole numbers from 0 to 40)',
    ),
    "both above": (
        "integer",
        '{when: "> 3", clear_when: "> 2"}',
        f"clear_when and when are both true for 4; {NOT_BOTH}",
    ),
    "both between": (
        "number",
        '{when: "> 3", clear_when: "< 3.5"}',
        f"clear_when and when are both true for 3.25; {NOT_BOTH}",
    ),
    "both for a value": (
        "[clear, rain, snow]",
        "{when: [rain, snow], clear_when: [clear, snow]}",
        f'clear_when and when are both true for "snow"; {NOT_BOTH}',
    ),
    "a time without a unit": ("integer", "{when: 1, for: 30}", "for needs a unit: 30s, 30m or 30h"),
    "no count": (
        "integer",
        "{when: 1, clear_after: 0}",
        "clear_after must be a number of answers such as 3, or a duration such as 2m, not 0",
    ),
    "always quiet": (
        "integer",
        "{when: 1, quiet: [mon-sat 00:00-24:00, sun 00:00-12:00, sun 12:00-24:00]}",
        "quiet covers the whole week, so the alert would never go on",
    ),
    "quiet without a time": (
        "integer",
        "{when: 1, quiet: night}",
        'quiet "night": the time is missing, such as 06:00-22:00',
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_says_what_is_wrong_with_an_alert(tmp_path: Path, name: str) -> None:
    answer, written, message = BAD[name]
    line = 10 if "range" in answer else 9
    assert problems(tmp_path, asking(answer, written)) == [
        f'edged.yaml:{line}: camera "dock": question "gate": alert.{message}'
    ]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (">3", 'camera "dock": question "gate": alert.when is empty; a comparison needs quotes, such as "> 3"'),
        ("> 3", "is not YAML: a text that begins with | or > needs quotes"),
        ("!= 3", 'camera "dock": question "gate": alert.when has a tag; a text that begins with ! needs quotes'),
    ],
)
def test_says_that_a_comparison_needs_quotes(tmp_path: Path, written: str, message: str) -> None:
    text = asking("integer", f"\n          when: {written}")
    assert problems(tmp_path, text) == [f"edged.yaml:10: {message}"]


def test_conditions_that_exclude_each_other_among_the_possible_answers_are_accepted(tmp_path: Path) -> None:
    assert alert(tmp_path, "integer", '{when: "> 3", clear_when: "< 4"}')
    assert alert(tmp_path, "integer\n        range: [0, 1]", '{when: "!= 0", clear_when: "!= 1"}')
    assert problems(tmp_path, asking("number", '{when: "> 3", clear_when: "< 4"}'))
