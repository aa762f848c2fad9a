"""Questions, pictures and frames for tests, each in one line."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import numpy as np

from edged.core.answer_types import AnswerType, Text
from edged.core.specs import Generation, QuestionSpec
from edged.core.types import Frame


def picture(seed: int = 0, width: int = 320, height: int = 240) -> np.ndarray:
    """Coloured blocks that depend on the seed. Height x width x 3, uint8."""
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.ascontiguousarray(np.kron(blocks, np.ones((height // 8, width // 8, 1), dtype=np.uint8)))


def frame(seed: int = 0, width: int = 320, height: int = 240, age_s: float = 0.0) -> Frame:
    captured = time.monotonic() - age_s
    return Frame(picture(seed, width, height), f"sha-{seed}", datetime.now(UTC), captured)


def question(prompt: str, answer: AnswerType | None = None, name: str = "q", **more) -> QuestionSpec:
    generation = more.pop("generation", Generation(max_new_tokens=more.pop("max_new_tokens", 12)))
    kind = answer or Text()
    asked = f"{prompt} {kind.instruction('en')}".strip()
    return QuestionSpec(name=name, prompt=asked, answer=kind, generation=generation, **more)
