"""What a person may say about an answer: a value of the question's type, right, wrong, or skip."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from edged.core.answer_types import INTEGER_LIMIT, AnswerType, Choices, Json, Number, Text, Unreadable, YesNo
from edged.core.json_object import MOST_LEVELS, is_too_deep
from edged.core.json_values import is_number, same
from edged.core.kept_frames import KeptAnswer, LabelRefused, LabelVerdict
from edged.core.text import printable, shorten
from edged.core.types import Value

TEXT_LENGTH = 2000
JSON_LENGTH = 4000


def form(answer: AnswerType) -> dict[str, Any]:
    """What has to be known beside the type to give the true value, as JSON.

    yes_no: `words`, true and false. integer and number: `range`, lowest and highest, null for no limit. choices:
    `choices`, a list of label and value. json: `schema`. Others: nothing.
    """
    match answer:
        case YesNo():
            return {"words": [answer.true_word, answer.false_word]}
        case Number():
            return {"range": [answer.low, answer.high]}
        case Choices():
            return {"choices": [list(option) for option in answer.options]}
        case Json():
            return {"schema": json.loads(answer.schema)}
        case Text():
            return {}


def decided(answer: KeptAnswer, verdict: LabelVerdict | None, truth: Value) -> tuple[LabelVerdict, Value]:
    """The verdict and the truth of a label, each completed by the other. Raises LabelRefused.

    Without a verdict, it follows from the truth. `right` takes the truth from the model's reply; `wrong` knows it of a
    yes_no only, and else leaves it open.
    """
    if truth is not None:
        truth = valid(answer.type, answer.form, truth)
    match verdict:
        case "skip":
            if truth is not None:
                raise LabelRefused("a label that is skipped has no truth")
            return "skip", None
        case None:
            if truth is None:
                raise LabelRefused("a label needs a verdict (right, wrong or skip) or the true value")
            return ("right" if same(truth, answer.guess) else "wrong"), truth
        case "right":
            return "right", _right(answer, truth)
        case "wrong":
            return "wrong", _wrong(answer, truth)


def _right(answer: KeptAnswer, truth: Value) -> Value:
    if answer.guess is None:
        raise LabelRefused(f"the answer is {answer.status} and has no value that could be right; give the true value")
    if truth is not None and not same(truth, answer.guess):
        raise LabelRefused(f"the answer is {_shown(answer.guess)}; it is not right if the truth is {_shown(truth)}")
    return answer.guess


def _wrong(answer: KeptAnswer, truth: Value) -> Value:
    if truth is None:
        return not answer.guess if isinstance(answer.guess, bool) and answer.type == "yes_no" else None
    if same(truth, answer.guess):
        raise LabelRefused(f"the answer is {_shown(answer.guess)}; it is not wrong if that is the truth")
    return truth


def valid(kind: str, form: Mapping[str, Any], truth: Value) -> Value:
    """The truth as a value of this answer type. Raises LabelRefused. JSON is not compared with its schema."""
    match kind:
        case "yes_no":
            if not isinstance(truth, bool):
                raise LabelRefused(f"the truth must be true or false, not {_shown(truth)}")
            return truth
        case "integer" | "number":
            return _number(kind, form, truth)
        case "choices":
            values = [value for _, value in form["choices"]]
            if not any(same(truth, value) for value in values):
                listed = ", ".join(map(_shown, values))
                raise LabelRefused(f"the truth must be one of {listed}, not {_shown(truth)}")
            return truth
        case "json":
            return _json(truth)
        case _:
            return _text(truth)


def _number(kind: str, form: Mapping[str, Any], truth: Value) -> int | float:
    whole = kind == "integer"
    named = "a whole number" if whole else "a number"
    if not is_number(truth) or (
        isinstance(truth, float) and not (math.isfinite(truth) and (truth.is_integer() or not whole))
    ):
        raise LabelRefused(f"the truth must be {named}, not {_shown(truth)}")
    low, high = form["range"]
    least, most = -INTEGER_LIMIT if low is None else low, INTEGER_LIMIT if high is None else high
    if not least <= truth <= most:
        raise LabelRefused(f"the truth must be {named} from {least:.15g} to {most:.15g}, not {_shown(truth)}")
    return int(truth) if whole else float(truth)


def _json(truth: Value) -> Value:
    if is_too_deep(truth):
        raise LabelRefused(f"the truth is nested more than {MOST_LEVELS} levels deep")
    try:
        length = len(json.dumps(truth, ensure_ascii=False, allow_nan=False))
    except ValueError:
        raise LabelRefused("the truth is not JSON") from None
    if length > JSON_LENGTH:
        raise LabelRefused(f"the truth has more than {JSON_LENGTH} characters")
    return truth


def _text(truth: Value) -> str:
    if not isinstance(truth, str):
        raise LabelRefused(f"the truth must be a text, not {_shown(truth)}")
    if len(truth) > TEXT_LENGTH:
        raise LabelRefused(f"the truth has more than {TEXT_LENGTH} characters")
    try:
        return Text().value(truth)
    except Unreadable:
        raise LabelRefused("the truth is empty") from None


def _shown(value: Value) -> str:
    return printable(shorten(json.dumps(value, ensure_ascii=False)))
