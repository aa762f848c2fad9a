"""The part of a look's frame that the model has encoded. It is encoded again after requests have used the model."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edged.core.errors import StaleFrame, Stopped
from edged.core.interfaces import VisionModel
from edged.core.requests import MOST_WAITING
from edged.core.specs import QuestionSpec
from edged.core.types import Exchange, Frame, Reply
from edged.service.judging import Provenance
from edged.service.worker_queue import Ticket

log = logging.getLogger("edged.look")


@dataclass(slots=True)
class EncodedPicture:
    """`of` is the provenance of what is answered now: its age and its encode time are of the latest encode.
    A picture that has waited until it is older than `max_age_s` is not encoded.

    `unwanted` is true once nobody wants the answers any more. No field may refer to this object's owner: that would be
    a cycle, in which the frame lives until the collector runs.
    """

    model: VisionModel
    ticket: Ticket[Any]
    picture: Frame
    of: Provenance
    max_age_s: float
    unwanted: Callable[[], bool]

    def encode(self, has_waited: bool) -> None:
        """`has_waited`: for others than this look. Raises ModelError, Stopped, StaleFrame."""
        if self.ticket.stop.is_set():
            raise Stopped
        height, width, _ = self.picture.rgb.shape
        self.ticket.expect_encode(height * width)
        begun = time.monotonic()
        age_s = self.picture.age_s()
        self.of = replace(self.of, frame_age_s=age_s, encode_ms=None)
        if has_waited and age_s > self.max_age_s:
            raise StaleFrame(f"the picture is {age_s:.1f} s old, and max_age is {self.max_age_s:g} s")
        self.of = replace(self.of, encode_ms=self.model.encode(self.picture))
        self.ticket.encoded(time.monotonic() - begun)

    def too_late(self) -> bool:
        """True if the time limit of the request has passed."""
        return time.monotonic() >= self.ticket.until

    def limited(self, question: QuestionSpec) -> QuestionSpec:
        """The question, to be answered before the time limit of the request."""
        left_s = max(0.01, self.ticket.until - time.monotonic())
        if left_s >= question.generation.deadline_s:
            return question
        # Rounded up: what the limit cuts off must end after it, to be told from what the question's own deadline does.
        deadline_s = math.ceil(100 * left_s) / 100
        return replace(question, generation=replace(question.generation, deadline_s=deadline_s))

    def ask(self, history: Sequence[Exchange], question: QuestionSpec) -> Reply:
        """Requests that are ready are served first. Raises ModelError, Stopped, StaleFrame."""
        left = MOST_WAITING  # then the look goes on, even if the requests never end
        while True:
            served = self.ticket.give_way(left)
            if self.unwanted():
                raise Stopped
            if not served:
                break
            left -= served
            log.debug("camera %s: interrupted by a request; encoding the picture again", self.of.camera)
            self.encode(has_waited=True)
        log.debug("camera %s: asking %s", self.of.camera, question.name)
        self.ticket.expect(question.generation.deadline_s)
        reply = self.model.ask(history, question, self.ticket.stop)
        self.ticket.answered()
        return reply
