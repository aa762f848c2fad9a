"""One look: take a frame, repeat or ask what is due, and publish the answers.

Every question that is due gets exactly one answer, or a refusal with a reason. A question that a stop interrupts gets
none. A look knows no topics and starts no thread: it runs in a thread of the pool, and asks in the worker's.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Event as StopSignal
from typing import TypeAlias

from edged.core.errors import CameraError, ModelError, ModelLost, StaleFrame, Stopped, release_frames
from edged.core.specs import CameraSpec, QuestionSpec, RegionSpec, by_region
from edged.core.types import Frame, Status, Trigger
from edged.service import picture
from edged.service.asking import Asking
from edged.service.camera_runtime import CameraRuntime
from edged.service.gate import Gate
from edged.service.judging import Provenance
from edged.service.lateness import Lateness
from edged.service.model_outage import ModelCall, ModelOutage
from edged.service.outcomes import Outcome, refusals, without
from edged.service.region import cut
from edged.service.worker import WorkerGroup
from edged.service.worker_queue import ModelChanged, Ticket, WorkerQueue

log = logging.getLogger("edged.look")

UNEXPECTED = "unexpected error; see edged's log"

Thumbnails: TypeAlias = Mapping[RegionSpec | None, picture.Thumbnail]


@dataclass(slots=True)
class Looks:
    """The parts that every look uses. `lost` is called with the worker group whose device needs a new process."""

    queue: WorkerQueue
    stop: StopSignal
    clock_synced: Callable[[], bool]
    lost: Callable[[ModelError, WorkerGroup | None], None]
    lateness: Lateness = field(default_factory=Lateness)
    model_outage: ModelOutage = field(default_factory=ModelOutage)

    def look(self, runtime: CameraRuntime, trigger: Trigger = "schedule") -> None:
        """Look once and publish. Never raises: this is one of the two places that catch everything."""
        spec, config_rev = runtime.current()
        due = runtime.due(spec)
        if not due:
            return
        look = _Look(self, runtime, spec, due, Provenance(spec.name, trigger, config_rev, clock_synced=False))
        try:
            outcomes = look.outcomes()
            _log_answers(outcomes)
            runtime.publish(outcomes, look.image(outcomes))
            runtime.unexpected.end()
        except Stopped:
            return
        except Exception as error:
            runtime.unexpected.begin(f"unexpected error in a look: {error!r}", level=logging.ERROR, exc_info=error)
            release_frames(error)
            look.publish_refusals()


@dataclass(slots=True)
class _Look:
    """The state of one look. Frame and model are added to `of` once they are known."""

    looks: Looks
    runtime: CameraRuntime
    camera: CameraSpec
    due: list[QuestionSpec]
    of: Provenance
    begun_at: float = field(default_factory=time.monotonic)

    def outcomes(self) -> list[Outcome]:
        """An outcome for each due question. Raises Stopped."""
        while True:
            try:
                return self._once()
            except ModelChanged:
                log.debug("camera %s: the model was replaced; looking again", self.camera.name)
                self.of = replace(self.of, frame=None, frame_age_s=None, encode_ms=None, model=None)

    def image(self, outcomes: Sequence[Outcome]) -> bytes | None:
        """The frame as JPEG, if the camera publishes it and the model has seen it, or a region of it."""
        answers = [answer for outcome in outcomes for answer in outcome.answers]
        was_encoded = any(answer.timing_ms["encode"] is not None for answer in answers)
        return picture.jpeg(self.of.frame) if self.camera.image and self.of.frame and was_encoded else None

    def publish_refusals(self) -> None:
        """After an unexpected error: refuse every due question."""
        status: Status = "model_down" if self.of.frame else "camera_down"
        try:
            self.runtime.publish(refusals(self.due, self.camera, self.of, status, UNEXPECTED), None)
        except Exception:  # the publisher fails, and its own thread reports that
            log.debug("camera %s: the refusals could not be published either", self.camera.name, exc_info=True)

    def _once(self) -> list[Outcome]:
        with self.looks.queue.join(urgent=self.of.trigger == "request") as ticket:
            ticket.wait_near()
            self.of = replace(self.of, clock_synced=self.looks.clock_synced())
            if self.of.trigger == "schedule":
                self.looks.lateness.begun(self.camera.name)
            try:
                frame = self.runtime.camera.grab(self.looks.stop)
            except StaleFrame as error:
                return refusals(self.due, self.camera, self.of, "stale_frame", str(error))
            except CameraError as error:
                return refusals(self.due, self.camera, self.of, "camera_down", str(error))
            self.of = replace(self.of, frame=frame)
            thumbnails = self._thumbnails(frame)
            repeated = self._repeated(frame, thumbnails)
            if questions := without(self.due, repeated):
                return [*repeated, *self._asked(ticket, questions, thumbnails)]
            return repeated

    def _thumbnails(self, frame: Frame) -> Thumbnails:
        """A thumbnail of each region that a due question is about; none without `when_changed`."""
        if self.camera.at_least_every_s is None:
            return {}
        return {region: picture.thumbnail(cut(frame, region)) for region in by_region(self.due)}

    def _repeated(self, frame: Frame, thumbnails: Thumbnails) -> list[Outcome]:
        if not thumbnails or self.of.trigger == "request":
            return []
        model_revs = {model.revision for model in self.looks.queue.models()}
        of = replace(self.of, frame_age_s=frame.age_s())
        outcomes: list[Outcome] = []
        for region, questions in by_region(self.due).items():
            gate = Gate(self.camera, thumbnails[region], of, self.begun_at, model_revs)
            outcomes += gate.repeat(questions, self.runtime.last_answer)
        return outcomes

    def _asked(
        self, ticket: Ticket[list[Outcome]], questions: Sequence[QuestionSpec], thumbnails: Thumbnails
    ) -> list[Outcome]:
        def failed(call: ModelCall, error: ModelError) -> None:
            self.looks.model_outage.failed(call, error, lambda: self._is_made(call, ticket))
            if isinstance(error, ModelLost):
                self.looks.lost(error, ticket.group)

        succeeded = self.looks.model_outage.succeeded
        asking = Asking(self.camera, questions, self.of, thumbnails, self.begun_at, ticket, succeeded, failed)
        try:
            return ticket.run(asking)
        finally:
            self.of = asking.of

    def _is_made(self, call: ModelCall, ticket: Ticket[list[Outcome]]) -> bool:
        """True if the next looks make this call too."""
        return self.runtime.makes(call) and not ticket.stop.is_set()


def _log_answers(outcomes: Sequence[Outcome]) -> None:
    for answer in (answer for outcome in outcomes for answer in outcome.answers):
        shown = json.dumps(answer.value, ensure_ascii=False) if answer.status == "ok" else answer.status
        log.debug("camera %s: %s: %s (confidence %s)", answer.camera, answer.question, shown, answer.confidence)
