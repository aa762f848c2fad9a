"""Answer types: instructions, values of replies, limits of grammars."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edged.cameras.camera_url import parse_url
from edged.core.answer_types import AnswerType, Choices, Grammar, Json, Number, Text, Unreadable, YesNo, bounded
from edged.core.secret import Secret
from edged.core.specs import BrokerSpec, ListenAddress
from edged.core.text import host_port, spoken
from edged.vlm.grammar import problem


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
    assert YesNo().value("Yes") is True
    assert YesNo().value("No") is False
    assert Number(True).value("-7") == -7
    assert Number(False).value("2.5") == 2.5
    assert Choices((("in front", "front"), ("none", None))).value("none") is None
    assert Json("{}").value('{"a":[1]}') == {"a": [1]}
    assert Text().value(" two\x07 men\x1b[1m\n") == "two men[1m"


@pytest.mark.parametrize(
    ("answer", "grammar"),
    [
        (YesNo(), Grammar("regex", "(Yes|No)")),
        (YesNo("Open (wide)", "Shut."), Grammar("regex", r"(Open\ \(wide\)|Shut\.)")),
        (Choices((("a|b", 1), ("비", 2))), Grammar("regex", r"(a\|b|비)")),
        (
            Number(True),
            Grammar("json_schema", '{"type": "integer", "minimum": -999999999, "maximum": 999999999}'),
        ),
        (Number(True, 0, 40), Grammar("json_schema", '{"type": "integer", "minimum": 0, "maximum": 40}')),
        (
            Number(False, -0.5),
            Grammar("json_schema", '{"type": "number", "minimum": -0.5, "maximum": 999999999, "multipleOf": 1e-06}'),
        ),
        (Json('{"enum": ["비", 1]}'), Grammar("json_schema", '{"enum": ["비", 1]}')),
        (Json('{"type": "string"}'), Grammar("json_schema", '{"type": "string", "maxLength": 200}')),
        (Text(), None),
    ],
)
def test_the_grammar_of_a_type_admits_its_values_only(answer: AnswerType, grammar: Grammar | None):
    assert answer.grammar() == grammar


def test_a_type_has_a_name():
    types: list[AnswerType] = [Text(), YesNo(), Number(True), Number(False), Choices(()), Json("{}")]
    assert [answer.kind for answer in types] == ["text", "yes_no", "integer", "number", "choices", "json"]


@pytest.mark.parametrize(
    ("answer", "text", "message"),
    [
        (YesNo(), "Maybe", '"Maybe" is none of: Yes, No'),
        (Choices((("clear", 1), ("rain", 2))), "snow", '"snow" is none of: clear, rain'),
        (Number(True), "3.5", '"3.5" is not of type integer'),
        (Number(False), "three", '"three" is not of type number'),
        (Json("{}"), '{"a":', '"{"a":" is not complete JSON'),
        (Text(), "", "the reply is empty"),
    ],
)
def test_a_reply_that_is_not_a_value_is_quoted(answer: AnswerType, text: str, message: str):
    with pytest.raises(Unreadable) as error:
        answer.value(text)
    assert str(error.value) == message


def test_free_text_keeps_tabs_and_line_breaks_between_its_words():
    assert Text().value("\x00a\tb\nc\x0b\x1f\x7f\x85\x9fd\xa0e\n") == "a\tb\ncd\xa0e"


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
        ({"type": "array", "enum": [list(range(21))]}, {}),
    ],
)
def test_each_of_several_types_gets_its_limits_and_what_is_enumerated_none(schema: dict, limits: dict):
    assert bounded(schema) == schema | limits


@pytest.mark.parametrize(
    ("schema", "limits"),
    [
        ({"type": "array", "minItems": 3}, {"maxItems": 20}),
        ({"type": "array", "minItems": 30}, {"maxItems": 60}),
        ({"type": "string", "minLength": 300}, {"maxLength": 600}),
        ({"type": "integer", "minimum": 10**9}, {"maximum": 10**10}),
        ({"type": "integer", "exclusiveMinimum": 10**9}, {"minimum": -999999999, "maximum": 10**10}),
        ({"type": "integer", "exclusiveMaximum": -(10**9)}, {"minimum": -(10**10), "maximum": 999999999}),
        ({"type": "number", "maximum": -1e10}, {"minimum": -1e11, "multipleOf": 0.000001}),
    ],
)
def test_a_limit_leaves_room_beside_the_bound_of_the_schema(schema: dict, limits: dict):
    assert bounded(schema) == schema | limits
    assert problem(Json(json.dumps(schema)).grammar()) is None


def test_a_bound_that_is_no_number_is_left_to_the_compiler_which_names_it():
    assert problem(Json('{"type": "array", "minItems": "many"}').grammar()) == (
        "Expected positive integer for 'minItems', got \"many\""
    )


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


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "minimum": 1, "maximum": 2},
        {"type": "number", "minimum": 1, "maximum": 2, "multipleOf": 0.5},
        {"type": "string", "maxLength": 999},
        {"type": "string", "pattern": "a+"},
        {"type": "string", "format": "date"},
        {"type": "string", "enum": ["a"]},
        {"type": "string", "const": "a"},
        {"type": "array", "maxItems": 30},
        {"type": "object"},
        {"type": "object", "properties": {}, "additionalProperties": True, "required": []},
        {"type": "boolean"},
        {"enum": [{"type": "string"}]},
        {"const": {"type": "string"}},
        {"const": [{"type": "string"}]},
        True,
    ],
)
def test_a_limit_that_a_schema_has_or_does_not_need_stays(schema: Any):
    assert bounded(schema) == schema


def test_the_parts_of_a_schema_get_limits_too():
    schema = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    limited = {"type": "string", "maxLength": 200}
    lowest, highest = -999999999, 999999999
    assert bounded({"type": "number"}) == {
        "type": "number",
        "minimum": lowest,
        "maximum": highest,
        "multipleOf": 0.000001,
    }
    assert bounded(schema) == {"anyOf": [limited, {"type": "array", "items": limited, "maxItems": 20}]}


def test_a_property_with_the_name_of_a_keyword_is_not_a_keyword():
    schema = {"type": "object", "properties": {"type": {"type": "string", "maxLength": 3}}}
    assert bounded(schema)["properties"] == {"type": {"type": "string", "maxLength": 3}}


@pytest.mark.parametrize("names", ["properties", "patternProperties", "$defs", "definitions"])
@pytest.mark.parametrize("name", ["enum", "const", "default", "type", "properties", "items"])
def test_what_is_named_like_a_keyword_gets_limits_as_any_other_name(names: str, name: str):
    inner = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}}}}
    schema = {names: {name: inner, "other": {"type": "string"}}}
    assert bounded(schema)[names] == {name: bounded(inner), "other": {"type": "string", "maxLength": 200}}
    assert bounded(inner)["properties"]["a"] == {
        "type": "array",
        "items": {"type": "string", "maxLength": 200},
        "maxItems": 20,
    }


def test_data_in_a_schema_stays_as_it_is():
    schema = {"default": {"type": "string"}, "examples": [{"type": "string"}]}
    assert bounded(schema) == schema


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


@pytest.mark.parametrize(
    ("host", "text"), [("box.lan", "box.lan:80"), ("10.0.0.9", "10.0.0.9:80"), ("::1", "[::1]:80")]
)
def test_only_an_ipv6_address_needs_brackets_before_its_port(host: str, text: str):
    assert host_port(host, 80) == text
    assert ListenAddress(host, 80).shown == text
    assert BrokerSpec(host=host, port=80).shown == f"mqtt://{text}"
    assert BrokerSpec(host=host, port=80, tls=True).shown == f"mqtts://{text}"
    assert parse_url(f"http://{text}/a.jpg").where == text


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ({"properties": {"a": {"type": "boolean"}}, "required": ["a"]}, "object"),
        ({"items": {"type": "boolean"}}, "array"),
        ({"minLength": 1}, "string"),
        ({"minimum": 1}, "number"),
    ],
)
def test_a_schema_without_a_type_gets_the_one_that_its_keys_are_about(part: dict[str, Any], kind: str) -> None:
    """Else a weak model may reply with a number where an object is meant."""
    typed = {"type": kind, **part}
    assert bounded(part) == bounded(typed)
    assert bounded({"type": "array", "items": part}) == bounded({"type": "array", "items": typed})


COMBINED: dict[str, dict[str, Any]] = {
    "by reference": {
        "type": "object",
        "allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}],
        "$defs": {
            "a": {"properties": {"x": {"type": "boolean"}}, "required": ["x"]},
            "b": {"properties": {"y": {"type": "boolean"}}, "required": ["y"]},
        },
    },
    "deep in a part": {
        "type": "object",
        "properties": {"o": {"type": "object", "properties": {"x": {"type": "boolean"}, "y": {"type": "boolean"}}}},
        "allOf": [{"properties": {"o": {"properties": {"x": {"enum": [True]}}}}}],
    },
    "null in another part": {
        "type": "object",
        "properties": {"plate": {"type": ["string", "null"]}},
        "anyOf": [{"properties": {"plate": {"minLength": 3}}}],
    },
    "about nothing": {"description": "anything"},
    "about two types": {"minimum": 1, "minLength": 1},
    "not": {"not": {"minimum": 1}},
}


@pytest.mark.parametrize("schema", COMBINED.values(), ids=COMBINED)
def test_a_schema_that_may_leave_its_type_to_another_gets_none(schema: dict[str, Any]) -> None:
    """Its limits would contradict those of the others, or leave values out."""
    assert json.dumps(bounded(schema)).count('"type"') == json.dumps(schema).count('"type"')
    assert json.dumps(bounded(schema)).count("maxLength") == (1 if "plate" in json.dumps(schema) else 0)
