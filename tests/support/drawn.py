"""Hypothesis strategies for questions, as somebody could write them into a config, and for what they are made of."""

from __future__ import annotations

import unicodedata
from typing import Any, TypeVar

from hypothesis import strategies as st

T = TypeVar("T")


def mostly(usual: st.SearchStrategy[T], other: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    """`other` in one of six examples; one_of would draw both equally often."""
    return st.integers(0, 5).flatmap(lambda number: other if number == 5 else usual)


TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
NUMBERS = st.floats(-999_999_999, 999_999_999).map(lambda number: round(number, 6)) | st.integers(-20, 20).map(float)
VISIBLE = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=8)
WORDS = VISIBLE | VISIBLE.map(lambda text: unicodedata.normalize("NFD", text))
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.floats(-1e6, 1e6) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=4,
)


def typed(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """The keys of a question besides its prompt; None leaves one out."""
    return st.fixed_dictionaries(keys).map(
        lambda values: {key: part for key, part in values.items() if part is not None}
    )


def ordered(low: float, high: float) -> list[float]:
    return sorted([low, high])


RANGES = st.none() | st.builds(ordered, NUMBERS, NUMBERS)
WHOLE_RANGES = st.none() | st.builds(ordered, st.integers(-1000, 10**9 - 1), st.integers(-1000, 10**9 - 1))
YES_NO = typed(
    answer=st.just("yes_no"),
    words=st.none()
    | st.lists(WORDS, min_size=2, max_size=2, unique=True).map(
        lambda two: dict(zip(("true", "false"), two, strict=True))
    ),
    language=st.none() | st.sampled_from(["en", "ko"]),
)
INTEGER = typed(answer=st.just("integer"), range=WHOLE_RANGES)
NUMBER = typed(answer=st.just("number"), range=RANGES)
TEXT = typed(answer=st.just("text"))
CHOICES = typed(
    answer=st.lists(WORDS, min_size=2, max_size=5, unique=True)
    | st.dictionaries(WORDS, JSON_VALUES, min_size=2, max_size=5).map(lambda options: {"choices": options})
)


def schema_of(kind: Any, **optional: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"type": st.just(kind)}, optional=optional)


SMALL = st.integers(0, 4)
LEAVES = st.one_of(
    schema_of("integer", minimum=st.integers(-100, 100), maximum=st.integers(-100, 100)),
    schema_of("number", minimum=NUMBERS, maximum=NUMBERS),
    schema_of("string", minLength=SMALL, maxLength=SMALL),
    st.sampled_from(["boolean", "null", "array", "object"]).map(lambda kind: {"type": kind}),
    st.lists(
        st.sampled_from(["integer", "number", "string", "null", "array"]), min_size=1, max_size=3, unique=True
    ).map(lambda kinds: {"type": kinds}),
    st.lists(JSON_VALUES, min_size=1, max_size=3).map(lambda values: {"enum": values}),
    JSON_VALUES.map(lambda value: {"const": value}),
    st.just({}),
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        schema_of("array", items=inner, minItems=SMALL, maxItems=SMALL),
        schema_of("object", properties=st.dictionaries(WORDS, inner, max_size=3)),
        st.lists(inner, min_size=1, max_size=2).map(lambda parts: {"anyOf": parts}),
    ),
    max_leaves=4,
)
JSON = typed(answer=SCHEMAS.map(lambda schema: {"json": schema}))
KINDS = {
    "yes_no": YES_NO, "integer": INTEGER, "number": NUMBER, "choices": CHOICES, "json": JSON, "text": TEXT,
}  # fmt: skip
