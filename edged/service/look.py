"""One look: take a frame, repeat or ask what is due, and publish the answers.

Every question that is due gets exactly one answer, or a refusal with a reason. A question that a stop interrupts gets
none. A look knows no topics and starts no thread: it runs in a thread of the pool, and asks in the worker's.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Event as StopSignal
from typing import TypeAlias

from edged.core.errors import CameraError, ModelError, ModelLost, StaleFrame, Stopped, release_frames
from edged.core.specs import CameraSpec, QuestionSpec, RegionSpec, by_region, with_follow_ups
from edged.core.types import Answer, Frame, Status, Trigger
from edged.service import picture
from edged.service.asking import Asking
from edged.service.camera_runtime import CameraRuntime
from edged.service.gate import Gate
from edged.service.judging import Provenance
from edged.service.lateness import Lateness
from edged.service.model_outage import ModelCall, ModelOutage
from edged.service.outcomes import Outcome, refusals, refusals_for, without
from edged.service.region import cut
from edged.service.steps import Steps
from edged.service.worker import WorkerGroup
from edged.service.worker_queue import SLOW_FRAME_S, FrameTooOld, ModelChanged, NoTurn, Ticket, WorkerQueue

log = logging.getLogger("edged.look")

UNEXPECTED = "unexpected error; see edged's log"
STEP_S = 120.0  # longer than any camera's time-outs, and than the picture and the answers of one look need
POLL_S = 0.2
MOST_FRAMES = 5  # of one look, if each grows too old while requests are served
NO_TURN = "the model was busy until the time limit of the request had passed"
CAMERA_BUSY = "the camera was busy with another look until the time limit of the request"

Thumbnails: TypeAlias = Mapping[RegionSpec | None, picture.Thumbnail]


class CameraBusy(Exception):
    """Other looks took pictures of the camera until the time of this one had passed."""


@dataclass(slots=True)
class Looks:
    """The parts that every look uses. `lost` is called with the worker group whose device needs a new process."""

    queue: WorkerQueue
    stop: StopSignal
    clock_synced: Callable[[], bool]
    lost: Callable[[ModelError, WorkerGroup | None], None]
    steps: Steps = field(default_factory=Steps)
    lateness: Lateness = field(default_factory=Lateness)
    model_outage: ModelOutage = field(default_factory=ModelOutage)

    def look(self, runtime: CameraRuntime, trigger: Trigger = "schedule") -> None:
        """Look once and publish. Never raises: this is one of the places that catch everything."""
        spec, config_rev = runtime.current()
        due = runtime.due(spec)
        if not due:
            return
        of = Provenance(spec.name, trigger, config_rev, clock_synced=False)
        with suppress(Stopped):
            _Look(self, runtime, spec, due, of).made()

    def request(
        self,
        runtime: CameraRuntime,
        current: tuple[CameraSpec, str],
        questions: Sequence[QuestionSpec],
        until: float,
        published: bool = True,
    ) -> list[Answer]:
        """The answers to these questions, follow-ups included, due or not. Paused ones are not asked.

        `current` is what the runtime returned. What is not answered at `until` (monotonic) is a timeout, and is not
        published. Raises Stopped, also if the camera leaves service.
        """
        spec, config_rev = current
        of = Provenance(spec.name, "request", config_rev, self.clock_synced())
        wanted = replace(spec, questions=tuple(questions))
        paused = runtime.paused(wanted)
        refused = refusals_for(paused, wanted, of, "not_asked", paused)
        answers = {answer.question: answer for answer in _answers(refused)}
        if asked := [question for question in questions if question.name not in paused]:
            look = _Look(self, runtime, spec, asked, of, until=until, published=published)
            answers |= {answer.question: answer for answer in look.made()}
        named = [(question, answers[question.name]) for question in with_follow_ups(questions)]
        return [answer if answer.alert else runtime.alerted(answer, question) for question, answer in named]


@dataclass(slots=True)
class _Look:
    """The state of one look. Frame and model are added to `of` once they are known."""

    looks: Looks
    runtime: CameraRuntime
    camera: CameraSpec
    due: list[QuestionSpec]
    of: Provenance
    until: float = math.inf  # monotonic: the end of a request's time
    published: bool = True
    begun_at: float = field(default_factory=time.monotonic)
    seen_at: float = field(default_factory=time.monotonic)  # when the frame was taken

    def made(self) -> list[Answer]:
        """Look and publish; the answers as they were published, and those that were not.

        After an unexpected error the refusals are published. Raises Stopped.
        """
        try:
            outcomes = self.outcomes()
            _log_answers(outcomes)
            answers = self._publish(outcomes, self.jpeg())
            self.runtime.unexpected.end()
        except Stopped:
            raise
        except Exception as error:
            reason = f"unexpected error in a look: {error!r}"
            self.runtime.unexpected.begin(reason, level=logging.ERROR, exc_info=error)
            release_frames(error)
            answers = self._publish_refusals()
        return answers

    def outcomes(self) -> list[Outcome]:
        """An outcome for each due question. Raises Stopped."""
        while True:
            try:
                return self._once()
            except ModelChanged:
                log.debug("camera %s: the model was replaced; looking again", self.camera.name)
                self._leave_frame()
                self._forget_frame()

    def jpeg(self) -> Callable[[], bytes] | None:
        """Encodes the frame, if there is one and the camera publishes pictures."""
        return partial(picture.jpeg, self.of.frame) if self.camera.image and self.of.frame else None

    def _publish(self, outcomes: Sequence[Outcome], jpeg: Callable[[], bytes] | None) -> list[Answer]:
        answers = _answers(outcomes)
        if not self.published:
            self._leave_frame()
            self.runtime.tried(self.of.frame)
            return answers
        if time.monotonic() >= self.until:  # the haste of a request says nothing about the question
            outcomes = [outcome.before_timeout() for outcome in outcomes]
            if not _answers(outcomes):
                self._leave_frame()
        with self._step("publishing"):
            published = self.runtime.publish(outcomes, jpeg, self.seen_at, self.of.frame)
        by_id = {answer.id: answer for answer in published}
        return [by_id.get(answer.id, answer) for answer in answers]

    def _publish_refusals(self) -> list[Answer]:
        """After an unexpected error: refuse every due question."""
        status: Status = "model_down" if self.of.frame else "camera_down"
        outcomes = refusals(self.due, self.camera, self.of, status, UNEXPECTED)
        try:
            return self._publish(outcomes, None)
        except Exception:  # the publisher fails, and its own thread reports that
            log.debug("camera %s: the refusals could not be published either", self.camera.name, exc_info=True)
            return _answers(outcomes)

    def _once(self) -> list[Outcome]:
        urgent = self.of.trigger == "request"
        with self.looks.queue.join(urgent, self.until, self.runtime.slow) as ticket:
            try:
                ticket.wait_near()
                for _ in range(MOST_FRAMES):
                    with suppress(FrameTooOld):
                        return self._served(ticket)
                    log.debug("camera %s: the frame became too old in the queue; taking another", self.camera.name)
                    self._forget_frame()
                reason = f"every picture became older than max_age, {self.camera.max_age_s:g} s, in the queue"
                return refusals(self.due, self.camera, self.of, "stale_frame", reason)
            except NoTurn:
                return refusals(self.due, self.camera, self.of, "timeout", NO_TURN)

    def _forget_frame(self) -> None:
        self.of = replace(self.of, frame=None, frame_age_s=None, encode_ms=None, model=None)

    def _leave_frame(self) -> None:
        """To the next look, if the camera gives each picture only once: nothing is published about it by this one."""
        if self.camera.new_only and self.of.frame:
            self.runtime.left_frame.leave(self.of.frame)

    def _served(self, ticket: Ticket[list[Outcome]]) -> list[Outcome]:
        self.of = replace(self.of, clock_synced=self.looks.clock_synced())
        if self.of.trigger == "schedule":
            self.looks.lateness.begun(self.camera.name)
        try:
            with self._alone_at_camera(), self._step("taking a picture"):
                frame = self._grabbed()
        except CameraBusy:
            return refusals(self.due, self.camera, self.of, "timeout", CAMERA_BUSY)
        except StaleFrame as error:
            return refusals(self.due, self.camera, self.of, "stale_frame", str(error))
        except CameraError as error:
            return refusals(self.due, self.camera, self.of, "camera_down", str(error))
        self.of = replace(self.of, frame=frame)
        with self._step("comparing pictures"):
            thumbnails = self._thumbnails(frame)
            repeated = self._repeated(frame, thumbnails)
        if questions := without(self.due, repeated):
            return [*repeated, *self._asked(ticket, questions, thumbnails)]
        return repeated

    def _grabbed(self) -> Frame:
        """Raises StaleFrame and other CameraErrors, Stopped."""
        runtime, self.seen_at = self.runtime, time.monotonic()
        try:
            frame = runtime.camera.grab(self.looks.stop)
        except CameraError as error:
            if left := runtime.left_frame.take(self.camera.max_age_s):
                return left
            if isinstance(error, StaleFrame) and runtime.online:
                runtime.stale.add(error)
            else:  # the camera logs that it is offline
                runtime.stale.lost()
            raise
        finally:
            runtime.slow = time.monotonic() - self.seen_at > SLOW_FRAME_S
        runtime.stale.over()
        if self.camera.new_only:
            runtime.left_frame.taken(frame)
        return frame

    @contextmanager
    def _alone_at_camera(self) -> Iterator[None]:
        """A request may look at the same time as the schedule. Raises Stopped, CameraBusy."""
        grabbing = self.runtime.grabbing
        while not grabbing.acquire(timeout=POLL_S):
            if self.looks.stop.is_set():
                raise Stopped
            if time.monotonic() > self.until:
                raise CameraBusy
        try:
            yield
        finally:
            grabbing.release()

    def _step(self, what: str) -> AbstractContextManager[None]:
        return self.looks.steps.step(f"camera {self.camera.name}: {what}", STEP_S)

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

        asking = Asking(
            self.camera,
            questions,
            self.of,
            thumbnails,
            self.begun_at,
            ticket,
            self.looks.model_outage.succeeded,
            failed,
            paused=partial(self.runtime.paused, self.camera),
            unwanted=lambda: self.runtime.retired,
        )
        try:
            return ticket.run(asking)
        finally:
            self.of = asking.of

    def _is_made(self, call: ModelCall, ticket: Ticket[list[Outcome]]) -> bool:
        """True if the next looks make this call too."""
        return self.runtime.makes(call) and not ticket.stop.is_set()


def _answers(outcomes: Sequence[Outcome]) -> list[Answer]:
    return [answer for outcome in outcomes for answer in outcome.answers]


def _log_answers(outcomes: Sequence[Outcome]) -> None:
    for answer in _answers(outcomes):
        shown = json.dumps(answer.value, ensure_ascii=False) if answer.status == "ok" else answer.status
        log.debug("camera %s: %s: %s (confidence %s)", answer.camera, answer.question, shown, answer.confidence)
