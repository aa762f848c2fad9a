"""Which frames are kept to be labelled, and with what."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

from edged.core.answer_types import Unreadable
from edged.core.interfaces import FrameStore
from edged.core.kept_frames import KeepReason, KeptAnswer, KeptFrame, frame_name
from edged.core.specs import FramesSpec, QuestionSpec
from edged.core.truths import form
from edged.core.types import Answer, Event, Frame, Value
from edged.service import picture


class FrameKeeper:
    """Offers frames to the store. `spec` may be replaced at any time; None keeps none. `chance` is 0 to below 1."""

    def __init__(self, frames: FrameStore, chance: Callable[[], float] = random.random) -> None:
        self.spec: FramesSpec | None = None
        self._frames = frames
        self._chance = chance

    def offer(
        self, frame: Frame, answers: Sequence[Answer], events: Sequence[Event], questions: Mapping[str, QuestionSpec]
    ) -> None:
        """Keep the frame if it is worth a label. `answers` and `events` are what its look has published.

        `questions` has the question of each answer, by name. Returns at once.
        """
        spec = self.spec
        why = spec and answers and self._why(spec, answers, events)
        if not why:
            return
        camera, config_rev = answers[0].camera, answers[0].config_rev
        kept = KeptFrame(
            name=frame_name(frame.captured_at, camera, frame.sha256),
            camera=camera,
            ts=round(frame.captured_at.timestamp(), 3),
            sha256=frame.sha256,
            config_rev=config_rev,
            why=why,
            answers=tuple(_kept(answer, questions[answer.question]) for answer in answers),
        )
        self._frames.keep(kept, partial(picture.lossless, frame))

    def _why(self, spec: FramesSpec, answers: Sequence[Answer], events: Sequence[Event]) -> KeepReason | None:
        # An unsure answer that is repeated for an unchanged picture is of a frame that was kept before.
        if spec.unsure and any(answer.status == "unsure" and answer.reuse_of is None for answer in answers):
            return "unsure"
        if spec.changed and any(event.kind == "changed" for event in events):
            return "changed"
        return "sample" if self._chance() < spec.sample else None


def _kept(answer: Answer, question: QuestionSpec) -> KeptAnswer:
    return KeptAnswer(
        id=answer.id,
        question=answer.question,
        type=answer.type,
        region=answer.region,
        prompt=answer.prompt,
        prompt_rev=answer.prompt_rev,
        value=answer.value,
        status=answer.status,
        reason=answer.reason,
        confidence=answer.confidence,
        text=answer.text,
        guess=_guess(answer, question),
        form=form(question.answer),
    )


def _guess(answer: Answer, question: QuestionSpec) -> Value:
    if answer.status != "unsure" or answer.text is None:
        return answer.value
    with suppress(Unreadable):
        return question.answer.value(answer.text)
    return None
