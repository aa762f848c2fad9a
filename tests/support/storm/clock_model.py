"""A model that reads the time in the picture, and fails as planted.

`clock` is the number in the picture, `even` tells if it is even, and `seen` says the number and the true time at which
the picture was given to the model. So an oracle can tell which picture an answer is about, and how old that was.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edged.core.errors import ModelError, ModelLost, Stopped
from edged.core.specs import QuestionSpec
from edged.core.types import Exchange, Frame, Reply
from support.clips import number_in
from support.storm import shifted_clock

ENCODE_S = 0.02
SLOW_S = 2.5


class Failures:
    """The failures that are on, by name."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._effects = path.with_name(path.name + ".effects")

    def peek(self, name: str) -> Any:
        """What is planted under this name; None if it is off."""
        try:
            return json.loads(self._path.read_text()).get(name)
        except (OSError, ValueError):
            return None

    def get(self, name: str) -> Any:
        """The same. Counts as taking effect."""
        value = self.peek(name)
        if value is not None:
            with self._effects.open("a") as file:
                file.write(name + "\n")
        return value


class ClockModel:
    """Knows nothing but the number in the picture's bars."""

    name = "clock"
    revision = "r1"
    device = "cpu"

    def __init__(self, failures: Failures) -> None:
        self._failures = failures
        self._number: int | None = None
        self._at = 0.0

    def check(self, questions: Sequence[QuestionSpec]) -> None: ...

    def encode(self, frame: Frame) -> float:
        self._at = time.clock_gettime(time.CLOCK_REALTIME)
        self._number = number_in(frame.rgb)
        if self._failures.get("clock_in_looks_s") is not None:
            shifted_clock.wanted.set()
        time.sleep(ENCODE_S)
        return ENCODE_S * 1000

    def ask(
        self,
        history: Sequence[Exchange],
        question: QuestionSpec,
        stop: threading.Event,
        on_text: Callable[[str], None] | None = None,
    ) -> Reply:
        if stop.is_set():
            raise Stopped
        match self._failures.get("model"):
            case "error":
                raise ModelError("model: the planted failure")
            case "nan" if question.name != "clock":
                raise ModelError("model: logits are not finite (7 of 9): wrong weights, or a device error")
            case "lost":
                raise ModelLost("model: the planted loss of the device")
            case "overflow":
                return Reply("", "context_overflow", None, 0, 0.0)
            case "cut off":
                return Reply("1", "length", 0.9, 1, 1.0)
            case "slow" | "hang" as kind:
                if not self._spend(stop, SLOW_S if kind == "slow" else question.generation.deadline_s):
                    return Reply("", "deadline", None, 0, 1.0)
            case "nonsense":
                return Reply("a purple horse", "done", 0.9, 1, 1.0)
        return Reply(self._text(question.name), "done", None if question.name == "seen" else 0.9, 1, 1.0)

    def dispose(self) -> None: ...

    def _spend(self, stop: threading.Event, seconds: float) -> bool:
        """False if the time is the question's deadline."""
        if stop.wait(seconds):
            raise Stopped
        return seconds == SLOW_S

    def _text(self, question: str) -> str:
        if question == "seen":
            return f"{self._number} at {self._at:.3f}"
        if self._number is None:
            return "damaged"
        return str(self._number) if question == "clock" else "Yes" if self._number % 2 == 0 else "No"
