"""What `answer:` may be, and the sentence for what it may not be."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from edged.config.answers import Answer

ANSWER: TypeAdapter[Any] = TypeAdapter(Answer)
SCHEMA = {"type": "object", "properties": {"type": {"type": "integer"}}}
RULE = "it must be one line without special tokens, and must not begin or end with a space"


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        ("yes_no", "yes_no"),
        ("integer", "integer"),
        ("number", "number"),
        ("text", "text"),
        (["clear", "rain"], {"choices": {"clear": "clear", "rain": "rain"}}),
        ([1, True], {"choices": {"1": 1, "true": True}}),
        ({"choices": ["a", 2.5]}, {"choices": {"a": "a", "2.5": 2.5}}),
        ({"choices": {"in front": None, "behind": 1}}, {"choices": {"in front": None, "behind": 1}}),
        ({"json": SCHEMA}, {"json": SCHEMA}),
        ({"json": {}}, {"json": {}}),
        ({"json": {"type": "object"}}, {"json": {"type": "object"}}),
        ([*map(str, range(256))], {"choices": {str(number): str(number) for number in range(256)}}),
    ],
)
def test_an_answer_is_a_type_choices_or_a_schema(written: Any, answer: Any) -> None:
    assert ANSWER.validate_python(written) == answer


BROKEN = "has a JSON schema whose properties are not a mapping"
KINDS = "must be a type, a list of choices [a, b], {choices: {label: value}} or {json: SCHEMA}"
NO_SCHEMA = "json needs a JSON schema such as {type: object, properties: {people: {type: integer}}}, not"


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        (None, "has no value; it must be a type, or a list of choices"),
        ("json", "json needs its schema: {json: SCHEMA}"),
        (
            "colour",
            '"colour" is not a type (yes_no, integer, number, text, json, or a list of choices). Did you mean a list?',
        ),
        (
            "intger",
            '"intger" is not a type (yes_no, integer, number, text, json, or a list of choices). '
            'Did you mean "integer"?',
        ),
        (3, "3 is not a type (yes_no, integer, number, text, json, or a list of choices). Did you mean a list?"),
        ({}, KINDS),
        ({"choices": "a"}, KINDS),
        ({"choice": ["a", "b"]}, KINDS),
        ({"choices": ["a", "b"], "json": {}}, KINDS),
        ({"json": "x"}, f'{NO_SCHEMA} "x"'),
        ({"json": None}, f"{NO_SCHEMA} null"),
        ({"json": {"type": "object", "properties": []}}, BROKEN),
        ({"json": {"anyOf": [{"items": {"type": "object", "properties": 1}}]}}, BROKEN),
        (["a"], "needs at least two choices, separated by commas"),
        ([], "needs at least two choices, separated by commas"),
        ({"choices": {"a": 1}}, "needs at least two choices, separated by commas"),
        ([*map(str, range(257))], "has more than 256 choices"),
        (["a", "b", "a"], "has the same choice twice"),
        ([1, "1"], "has the same choice twice"),
        (["a", None], "has a choice that is not text, a number, true or false"),
        (["a", ["b"]], "has a choice that is not text, a number, true or false"),
        (["a", {"b": 1}], "has a choice that is not text, a number, true or false"),
        (["a", " b"], f'" b" cannot be a choice; {RULE}'),
        ({"choices": {"a": 1, "": 2}}, f'"" cannot be a choice; {RULE}'),
        (["a", "<|im_end|>"], f'"<|im_end|>" cannot be a choice; {RULE}'),
    ],
)
def test_anything_else_is_refused_with_a_sentence(written: Any, sentence: str) -> None:
    with pytest.raises(ValidationError) as error:
        ANSWER.validate_python(written)
    assert [problem["msg"] for problem in error.value.errors()] == [sentence]


@pytest.mark.parametrize(
    "answer",
    [
        {"json": {"enum": ["\ud800"]}},
        {"json": {"type": "object", "properties": {"a\ud800": {"type": "integer"}}}},
        {"json": {"items": {"const": {"a": [{"\ud800": 1}]}}}},
        {"json": {"\ud800": 1}},
        {"choices": {"a": "\ud800", "b": 1}},
        {"choices": {"a": [{"b": "\ud800"}], "b": 1}},
    ],
)
def test_no_text_of_an_answer_contains_what_a_config_cannot_contain(answer: Any) -> None:
    with pytest.raises(ValidationError) as error:
        ANSWER.validate_python(answer)
    assert [problem["msg"] for problem in error.value.errors()] == [
        "has a text that contains a control character (U+D800)"
    ]


def test_no_text_of_an_answer_is_longer_than_one_of_a_config() -> None:
    with pytest.raises(ValidationError, match="has a text that has 8001 characters; the limit is 8000"):
        ANSWER.validate_python({"json": {"enum": ["x" * 8001]}})


@pytest.mark.parametrize("key", ["properties", "patternProperties", "$defs", "definitions"])
@pytest.mark.parametrize("value", [5, None, [], "x"])
def test_what_maps_names_to_schemas_is_a_mapping_in_every_part_of_a_schema(key: str, value: Any) -> None:
    broken = {"type": ["object", "null"], key: value}
    for schema in (broken, {"items": broken}, {"$defs": {"enum": broken}}, {"anyOf": [{}, {"not": broken}]}):
        with pytest.raises(ValidationError) as error:
            ANSWER.validate_python({"json": schema})
        assert [problem["msg"] for problem in error.value.errors()] == [
            f"has a JSON schema whose {key} are not a mapping"
        ]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"properties": {"type": "integer"}}},
        {"enum": [{"properties": 5}]},
        {"const": {"properties": 5}},
        {"type": "object", "default": {"properties": 5}},
    ],
)
def test_what_is_only_named_properties_or_is_data_is_no_part_of_a_schema(schema: Any) -> None:
    assert ANSWER.validate_python({"json": schema}) == {"json": schema}
