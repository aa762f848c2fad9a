"""Conditions on the value of an answer: one of several values, or a comparison with a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Operator: TypeAlias = Literal[">", ">=", "<", "<=", "!="]
OPERATORS: tuple[Operator, ...] = (">", ">=", "<", "<=", "!=")


def same(first: Any, second: Any) -> bool:
    """Equal, where True is not 1: in Python it is."""
    return isinstance(first, bool) == isinstance(second, bool) and bool(first == second)


@dataclass(frozen=True, slots=True)
class OneOf:
    """The answer is one of these values."""

    values: tuple[Any, ...]

    def holds(self, value: Any) -> bool:
        return any(same(value, each) for each in self.values)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The answer, a number, compares so with `bound`. False for what is not a number."""

    operator: Operator
    bound: float

    def holds(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        match self.operator:
            case ">":
                return value > self.bound
            case ">=":
                return value >= self.bound
            case "<":
                return value < self.bound
            case "<=":
                return value <= self.bound
            case "!=":
                return value != self.bound


Condition: TypeAlias = OneOf | Comparison
