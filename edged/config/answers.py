"""The value of `answer:`: a type, choices, or a JSON schema."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from edged.config.document import text_problem
from edged.config.phrases import shown, suggestion
from edged.config.problems import wrong
from edged.config.values import REPLY_RULE, valid_reply
from edged.core.answer_types import SCHEMAS_BY_NAME, subschemas

TYPES = ("yes_no", "integer", "number", "text", "json")
MAX_CHOICES = 256


def _answer(value: Any) -> Any:
    _check_texts(value)
    if isinstance(value, list):
        return {"choices": _choices({_label(item): item for item in value}, len(value))}
    if isinstance(value, dict):
        return _described(value)
    if value is None:
        raise wrong("has no value; it must be a type, or a list of choices")
    if value == "json":
        raise wrong("json needs its schema: {json: SCHEMA}")
    if value not in TYPES:
        hint = suggestion(value, TYPES) if isinstance(value, str) else ""
        raise wrong(
            f"{shown(value)} is not a type ({', '.join(TYPES)}, or a list of choices){hint or '. Did you mean a list?'}"
        )
    return value


def _check_texts(value: Any) -> None:
    """Refuses what a config file cannot contain: a request, which is JSON, can."""
    match value:
        case str() if why := text_problem(value):
            raise wrong(f"has a text that {why}")
        case list():
            for part in value:
                _check_texts(part)
        case dict():
            _check_texts([*value, *value.values()])


def _described(value: dict[str, Any]) -> Any:
    """`{choices: …}` or `{json: …}`."""
    if value.keys() == {"choices"} and isinstance(value["choices"], list):
        return _answer(value["choices"])
    if value.keys() == {"choices"} and isinstance(value["choices"], dict):
        return {"choices": _choices(value["choices"], len(value["choices"]))}
    if value.keys() == {"json"}:
        if not isinstance(value["json"], dict):
            sample = "{type: object, properties: {people: {type: integer}}}"
            raise wrong(f"json needs a JSON schema such as {sample}, not {shown(value['json'])}")
        _check_schema(value["json"])
        return value
    raise wrong("must be a type, a list of choices [a, b], {choices: {label: value}} or {json: SCHEMA}")


def _check_schema(schema: Any) -> None:
    """Checks the shape only as far as the grammar's compiler does not: it compiles no schema that is malformed."""
    if not isinstance(schema, dict):
        return
    for key in SCHEMAS_BY_NAME:
        if not isinstance(schema.get(key, {}), dict):
            raise wrong(f"has a JSON schema whose {key} are not a mapping")
    for _, part in subschemas(schema):
        _check_schema(part)


def _label(item: Any) -> str:
    if isinstance(item, dict | list) or item is None:
        raise wrong("has a choice that is not text, a number, true or false")
    return item if isinstance(item, str) else json.dumps(item)


def _choices(options: dict[str, Any], count: int) -> dict[str, Any]:
    if len(options) < count:
        raise wrong("has the same choice twice")
    if count < 2:
        raise wrong("needs at least two choices, separated by commas")
    if count > MAX_CHOICES:
        raise wrong(f"has more than {MAX_CHOICES} choices")
    for label in options:
        if not valid_reply(label):
            raise wrong(f"{shown(label)} cannot be a choice; {REPLY_RULE}")
    return options


_SCHEMA = {
    "anyOf": [
        {"enum": [kind for kind in TYPES if kind != "json"]},
        {"type": "array", "minItems": 2},
        {
            "type": "object",
            "properties": {
                "choices": {
                    "description": "Labels that the model replies with, and the value that is published for each.",
                    "type": ["object", "array"],
                }
            },
            "required": ["choices"],
        },
        {
            "type": "object",
            "properties": {"json": {"description": "The JSON schema of the answer.", "type": "object"}},
            "required": ["json"],
        },
    ]
}
Answer = Annotated[Any, BeforeValidator(_answer), WithJsonSchema(_SCHEMA)]
