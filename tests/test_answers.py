"""Answer types: instructions, values of replies, limits of grammars."""

from __future__ import annotations

import json

import pytest

from edged.core.answer_types import Choices, Json, Number, Text, Unreadable, YesNo, bounded
from edged.core.secret import Secret
from edged.core.text import spoken


@pytest.mark.parametrize(
    ("answer", "english", "korean"),
    [
        (YesNo(), "Answer Yes or No.", None),
        (YesNo("예", "아니요"), None, "예 또는 아니요로 답하세요."),
        (Number(True), "Answer with one number.", "숫자 하나로 답하세요."),
        (
            Choices((("clear", 1), ("rain", 2))),
            "Answer with one of: clear, rain.",
            "다음 중 하나로 답하세요: clear, rain",
        ),
        (Json("{}"), "Answer in JSON.", "JSON으로 답하세요."),
        (Text(), "", ""),
    ],
)
def test_instructions_are_those_of_the_contract(answer, english: str | None, korean: str | None):
    if english is not None:
        assert answer.instruction("en") == english
    if korean is not None:
        assert answer.instruction("ko") == korean


def test_values_are_typed():
    assert YesNo().value("No") is False
    assert Number(True).value("-7") == -7
    assert Number(False).value("2.5") == 2.5
    assert Choices((("in front", "front"), ("none", None))).value("none") is None
    assert Json("{}").value('{"a":[1]}') == {"a": [1]}
    assert Text().value(" two\x07 men\x1b[1m\n") == "two men[1m"


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (YesNo(), "yes"),
        (YesNo(), "Ye"),
        (Number(True), ""),
        (Number(True), "3.5"),
        (Json("{}"), '{"a":'),
        (Text(), " \x00 "),
    ],
)
def test_a_reply_that_is_not_a_value_is_never_guessed(answer, text: str):
    with pytest.raises(Unreadable):
        answer.value(text)


def test_a_schema_without_limits_gets_some():
    schema = {
        "type": "object",
        "properties": {
            "n": {"type": "integer"},
            "x": {"type": "number", "minimum": 0},
            "s": {"type": "string"},
            "e": {"type": "string", "enum": ["type", "object"]},
            "a": {"type": "array", "items": {"type": "integer", "maximum": 5}},
        },
    }
    assert bounded(schema) == {
        "type": "object",
        "properties": {
            "n": {"type": "integer", "minimum": -999999999, "maximum": 999999999},
            "x": {"type": "number", "minimum": 0, "maximum": 999999999, "multipleOf": 0.000001},
            "s": {"type": "string", "maxLength": 200},
            "e": {"type": "string", "enum": ["type", "object"]},
            "a": {"type": "array", "items": {"type": "integer", "minimum": -999999999, "maximum": 5}, "maxItems": 20},
        },
        "additionalProperties": False,
        "required": ["n", "x", "s", "e", "a"],
    }
    assert json.loads(json.dumps(schema)) == schema, "the schema itself is not changed"


@pytest.mark.parametrize(
    ("schema", "limits"),
    [
        ({"type": ["integer", "null"]}, {"minimum": -999999999, "maximum": 999999999}),
        ({"type": ["null", "string", "array"]}, {"maxLength": 200, "maxItems": 20}),
        (
            {"type": ["object", "null"], "properties": {"n": {"type": "null"}}},
            {"additionalProperties": False, "required": ["n"]},
        ),
        ({"type": "number", "enum": [0.12345678, 1e12]}, {}),
        ({"type": "integer", "const": 10**12}, {}),
    ],
)
def test_each_of_several_types_gets_its_limits_and_what_is_enumerated_none(schema: dict, limits: dict):
    assert bounded(schema) == schema | limits


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1e999", 'the reply has "1e999", which is not a finite number'),
        ('{"a":[-1e999]}', 'the reply has "-1e999", which is not a finite number'),
        ("9" * 5000, "the reply has a number with too many digits"),
        ("[" * 65 + "]" * 65, "the reply is nested more than 64 levels deep"),
        ("[" * 2000 + "]" * 2000, "the reply is nested more than 64 levels deep"),
    ],
)
def test_json_that_no_receiver_could_read_is_unreadable(text: str, reason: str):
    with pytest.raises(Unreadable) as raised:
        Json("{}").value(text)
    assert str(raised.value) == reason


def test_a_property_with_the_name_of_a_keyword_is_not_a_keyword():
    schema = {"type": "object", "properties": {"type": {"type": "string", "maxLength": 3}}}
    assert bounded(schema)["properties"] == {"type": {"type": "string", "maxLength": 3}}


def test_a_secret_does_not_show():
    secret = Secret("hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {[secret]}"
    assert secret == Secret("hunter2") != Secret("other")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.42, "0.4 s"),
        (2.0, "2 s"),
        (12, "12 s"),
        (59.7, "1 min"),
        (210, "3 min 30 s"),
        (7500, "2 h 5 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float, text: str):
    assert spoken(seconds) == text
