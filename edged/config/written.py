"""Writes texts and questions as lines of a config file."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

from edged.config import document
from edged.config.ad_hoc import given
from edged.config.names import RESERVED_QUESTIONS
from edged.config.phrases import PLAIN
from edged.core.requests import AdHoc

LONGEST_NAME = 40
NAMELESS = "question"  # for a prompt without a Latin letter or a digit
INDENT = "      "  # that of a question below `cameras:`, the camera and `ask:`
WORDS = {"true", "false", "null"}  # not text without quotes


def as_question(ad_hoc: AdHoc, taken: Collection[str]) -> str | None:
    """The lines to put under `ask:` of a camera, for a prompt that is valid. `taken` are names of other questions.

    None if a config file cannot hold it: some limits of the file are narrower than those of a request.
    """
    keys = given(ad_hoc)
    lines = [f"  {key}: {_flow(value)}\n" for key, value in keys.items()]
    name = _name(ad_hoc.prompt, taken)
    text = "".join(INDENT + line for line in [f"{name}:\n", *lines])
    parsed = document.parse(text)
    return text if not parsed.problems and parsed.tree == {name: keys} else None


def _flow(value: Any) -> str:
    """A value in YAML's flow style. Texts are in quotes, except for single plain words."""
    match value:
        case dict():
            return "{" + ", ".join(f"{_text(key)}: {_flow(part)}" for key, part in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_flow, value)) + "]"
        case str():
            return _text(value)
        case _:
            return json.dumps(value)


def _text(text: str) -> str:
    if PLAIN.fullmatch(text) and " " not in text and text.lower() not in WORDS:
        return text
    return quoted(text)


def quoted(text: str) -> str:
    """In double quotes, with an escape for each character that YAML or an editor could take for another."""
    return "".join(char if char.isprintable() else _escaped(char) for char in json.dumps(text, ensure_ascii=False))


def _escaped(char: str) -> str:
    """YAML would read some of these as line breaks, and an editor may lose others."""
    code = ord(char)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _name(prompt: str, taken: Collection[str]) -> str:
    """`is_the_gate_open`, or with a number if that name is taken."""
    words = re.sub(r"[^a-z0-9]+", "_", prompt.lower()).strip("_")
    whole_words = words[: LONGEST_NAME + 1].rpartition("_")[0] if len(words) > LONGEST_NAME else words
    name = whole_words or words[:LONGEST_NAME] or NAMELESS
    names = [name, *(f"{name}_{number}" for number in range(2, len(taken) + 3))]
    return next(each for each in names if each not in taken and each not in RESERVED_QUESTIONS)
