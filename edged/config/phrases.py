"""Pieces of messages: a value as it is shown, the key that was probably meant."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from typing import Any

from edged.core.text import printable, shorten

MAX_CANDIDATES = 200  # difflib needs about 10 us for each
PLAIN = re.compile(r"[A-Za-z][\w ./?-]*")  # needs no quotes in YAML
SYNONYMS = {
    "bool": "yes_no",
    "boolean": "yes_no",
    "choices": "answer",
    "device": "source",
    "float": "number",
    "host": "url",
    "interval": "every",
    "port": "url",
    "question": "prompt",
    "schedule": "cron",
    "schema": "answer",
    "string": "text",
    "topic": "prefix",
    "type": "answer",
    "url": "source",
    "zone": "mask",
}


def concealed(text: str) -> str | None:
    """What a message says in the place of a text that may contain a login; None if it may be quoted."""
    if "://" in text:
        return "a URL"
    return "an address" if "@" in text else None  # a URL without its scheme


def shown(value: Any) -> str:
    """The value as it would be written in the file. Not for anything that may be a secret."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return concealed(value) or '"' + printable(shorten(value)) + '"'
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case _:
            return str(value)


def flow(value: Any) -> str:
    """A sample value in YAML's flow style: `{when: true}`, `[0, 40]`."""
    match value:
        case dict():
            return "{" + ", ".join(f"{key}: {flow(part)}" for key, part in value.items()) + "}"
        case list():
            return "[" + ", ".join(flow(part) for part in value) + "]"
        case str() if PLAIN.fullmatch(value):
            return value
        case float():
            return f"{value:.15g}"
        case _:
            return json.dumps(value, ensure_ascii=False)


def suggestion(word: str, known: Iterable[str]) -> str:
    """`. Did you mean "…"?`, or nothing when no known word is close."""
    words = list(known)
    synonym = SYNONYMS.get(word.lower(), "")
    candidates = [other for other in words if abs(len(other) - len(word)) <= 8][:MAX_CANDIDATES]
    close = [synonym] if synonym in words else difflib.get_close_matches(word, candidates, n=1, cutoff=0.6)
    return f'. Did you mean "{close[0]}"?' if close else ""
