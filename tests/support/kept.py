"""Kept frames with their answers, without a look."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

from edged.core.kept_frames import KeepReason, KeptAnswer, KeptFrame, frame_name

_NUMBERS = itertools.count()
TAKEN_TS = 1785312000.0


def kept_answer(question: str = "people", value: Any = 3, **changes: Any) -> KeptAnswer:
    values: dict[str, Any] = {
        "id": f"id-{question}",
        "question": question,
        "type": "integer",
        "region": None,
        "prompt": f"{question}?",
        "prompt_rev": "p1",
        "value": value,
        "status": "ok",
        "reason": None,
        "confidence": 0.9,
        "text": str(value),
        "guess": value,
        "form": {"range": [0, 40]},
    }
    return KeptAnswer(**values | changes)


def yes_no(question: str = "gate", value: Any = True, **changes: Any) -> KeptAnswer:
    return kept_answer(question, value, **{"type": "yes_no", "form": {"words": ["Yes", "No"]}} | changes)


def unsure(answer: KeptAnswer) -> dict[str, Any]:
    """The changes that make an answer unsure."""
    return {"value": None, "status": "unsure", "reason": "confidence", "guess": answer.guess}


def kept_frame(*answers: KeptAnswer, why: KeepReason = "sample", camera: str = "dock") -> KeptFrame:
    """Frames follow each other by a second."""
    number = next(_NUMBERS)
    name = frame_name(datetime.fromtimestamp(TAKEN_TS + number, UTC), camera, f"{number:064x}"[::-1])
    return KeptFrame(name, camera, TAKEN_TS + number, f"{number:064x}"[::-1], "c1", why, answers or (kept_answer(),))
