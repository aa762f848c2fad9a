"""Conditions on the value of an answer: one of several values, or a comparison with a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from edged.core.json_values import is_number, same

Operator: TypeAlias = Literal[">", ">=", "<", "<=", "!="]
OPERATORS: tuple[Operator, ...] = (">", ">=", "<", "<=", "!=")


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
        if not is_number(value):
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
