"""Reads JSON that somebody else may have written: a program, or a model."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from typing import Any

from edged.core.text import shorten

MOST_LEVELS = 64  # of objects and lists within each other


class JsonRefused(ValueError):
    """The text is JSON, or nearly, but is not used. The message is a sentence without its subject."""


def json_object(text: str | bytes | bytearray) -> dict[str, Any] | None:
    """The object; None if the text is anything else, nested too deeply included."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def json_value(text: str) -> Any:
    """A value that can be written as JSON again: its numbers are finite, and it has at most MOST_LEVELS levels.

    Raises JSONDecodeError if the text is not JSON, JsonRefused if its value is not such a one.
    """
    try:
        value = json.loads(text, parse_constant=_finite, parse_float=_finite)
    except RecursionError:
        raise _too_deep() from None
    except (json.JSONDecodeError, JsonRefused):
        raise
    except ValueError:  # Python converts no integer with more than 4300 digits
        raise JsonRefused("has a number with too many digits") from None
    if is_too_deep(value):
        raise _too_deep()
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise JsonRefused(f'has "{shorten(text)}", which is not a finite number')
    return number


def _too_deep() -> JsonRefused:
    return JsonRefused(f"is nested more than {MOST_LEVELS} levels deep")


def is_too_deep(value: Any) -> bool:
    """True if objects and lists are nested more than MOST_LEVELS deep. At any depth without a RecursionError."""
    level = [value]
    for _ in range(MOST_LEVELS):
        level = [part for parent in level for part in _parts(parent)]
        if not level:
            return False
    return True


def _parts(value: Any) -> Collection[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
