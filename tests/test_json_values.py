"""Which JSON values are numbers, and which are equal."""

from __future__ import annotations

from typing import Any

import pytest

from edged.core.conditions import OneOf
from edged.core.json_values import is_number, same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (3, 3.0),
        (10**22, 1e22),
        (0, -0.0),
        (None, None),
        (True, True),
        ("a", "a"),
        ([], []),
        ({"a": [3, {"b": None}]}, {"a": [3.0, {"b": None}]}),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ],
)
def test_values_are_the_same_as_json(one: Any, other: Any) -> None:
    assert same(one, other)
    assert same(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        (0, False),
        (0.0, False),
        ([1], [True]),
        ({"a": [{"b": 0}]}, {"a": [{"b": False}]}),
        (1, "1"),
        (None, False),
        (None, 0),
        ([], {}),
        ([], ""),
        ([1], [1, 2]),
        ([1, 2], [2, 1]),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, {"a": 1, "b": None}),
        ({"a": None}, {}),
        (3, 3.5),
    ],
)
def test_values_differ_as_json(one: Any, other: Any) -> None:
    assert not same(one, other)
    assert not same(other, one)


@pytest.mark.parametrize("value", [0, -1, 10**400, 0.5, float("inf")])
def test_whole_numbers_and_fractions_are_numbers(value: Any) -> None:
    assert is_number(value)


@pytest.mark.parametrize("value", [True, False, None, "1", [1], {}])
def test_nothing_else_is_a_number_not_even_true(value: Any) -> None:
    assert not is_number(value)


def test_a_condition_tells_true_from_1_inside_of_a_value() -> None:
    assert OneOf(({"ok": True},)).holds({"ok": True})
    assert not OneOf(({"ok": True},)).holds({"ok": 1})
