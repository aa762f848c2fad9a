"""What an answer is compared with: the values that are possible, and the conditions of an alert."""

from __future__ import annotations

import re
from itertools import chain
from typing import Any

from edged.config.phrases import shown
from edged.config.places import KeyPath
from edged.config.problems import Report
from edged.config.question_form import AlertForm
from edged.core.answer_types import AnswerType, Choices, Number, YesNo
from edged.core.conditions import OPERATORS, Comparison, Condition, OneOf
from edged.core.intervals import is_always
from edged.core.json_values import is_number, same
from edged.core.specs import AlertSpec

COMPARISON = re.compile(r"(>=|<=|!=|>|<)\s*(-?\d{1,9}(?:\.\d{1,6})?)")
LOOSE = re.compile(r"([<>=!≤≥≠]{1,2})\s*(-?\d.*)")  # `=> 3`, `≥ 3`
MEANT = {"=>": ">=", "≥": ">=", "=<": "<=", "≤": "<=", "<>": "!=", "≠": "!=", "=!": "!="}


class Impossible(ValueError):
    """A predicate that says why this is no condition of the answer; `below` is the key or index it is about."""

    def __init__(self, predicate: str, *below: int) -> None:
        super().__init__(predicate)
        self.below = below


def alert_spec(parsed: AlertForm, answer: AnswerType, path: KeyPath, report: Report) -> AlertSpec | None:
    """The alert of a question with this type of answer. Reports what is wrong with its conditions; None then."""
    when = _reported(parsed.when, answer, (*path, "when"), report)
    has_own = "clear_when" in parsed.model_fields_set
    clear_when = _reported(parsed.clear_when, answer, (*path, "clear_when"), report) if has_own else None
    if when is None or (has_own and clear_when is None):
        return None
    if clear_when is not None and (common := _common(when, clear_when, answer)):
        report.about(
            (*path, "clear_when"), f"and when are both true for {shown(common[0])}; they must exclude each other"
        )
        return None
    if is_always(parsed.quiet):
        report.about((*path, "quiet"), "covers the whole week, so the alert would never go on")
        return None
    clear = parsed.after if parsed.clear_after is None else parsed.clear_after
    return AlertSpec(
        when=when,
        after=parsed.after,
        for_s=parsed.for_ or 0.0,
        clear_when=clear_when,
        clear_after=clear if isinstance(clear, int) else 1,
        clear_for_s=clear if isinstance(clear, float) else 0.0,
        quiet=parsed.quiet,
    )


def _reported(written: Any, answer: AnswerType, path: KeyPath, report: Report) -> Condition | None:
    try:
        return condition(written, answer)
    except Impossible as problem:
        report.about((*path, *problem.below), str(problem))
        return None


def condition(written: Any, answer: AnswerType) -> Condition:
    """A value, a list of values, or for a number a comparison such as `> 3`. Raises Impossible."""
    if isinstance(written, list):
        return _one_of(written, answer)
    if isinstance(written, str) and isinstance(answer, Number):
        return _comparison(written, answer)
    if isinstance(written, str) and COMPARISON.fullmatch(written) and not _is_choice(written, answer):
        raise Impossible(
            f"{shown(written)} is a comparison, which is valid only with answer: integer or answer: number"
        )
    _check(written, answer)
    return OneOf((written,))


def impossible(value: Any, answer: AnswerType) -> str | None:
    """A predicate that says which values are possible, if this is not one of them."""
    possible = _possible(value, answer)
    return possible and f"{shown(value)} is not a possible answer ({possible})"


def _one_of(values: list[Any], answer: AnswerType) -> OneOf:
    if not values:
        raise Impossible("is an empty list")
    for index, value in enumerate(values):
        if isinstance(value, str) and isinstance(answer, Number) and LOOSE.fullmatch(value):
            raise Impossible(f"{shown(value)} is a comparison; a list can contain only values", index)
        _check(value, answer, index)
    return OneOf(tuple(values))


def _check(value: Any, answer: AnswerType, *below: int) -> None:
    if problem := impossible(value, answer):
        raise Impossible(problem, *below)


def _comparison(written: str, answer: Number) -> Comparison:
    match = COMPARISON.fullmatch(written.strip())
    if not match:
        raise Impossible(_not_a_comparison(written, answer))
    bound = float(match[2])
    if answer.whole and not bound.is_integer():
        raise Impossible(f"{shown(written)} must compare with a whole number, because the answer is one")
    operator = next(each for each in OPERATORS if each == match[1])
    comparison = Comparison(operator, int(bound) if answer.whole else bound)
    if verdict := _foregone(comparison, answer):
        raise Impossible(f"{shown(written)} is {verdict} true ({_numbers(answer)})")
    return comparison


def _not_a_comparison(written: str, answer: Number) -> str:
    loose = LOOSE.fullmatch(written.strip())
    if not written.strip():
        return 'is empty; a comparison needs quotes, such as "> 3"'
    if not loose:
        return f'{shown(written)} is not a possible answer ({_numbers(answer)}, or a comparison such as "> 3")'
    if loose[1] in ("=", "=="):
        return f"{shown(written)} is not a comparison; write the number alone, without quotes"
    operator = MEANT.get(loose[1], loose[1])
    if operator in OPERATORS and COMPARISON.fullmatch(f"{operator} {loose[2]}"):
        return f'{shown(written)} is not a comparison; write "{operator} {loose[2]}"'
    return f'{shown(written)} is not a comparison such as "> 3" ({", ".join(OPERATORS)}, and a number)'


def _foregone(comparison: Comparison, answer: Number) -> str | None:
    """`never` or `always`, if the range of the answer leaves no other outcome."""
    if answer.low is None or answer.high is None:
        return None
    ends = comparison.holds(answer.low), comparison.holds(answer.high)
    if not any(ends):
        return "never"
    excludes_one = comparison.operator == "!=" and answer.low <= comparison.bound <= answer.high
    return "always" if all(ends) and not excludes_one else None


def _common(first: Condition, second: Condition, answer: AnswerType) -> list[Any]:
    """A value for which both conditions hold, if there is one."""
    candidates = chain(
        _near(first, second, answer), *(each.values for each in (first, second) if isinstance(each, OneOf))
    )
    return next(([value] for value in candidates if first.holds(value) and second.holds(value)), [])


def _near(first: Condition, second: Condition, answer: AnswerType) -> list[float]:
    """Possible numbers among which one fulfils both comparisons, if any number does."""
    bounds = [each.bound for each in (first, second) if isinstance(each, Comparison)]
    if len(bounds) < 2 or not isinstance(answer, Number):
        return []
    near = [bound + step for bound in bounds for step in (0, 1, -1)]
    near += [] if answer.whole else [sum(bounds) / 2]
    low, high = answer.low, answer.high
    near += [end for end in (low, high) if end is not None]
    return [value for value in near if (low is None or low <= value) and (high is None or value <= high)]


def _possible(value: Any, answer: AnswerType) -> str | None:
    """The possible values, if this is not one of them."""
    match answer:
        case YesNo():
            return None if isinstance(value, bool) else "true, false"
        case Number(whole, low, high):
            possible = is_number(value) and (isinstance(value, int) or not whole)
            inside = possible and (low is None or low <= value) and (high is None or value <= high)
            return None if inside else _numbers(answer)
        case Choices(options):
            return None if _is_choice(value, answer) else ", ".join(shown(option) for _, option in options)
        case _:
            return None


def _numbers(answer: Number) -> str:
    bounds = "" if answer.low is None else f" from {answer.low} to {answer.high}"
    return f"{'whole numbers' if answer.whole else 'numbers'}{bounds}"


def _is_choice(value: Any, answer: AnswerType) -> bool:
    return isinstance(answer, Choices) and any(same(value, option) for _, option in answer.options)
