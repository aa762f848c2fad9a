"""Asks a model about one frame: the part of a look that runs in the worker's thread.

Each region that a question is about is encoded once. Its questions are asked before the next region is encoded. Only a
look that gave way to a request encodes its region again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from edged.core.errors import ModelError, StaleFrame, Stopped, release_frames
from edged.core.interfaces import VisionModel
from edged.core.intervals import expiry_s
from edged.core.specs import CameraSpec, QuestionSpec, RegionSpec, by_region
from edged.core.types import Status
from edged.service.conversation import Conversation
from edged.service.encoded_picture import EncodedPicture
from edged.service.judging import Provenance
from edged.service.model_outage import ModelCall
from edged.service.outcomes import LastAnswer, Outcome, refusals, without
from edged.service.picture import Thumbnail
from edged.service.region import cut
from edged.service.worker_queue import FrameTooOld, Ticket


@dataclass(slots=True)
class Asking:
    """Encodes the frame of `of` and asks `questions` about it. Called once, with the model.

    Model, age and encode time are added to `of` step by step, so that refusals after an error have them too.
    `thumbnails` has one of each region with `when_changed`, else none. `looked_at` (monotonic) is when the look began.
    `paused` returns the questions that are not asked now, and why; `unwanted` if the look has lost its camera.
    """

    camera: CameraSpec
    questions: Sequence[QuestionSpec]
    of: Provenance
    thumbnails: Mapping[RegionSpec | None, Thumbnail]
    looked_at: float
    ticket: Ticket[list[Outcome]]
    succeeded: Callable[[ModelCall], None]
    failed: Callable[[ModelCall, ModelError], None]
    paused: Callable[[], Mapping[str, str]]
    unwanted: Callable[[], bool]
    region: RegionSpec | None = None  # the one that was encoded last, or is being encoded
    conversation: Conversation | None = None  # the one with the question that is being asked; None while encoding

    def __call__(self, model: VisionModel) -> list[Outcome]:
        """An outcome for each question. Raises Stopped if model or camera were replaced meanwhile, FrameTooOld."""
        self.of = replace(self.of, model=model)
        outcomes: list[Outcome] = []
        try:
            for region, questions in by_region(self.questions).items():
                # Later regions wait for answers about the same frame, as later questions do.
                has_waited = self.ticket.give_way() > 0 or not outcomes
                picture = self._encode(model, region, has_waited)
                asked_at = time.monotonic()
                for question in questions:
                    if len(outcomes) + 1 == len(self.questions):
                        self.ticket.nearly_done()
                    outcomes.append(self._ask(picture, question, asked_at))
        except ModelError as error:
            release_frames(error)
            if self.ticket.stop.is_set():
                raise Stopped from None
            self.failed(self._call(), error)
            outcomes += self._refuse_the_rest("model_down", str(error), outcomes)
        except StaleFrame as error:
            if self.ticket.delayed and not (outcomes or (self.conversation and self.conversation.answers)):
                raise FrameTooOld from None
            outcomes += self._refuse_the_rest("stale_frame", str(error), outcomes)
        return outcomes

    def _encode(self, model: VisionModel, region: RegionSpec | None, has_waited: bool) -> EncodedPicture:
        if self.ticket.stop.is_set():
            raise Stopped
        assert self.of.frame
        self.region, self.conversation = region, None
        cutting, limit_s = cut(self.of.frame, region), self.camera.max_age_s
        picture = EncodedPicture(model, self.ticket, cutting, self.of, limit_s, self.unwanted)
        try:
            picture.encode(has_waited)
        finally:
            self.of = picture.of
        self.succeeded(self._call())
        return picture

    def _ask(self, picture: EncodedPicture, question: QuestionSpec, asked_at: float) -> Outcome:
        self.conversation = Conversation(question, picture, expiry_s(self.camera, question.every_s), self.paused)
        try:
            self.conversation.run()
        finally:
            self.of = picture.of
        self.succeeded(self._call())
        answers, thumbnail = tuple(self.conversation.answers), self.thumbnails.get(question.region)
        last = LastAnswer(question.answer_rev, picture.model.revision, answers, thumbnail, asked_at, self.looked_at)
        return Outcome(question, answers, last)

    def _refuse_the_rest(self, status: Status, reason: str, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """The question that was being asked keeps the answers that it has already."""
        interrupted = []
        if self.conversation:
            interrupted = [Outcome(self.conversation.question, self.conversation.completed(status, reason))]
        unasked = without(self.questions, [*outcomes, *interrupted])
        return [*interrupted, *refusals(unasked, self.camera, self.of, status, reason)]

    def _call(self) -> ModelCall:
        """The call of the model that is being made."""
        camera, worker = self.camera.name, self.ticket.worker
        assert worker
        if self.conversation:
            return ModelCall(camera, worker, self.conversation.question.name)
        return ModelCall(camera, worker, None, self.region)
