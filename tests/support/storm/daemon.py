"""edged with a model that reads the time in the picture, and with failures that the storm turns on and off.

daemon.py FAILURES edged's arguments. FAILURES is a file with a JSON object, such as {"model": "error"}, that is read
at each call. A failure that took effect is written, one a line, to the file FAILURES.effects.

Everything but the model is edged as it is. The answers let an oracle tell which picture they are about, and how old
that was: `clock` is the number in the picture, `even` tells if it is even, and `seen` says the number and the true
time at which the picture was given to the model.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edged.core.errors import ModelError, ModelLost, Stopped
from edged.core.specs import ModelSpec, QuestionSpec
from edged.core.types import Exchange, Frame, Reply
from support.clips import number_in

ENCODE_S = 0.02


class Failures:
    """The failures that are on, by name."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._effects = path.with_name(path.name + ".effects")

    def get(self, name: str) -> Any:
        """What is planted under this name; None if it is off. Counts as taking effect."""
        try:
            value = json.loads(self._path.read_text()).get(name)
        except (OSError, ValueError):
            return None
        if value is not None:
            with self._effects.open("a") as file:
                file.write(name + "\n")
        return value


class ClockModel:
    """Knows nothing but the number in the picture's bars."""

    name = "clock"
    revision = "r1"

    def __init__(self, failures: Failures) -> None:
        self._failures = failures
        self._number: int | None = None
        self._at = 0.0

    def check(self, questions: Sequence[QuestionSpec]) -> None: ...

    def encode(self, frame: Frame) -> float:
        self._at = time.clock_gettime(time.CLOCK_REALTIME)
        self._number = number_in(frame.rgb)
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
            case "lost":
                raise ModelLost("model: the planted loss of the device")
            case "overflow":
                return Reply("", "context_overflow", None, 0, 0.0)
            case "cut off":
                return Reply("1", "length", 0.9, 1, 1.0)
            case "slow" | "hang" as kind:
                if not self._spend(stop, 2.5 if kind == "slow" else question.generation.deadline_s):
                    return Reply("", "deadline", None, 0, 1.0)
            case "nonsense":
                return Reply("a purple horse", "done", 0.9, 1, 1.0)
        return Reply(self._text(question.name), "done", None if question.name == "seen" else 0.9, 1, 1.0)

    def dispose(self) -> None: ...

    def _spend(self, stop: threading.Event, seconds: float) -> bool:
        """False if the time is the question's deadline."""
        if stop.wait(seconds):
            raise Stopped
        return seconds == 2.5

    def _text(self, question: str) -> str:
        if question == "seen":
            return f"{self._number} at {self._at:.3f}"
        if self._number is None:
            return "damaged"
        return str(self._number) if question == "clock" else "Yes" if self._number % 2 == 0 else "No"


def main(failures: str, *arguments: str) -> int:
    planted = Failures(Path(failures))
    from edged.cli import main as edged
    from edged.tools import load_model

    def load(spec: ModelSpec) -> ClockModel:
        return ClockModel(planted)

    setattr(load_model, "load_model", load)  # noqa: B010  # mypy knows its type
    sys.argv = ["edged", *arguments]
    return edged()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
