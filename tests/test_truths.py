"""What a person may say about an answer."""

from __future__ import annotations

from typing import Any

import pytest
from support.kept import kept_answer, yes_no

from edged.core.answer_types import Choices, Json, Number, Text, YesNo
from edged.core.kept_frames import KeptAnswer, LabelRefused
from edged.core.truths import decided, form, valid


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


PEOPLE = kept_answer()
UNSURE = kept_answer(value=None, status="unsure", guess=3)
UNREADABLE = kept_answer(value=None, status="unreadable", guess=None, text="many")
WEATHER = kept_answer("weather", "rain", type="choices", form={"choices": [["Rain", "rain"], ["Sun", "clear"]]})
SCENE = kept_answer("scene", "A yard.", type="text", form={})


@pytest.mark.parametrize(
    ("answer", "verdict", "truth", "expected"),
    [
        (PEOPLE, "right", None, ("right", 3)),
        (PEOPLE, "right", 3.0, ("right", 3)),
        (PEOPLE, "wrong", 4, ("wrong", 4)),
        (PEOPLE, "wrong", None, ("wrong", None)),
        (PEOPLE, None, 3, ("right", 3)),
        (PEOPLE, None, 0, ("wrong", 0)),
        (PEOPLE, "skip", None, ("skip", None)),
        (UNSURE, "right", None, ("right", 3)),
        (UNSURE, None, 3, ("right", 3)),
        (UNREADABLE, None, 3, ("wrong", 3)),
        (yes_no(), "wrong", None, ("wrong", False)),
        (yes_no(value=False), "wrong", None, ("wrong", True)),
        (yes_no(value=None, status="timeout"), "wrong", None, ("wrong", None)),
        (yes_no(value=False), "right", None, ("right", False)),
        (WEATHER, None, "clear", ("wrong", "clear")),
        (SCENE, "right", None, ("right", "A yard.")),
        (SCENE, None, " A gate.\n", ("wrong", "A gate.")),
    ],
)
def test_verdict_and_truth_complete_each_other(answer: KeptAnswer, verdict: Any, truth: Any, expected: tuple[str, Any]):
    assert decided(answer, verdict, truth) == expected


@pytest.mark.parametrize(
    ("answer", "verdict", "truth", "sentence"),
    [
        (PEOPLE, None, None, "a label needs a verdict (right, wrong or skip) or the true value"),
        (PEOPLE, "skip", 3, "a label that is skipped has no truth"),
        (PEOPLE, "right", 4, "the answer is 3; it is not right if the truth is 4"),
        (PEOPLE, "wrong", 3, "the answer is 3; it is not wrong if that is the truth"),
        (
            UNREADABLE,
            "right",
            None,
            "the answer is unreadable and has no value that could be right; give the true value",
        ),
        (PEOPLE, None, 41, "the truth must be a whole number from 0 to 40, not 41"),
        (PEOPLE, None, 2.5, "the truth must be a whole number, not 2.5"),
        (PEOPLE, None, True, "the truth must be a whole number, not true"),
        (PEOPLE, None, "3", 'the truth must be a whole number, not "3"'),
        (yes_no(), None, 1, "the truth must be true or false, not 1"),
        (yes_no(), None, "Yes", 'the truth must be true or false, not "Yes"'),
        (WEATHER, None, "Rain", 'the truth must be one of "rain", "clear", not "Rain"'),
        (WEATHER, None, {"a": 1}, 'the truth must be one of "rain", "clear", not {"a": 1}'),
        (SCENE, None, "x" * 2001, "the truth has more than 2000 characters"),
        (SCENE, None, " \x07 ", "the truth is empty"),
        (SCENE, None, ["A yard."], 'the truth must be a text, not ["A yard."]'),
        (kept_answer(type="json", form={}), None, ["x" * 4000], "the truth has more than 4000 characters"),
    ],
)
def test_a_label_that_cannot_be_is_refused_with_a_sentence(answer: KeptAnswer, verdict: Any, truth: Any, sentence: str):
    with pytest.raises(LabelRefused) as refused:
        decided(answer, verdict, truth)
    assert str(refused.value) == sentence


@pytest.mark.parametrize("truth", [[float("nan")], {"a": [float("inf")]}, nested(70), nested(1900), nested(100_000)])
def test_json_that_cannot_be_sent_is_refused(truth: Any):
    with pytest.raises(LabelRefused):
        valid("json", {"schema": {}}, truth)


@pytest.mark.parametrize("truth", [float("nan"), float("inf"), 1e10, 10**400, -(10**4000)])
def test_a_number_is_finite_and_in_the_range_of_a_type_without_limits(truth: float):
    for kind in ("integer", "number"):
        with pytest.raises(LabelRefused):
            valid(kind, form(Number(kind == "integer")), truth)


def test_the_form_says_what_a_person_must_know():
    assert form(YesNo("예", "아니요")) == {"words": ["예", "아니요"]}
    assert form(Number(True, 0, None)) == {"range": [0, None]}
    assert form(Choices((("No vehicle", "none"), ("Car", 4)))) == {"choices": [["No vehicle", "none"], ["Car", 4]]}
    assert form(Json('{"type": "object"}')) == {"schema": {"type": "object"}}
    assert form(Text()) == {}


@pytest.mark.parametrize(
    ("truth", "verdict"),
    [({"count": 3.0}, "right"), ({"count": 3}, "right"), ({"count": 3.5}, "wrong"), ({"count": True}, "wrong")],
)
def test_numbers_of_json_are_compared_by_their_value(truth: Any, verdict: str):
    parts = kept_answer("parts", {"count": 3}, type="json", form={"schema": {}})
    assert decided(parts, None, truth) == (verdict, truth)
