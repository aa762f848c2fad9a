"""The types of an answer: the instruction added to the prompt, the grammar of the reply, and the value of a reply.

A grammar is data (a regular expression or a JSON schema) that `vlm/grammar.py` compiles for a tokenizer. `value` reads
every complete reply that the grammar admits, and raises Unreadable for one that was cut off.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from edged.core.json_object import JsonRefused, json_value
from edged.core.json_values import is_number
from edged.core.text import shorten

Language: TypeAlias = Literal["en", "ko"]
LANGUAGES: tuple[Language, ...] = ("en", "ko")

INTEGER_LIMIT = 999_999_999
DECIMALS = 6  # of a number
NUMBER_STEP = 0.000001
STRING_LIMIT = 200
ARRAY_LIMIT = 20
LARGEST_BOUND = 1e300  # of a JSON schema; a limit derived from a larger one might not be finite

# Keywords of a JSON schema that map names to schemas, and those whose value is data, not a schema.
SCHEMAS_BY_NAME = ("properties", "patternProperties", "$defs", "definitions")
DATA = ("enum", "const", "default", "examples")
# What combines schemas, of which one may leave its type to the others; and where such schemas may be.
COMBINING = {"$ref", "allOf", "anyOf", "oneOf", "not", "if", "then", "else"}
REFERRED_TO = ("$defs", "definitions")
KEYS_OF_TYPES = {
    "object": {"properties", "patternProperties", "additionalProperties", "required"},
    "array": {"items", "prefixItems", "minItems", "maxItems"},
    "string": {"minLength", "maxLength", "pattern", "format"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
}

YES_NO_WORDS: dict[Language, tuple[str, str]] = {"en": ("Yes", "No"), "ko": ("예", "아니요")}
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Unreadable(ValueError):
    """The reply is not a value of the question's type. The message quotes the reply."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """The replies that are allowed: `body` is a regular expression, or the text of a JSON schema, as `form` says."""

    form: Literal["regex", "json_schema"]
    body: str


@dataclass(frozen=True, slots=True)
class Text:
    """Free text: the reply without control characters."""

    kind = "text"

    def instruction(self, language: Language) -> str:
        return ""

    def grammar(self) -> Grammar | None:
        return None

    def value(self, text: str) -> str:
        plain = CONTROL.sub("", text).strip()
        if not plain:
            raise Unreadable("the reply is empty")
        return plain


class TextStream:
    """Passes a text on piece by piece while it is generated. All that is passed on together is the value of `Text`."""

    def __init__(self, pass_on: Callable[[str], None]) -> None:
        self.begun = False
        self._pass_on = pass_on
        self._received = 0
        self._blanks = ""  # the text ends here, unless more than blanks follows

    def complete(self, text: str) -> None:
        """The whole text: passes on what came as no piece, such as a last character that is incomplete."""
        self(text[self._received :])

    def __call__(self, piece: str) -> None:
        self._received += len(piece)
        text = self._blanks + CONTROL.sub("", piece)
        if not self.begun:
            text = text.lstrip()
        ready = text.rstrip()
        self._blanks = text[len(ready) :]
        if ready:
            self.begun = True
            self._pass_on(ready)


@dataclass(frozen=True, slots=True)
class YesNo:
    """A boolean. The model replies with one of two words."""

    true_word: str = "Yes"
    false_word: str = "No"
    kind = "yes_no"

    def instruction(self, language: Language) -> str:
        if language == "ko":
            return f"{self.true_word} 또는 {self.false_word}로 답하세요."
        return f"Answer {self.true_word} or {self.false_word}."

    def grammar(self) -> Grammar:
        return Grammar("regex", _alternatives([self.true_word, self.false_word]))

    def value(self, text: str) -> bool:
        return bool(_lookup({self.true_word: True, self.false_word: False}, text))


@dataclass(frozen=True, slots=True)
class Number:
    """An integer of at most 9 digits (`whole`), or one with up to 6 decimals. Bounds are inclusive; None: no bound."""

    whole: bool
    low: float | None = None
    high: float | None = None

    @property
    def kind(self) -> str:
        return "integer" if self.whole else "number"

    def instruction(self, language: Language) -> str:
        return "숫자 하나로 답하세요." if language == "ko" else "Answer with one number."

    def grammar(self) -> Grammar:
        schema: dict[str, Any] = {"type": self.kind}
        if self.low is not None:
            schema["minimum"] = self.low
        if self.high is not None:
            schema["maximum"] = self.high
        return Grammar("json_schema", json.dumps(bounded(schema)))

    def value(self, text: str) -> int | float:
        try:
            return int(text) if self.whole else float(text)
        except ValueError:
            raise Unreadable(f'"{shorten(text)}" is not of type {self.kind}') from None


@dataclass(frozen=True, slots=True)
class Choices:
    """One of several options. The model replies with its label; its value is published."""

    options: tuple[tuple[str, Any], ...]
    kind = "choices"

    @property
    def labels(self) -> list[str]:
        return [label for label, _ in self.options]

    def instruction(self, language: Language) -> str:
        if language == "ko":
            return f"다음 중 하나로 답하세요: {', '.join(self.labels)}"
        return f"Answer with one of: {', '.join(self.labels)}."

    def grammar(self) -> Grammar:
        return Grammar("regex", _alternatives(self.labels))

    def value(self, text: str) -> Any:
        return _lookup(dict(self.options), text)


@dataclass(frozen=True, slots=True)
class Json:
    """A JSON value that follows a schema. `schema` is JSON text, which can be compared and hashed."""

    schema: str
    kind = "json"

    def instruction(self, language: Language) -> str:
        return "JSON으로 답하세요." if language == "ko" else "Answer in JSON."

    def grammar(self) -> Grammar:
        return Grammar("json_schema", json.dumps(bounded(json.loads(self.schema)), ensure_ascii=False))

    def value(self, text: str) -> Any:
        try:
            return json_value(text)
        except json.JSONDecodeError:
            raise Unreadable(f'"{shorten(text)}" is not complete JSON') from None
        except JsonRefused as error:
            raise Unreadable(f"the reply {error}") from None


AnswerType: TypeAlias = Text | YesNo | Number | Choices | Json


def bounded(schema: Any, typed: bool = True) -> Any:
    """The schema with limits added where it has none, so that a weak model cannot generate an endless value.

    Integers get 9 digits, numbers 6 decimals, strings 200 characters, arrays 20 items. An object that lists its
    properties gets no others, and all of them unless it has `required`. What is enumerated needs no limit. Where the
    schema has a bound of its own, the limit on the other side leaves room: twice its length, or one digit more. If
    `typed`, a schema without a type gets the one that its keys are about, unless it is combined with others.
    """
    if isinstance(schema, list):
        return [bounded(part, typed) for part in schema]
    if not isinstance(schema, dict):
        return schema
    typed = typed and COMBINING.isdisjoint(schema)
    limited = {key: _bounded_below(key, value, typed) for key, value in schema.items()}
    if typed:
        limited |= _missing_type(schema)
    for key, limit in _missing_limits(limited).items():
        limited.setdefault(key, limit)
    return limited


def _bounded_below(key: str, value: Any, typed: bool) -> Any:
    if key in DATA:
        return value
    if key in SCHEMAS_BY_NAME and isinstance(value, dict):
        return {name: bounded(part, typed and key not in REFERRED_TO) for name, part in value.items()}
    return bounded(value, typed)


def subschemas(schema: dict[str, Any]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """The values in the places of a JSON schema where schemas belong, each with its path."""
    for key, value in schema.items():
        if key in DATA:
            continue
        if key in SCHEMAS_BY_NAME and isinstance(value, dict):
            yield from (((key, name), part) for name, part in value.items())
        elif isinstance(value, list):
            yield from (((key, index), part) for index, part in enumerate(value))
        else:
            yield (key,), value


def _missing_type(schema: dict[str, Any]) -> dict[str, Any]:
    if not {"type", "enum", "const"}.isdisjoint(schema):
        return {}
    kinds = [kind for kind, keys in KEYS_OF_TYPES.items() if not keys.isdisjoint(schema)]
    return {"type": kinds[0]} if len(kinds) == 1 else {}


def _missing_limits(schema: dict[str, Any]) -> dict[str, Any]:
    if {"enum", "const"} & schema.keys():
        return {}
    kinds = schema.get("type")
    limits: dict[str, Any] = {}
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        limits |= _limits_of(kind, schema)
    return limits


def _limits_of(kind: Any, schema: dict[str, Any]) -> dict[str, Any]:
    match kind:
        case "integer":
            return _range(schema)
        case "number":
            return {**_range(schema), "multipleOf": NUMBER_STEP}
        case "string" if not {"pattern", "format"} & schema.keys():
            return {"maxLength": max([STRING_LIMIT, *(2 * least for least in _bounds(schema, "minLength"))])}
        case "array":
            return {"maxItems": max([ARRAY_LIMIT, *(2 * least for least in _bounds(schema, "minItems"))])}
        case "object" if isinstance(schema.get("properties"), dict):
            return {"additionalProperties": False, "required": list(schema["properties"])}
    return {}


def _range(schema: dict[str, Any]) -> dict[str, Any]:
    lows, highs = _bounds(schema, "minimum", "exclusiveMinimum"), _bounds(schema, "maximum", "exclusiveMaximum")
    return {
        "minimum": min([-INTEGER_LIMIT, *(10 * high for high in highs)]),
        "maximum": max([INTEGER_LIMIT, *(10 * low for low in lows)]),
    }


def _bounds(schema: dict[str, Any], *keys: str) -> list[int | float]:
    """The values of these keys. One that cannot be used is left to the compiler of the grammar, which names it."""
    values = [schema.get(key) for key in keys]
    return [value for value in values if is_number(value) and abs(value) <= LARGEST_BOUND]


def _alternatives(words: list[str]) -> str:
    return "(" + "|".join(re.escape(word) for word in words) + ")"


def _lookup(values: dict[str, Any], text: str) -> Any:
    if text not in values:
        raise Unreadable(f'"{shorten(text)}" is none of: {", ".join(values)}')
    return values[text]
