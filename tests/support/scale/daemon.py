"""edged with a model of known times, which notes what it is asked.

daemon.py TRACE LOAD_S ENCODE_S ASK_S edged's arguments. Each answer of the model is a line in the file TRACE: the
digest of its picture, when its encode began, and when the answer was ready (seconds since the epoch). The file
TRACE.ticks has the first tick of each camera. All else is edged as it is.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from edged.core.errors import Stopped
from edged.core.types import Exchange, Frame, Reply
from support.own_model import edged_with

if TYPE_CHECKING:
    from datetime import tzinfo

    from edged.core.specs import CameraSpec, ModelSpec, QuestionSpec


class TimedModel:
    """Answers Yes. Its times pass in C, as those of an NPU: other threads go on meanwhile."""

    name = "timed"
    revision = "r1"
    device = "cpu"

    def __init__(self, trace: Path, encode_s: float, ask_s: float) -> None:
        self._trace = trace.open("a")
        self._encode_s, self._ask_s = encode_s, ask_s
        self._encoding = ("", 0.0)

    def check(self, questions: Sequence[QuestionSpec]) -> None: ...

    def encode(self, frame: Frame) -> float:
        self._encoding = (frame.sha256, time.time())
        time.sleep(self._encode_s)
        return self._encode_s * 1000

    def ask(
        self,
        history: Sequence[Exchange],
        question: QuestionSpec,
        stop: Event,
        on_text: Callable[[str], None] | None = None,
    ) -> Reply:
        if stop.wait(self._ask_s):
            raise Stopped
        sha256, begun = self._encoding
        print(sha256, begun, time.time(), file=self._trace, flush=True)
        return Reply("Yes", "done", 0.9, 1, self._ask_s * 1000)

    def dispose(self) -> None:
        self._trace.close()


def note_first_ticks(path: Path) -> None:
    from edged.service import scheduler

    made = scheduler.trigger

    def noting(camera: CameraSpec, time_zone: tzinfo, soon: bool = True) -> Any:
        trigger = made(camera, time_zone, soon)
        with path.open("a") as file:
            print(camera.name, trigger.start_date.timestamp(), file=file)
        return trigger

    setattr(scheduler, "trigger", noting)  # noqa: B010  # mypy knows its type


def main(trace: str, load_s: str, encode_s: str, ask_s: str, *arguments: str) -> int:
    note_first_ticks(Path(trace + ".ticks"))

    def load(spec: ModelSpec) -> TimedModel:
        time.sleep(float(load_s))
        return TimedModel(Path(trace), float(encode_s), float(ask_s))

    return edged_with(load, arguments)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
