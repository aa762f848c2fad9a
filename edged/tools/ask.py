"""`edged ask`: one question about one picture, judged as the daemon judges it."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event as StopSignal

from edged.core.interfaces import VisionModel
from edged.core.specs import QuestionSpec
from edged.core.types import Answer, Frame
from edged.service.judging import Provenance, answer, judge


def one_answer(
    model: VisionModel,
    frame: Frame,
    question: QuestionSpec,
    stop: StopSignal,
    clock_synced: Callable[[], bool],
    on_text: Callable[[str], None] | None = None,
) -> Answer:
    """The answer to one question about one frame, judged as in any look. Raises ModelError and Stopped."""
    age_s = frame.age_s()
    encode_ms = model.encode(frame)
    reply = model.ask([], question, stop, on_text)
    of = Provenance("ask", "request", "", clock_synced(), frame, age_s, encode_ms, model)
    return answer(question, judge(question, reply), of, 0.0, reply)
