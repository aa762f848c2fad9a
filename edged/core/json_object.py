"""Reads JSON that somebody else may have written."""

from __future__ import annotations

import json
from typing import Any


def json_object(text: str | bytes | bytearray) -> dict[str, Any] | None:
    """The object; None if the text is anything else, nested too deeply included."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
