"""The questions that `edged bench` adds to the config's own, and the picture that they are about.

Each prompt begins with different words than the one before, so that the KV cache shares the picture and not the prompt.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from edged.core.answer_types import AnswerType, Choices, Number, Text, YesNo
from edged.core.specs import Generation, QuestionSpec
from edged.core.types import Frame, utc_now

PICTURE = (1280, 720)
DECODED = 33  # tokens; the first comes from the prefill
LONG_PROMPT = " ".join(["The gate is open and two people wait."] * 28)  # about 250 tokens
DESCRIBE = "Describe everything in this image, one thing after the other, in long sentences."
TYPED: tuple[tuple[str, AnswerType], ...] = (
    ("How many people are in this image?", Number(True, 0, 40)),
    ("Is there a vehicle in this image?", YesNo()),
    ("What is the weather like?", Choices((("clear", "clear"), ("rain", "rain"), ("snow", "snow"), ("fog", "fog")))),
    ("Does anybody carry something?", YesNo()),
    ("Which light is there?", Choices((("day", "day"), ("dusk", "dusk"), ("night", "night")))),
    ("Are all doors shut?", YesNo()),
    ("Count the vehicles in this image.", Number(True, 0, 40)),
    ("Would somebody have to look at this?", YesNo()),
)

TokenCounter: TypeAlias = Callable[[str], int | None]  # the number of tokens of a text; None if it is not known


def typed_questions(count: int) -> list[QuestionSpec]:
    """The first `count` of the eight."""
    return [_question(f"{prompt} {answer.instruction('en')}", answer, 16) for prompt, answer in TYPED[:count]]


def text_question(prompt: str, max_new_tokens: int) -> QuestionSpec:
    return _question(prompt, Text(), max_new_tokens)


def synthetic_frame() -> Frame:
    """Coloured blocks, at a resolution that many cameras have."""
    import numpy as np

    width, height = PICTURE
    blocks = np.random.default_rng(0).integers(0, 256, (height // 80, width // 80, 3), dtype=np.uint8)
    rgb = np.ascontiguousarray(np.kron(blocks, np.ones((80, 80, 1), dtype=np.uint8)))
    return Frame(rgb, "", utc_now(), time.monotonic())


def token_counter(folder: Path) -> TokenCounter:
    """Counts tokens with the folder's own tokenizer, if it is a single file."""

    def count(text: str) -> int | None:
        from tokenizers import Tokenizer

        if not (folder / "tokenizer.json").is_file():
            return None
        return len(Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text, add_special_tokens=False).ids)

    return count


def _question(prompt: str, answer: AnswerType, tokens: int) -> QuestionSpec:
    return QuestionSpec("bench", prompt, answer, generation=Generation(max_new_tokens=tokens))
