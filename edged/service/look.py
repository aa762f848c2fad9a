"""One look: a frame, the gate, every question that is due asked about that frame, answers and events.

Every question that was due gets exactly one answer, or a refusal that says why; what a stop cuts off gets none. Nothing
here knows of topics, and no thread is started.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from threading import Event as StopSignal
from typing import Any

from edged.core import alerts
from edged.core.errors import CameraError, ModelError, ModelLost, StaleFrame, Stopped, release_frames
from edged.core.interfaces import VisionModel
from edged.core.intervals import expiry_s
from edged.core.outage import Outage
from edged.core.specs import ANY, CameraSpec, QuestionSpec, with_follow_ups
from edged.core.types import Answer, Exchange, Frame, Reply, Status, Trigger, utc_now
from edged.service import picture
from edged.service.camera_runtime import CameraRuntime, LastAnswer, Outcome
from edged.service.judging import Provenance, Verdict, answer, judge, new_id
from edged.service.lateness import Lateness
from edged.service.worker_queue import ModelChanged, Ticket, WorkerGroup, WorkerQueue

log = logging.getLogger("edged.look")

UNEXPECTED = "unexpected error; see edged's log"
REUSABLE = ("ok", "unsure", "not_asked")


@dataclass(slots=True)
class Looks:
    """What every look needs. `lost` is told the group whose device only a new process can bring back."""

    queue: WorkerQueue
    stop: StopSignal
    clock_synced: Callable[[], bool]
    lost: Callable[[ModelError, WorkerGroup | None], None]
    lateness: Lateness = field(default_factory=Lateness)
    model_outage: Outage = field(default_factory=lambda: Outage("model", log, "answers again"))

    def look(self, runtime: CameraRuntime, trigger: Trigger = "schedule") -> None:
        """Look once and publish. Never raises: this is one of the two edges that catch everything."""
        spec, config_rev = runtime.current()
        look = _Look(self, runtime, spec, runtime.due(spec), trigger, config_rev)
        if not look.due:
            return
        try:
            outcomes = look.outcomes()
            _debug(outcomes)
            runtime.publish(outcomes, look.jpeg())
            runtime.unexpected.end()
        except Stopped:
            return
        except Exception as error:
            runtime.unexpected.begin(f"unexpected error in a look: {error!r}", level=logging.ERROR, exc_info=error)
            release_frames(error)
            self._refuse(runtime, look)

    def forget(self, camera: str, kept: Sequence[str] = ()) -> None:
        """This camera asks only these questions from now on: with another one the model can fail no more."""
        self.model_outage.forget(lambda who: who[0] == camera and who[2] not in kept)

    def _refuse(self, runtime: CameraRuntime, look: _Look) -> None:
        try:
            runtime.publish(look.refusals("model_down" if look.frame else "camera_down", UNEXPECTED), None)
        except Exception:  # the publisher itself fails: its own thread reports that
            log.debug("camera %s: the refusal could not be published either", look.spec.name, exc_info=True)


@dataclass(slots=True)
class _Look:
    """One look while it lasts."""

    looks: Looks
    runtime: CameraRuntime
    spec: CameraSpec
    due: list[QuestionSpec]
    trigger: Trigger
    config_rev: str
    begun_at: float = field(default_factory=time.monotonic)
    frame: Frame | None = None
    frame_age_s: float | None = None
    encode_ms: float | None = None
    model: VisionModel | None = None
    thumbnail: Any = None

    def outcomes(self) -> list[Outcome]:
        """An answer for each due question and follow-up. Raises Stopped."""
        while True:
            try:
                return self._once()
            except ModelChanged:
                log.debug("camera %s: the model was changed; looking again", self.spec.name)
                self.frame = self.frame_age_s = self.encode_ms = self.model = self.thumbnail = None

    def jpeg(self) -> bytes | None:
        """The frame as JPEG if the camera is to publish it and the model saw it."""
        if not (self.spec.image and self.frame and self.encode_ms is not None):
            return None
        return picture.jpeg(self.frame)

    def refusals(self, status: Status, reason: str, answered: Sequence[Outcome] = ()) -> list[Outcome]:
        """The same refusal for every due question, with its follow-ups, that has no answer yet."""
        have = {outcome.question.name for outcome in answered}
        left = [question for question in self.due if question.name not in have]
        return [
            Outcome(question, tuple(self._refusal(each, status, reason) for each in with_follow_ups([question])))
            for question in left
        ]

    def _once(self) -> list[Outcome]:
        with self.looks.queue.join(urgent=self.trigger == "request") as ticket:
            ticket.wait_near()
            if self.trigger == "schedule":
                self.looks.lateness.begun(self.spec.name)
            try:
                self.frame = self.runtime.camera.grab(self.looks.stop)
            except StaleFrame as error:
                return self.refusals("stale_frame", str(error))
            except CameraError as error:
                return self.refusals("camera_down", str(error))
            again = self._unchanged()
            left = [question for question in self.due if question.name not in {one.question.name for one in again}]
            if not left:
                return again
            return [*again, *ticket.run(lambda model: self._ask_all(model, ticket, left, again))]

    # the gate

    def _unchanged(self) -> list[Outcome]:
        """The last answers once more, of each question whose picture is the same as when it was answered."""
        if self.spec.at_least_every_s is None:
            return []
        assert self.frame
        self.thumbnail = picture.thumbnail(self.frame)
        if self.trigger == "request":
            return []
        again = [self._again(question, self.runtime.last_answer(question)) for question in self.due]
        return [outcome for outcome in again if outcome]

    def _again(self, question: QuestionSpec, last: LastAnswer | None) -> Outcome | None:
        limit = self.spec.at_least_every_s
        if last is None or last.thumbnail is None or limit is None or time.monotonic() - last.asked_at >= limit:
            return None
        if last.model_rev not in {model.revision for model in self.looks.queue.models()}:
            return None
        if any(before.status not in REUSABLE for before in last.answers):
            return None
        if picture.change(last.thumbnail, self.thumbnail) >= picture.CHANGED:
            return None
        answers = tuple(self._repeated(before) for before in last.answers)
        return Outcome(question, answers, replace(last, looked_at=self.begun_at))

    def _repeated(self, first: Answer) -> Answer:
        assert self.frame
        return replace(
            first,
            id=new_id(),
            reuse_of=first.id,
            frame_ts=round(self.frame.captured_at.timestamp(), 3),
            frame_age_s=round(self.frame.age_s(), 3),
            frame_sha256=self.frame.sha256,
            answered_ts=round(utc_now().timestamp(), 3),
            clock_synced=self.looks.clock_synced(),
            trigger=self.trigger,
            timing_ms={"grab": round(self.frame.grab_ms), "encode": None, "answer": None},
            config_rev=self.config_rev,
            expires_s=self._expiry_s(first.question),
        )

    # asking: in the worker's thread

    def _ask_all(
        self, model: VisionModel, ticket: Ticket[Any], questions: Sequence[QuestionSpec], again: Sequence[Outcome]
    ) -> list[Outcome]:
        assert self.frame
        self.model = model
        self.frame_age_s = self.frame.age_s()
        if self.frame_age_s > self.spec.max_age_s:
            reason = f"the picture is {self.frame_age_s:.1f} s old, and max_age is {self.spec.max_age_s:g} s"
            return self.refusals("stale_frame", reason, again)
        outage, asking = self.looks.model_outage, ""
        outcomes: list[Outcome] = []
        answers: list[Answer] = []
        try:
            self._encode(model, ticket)
            asked_at = time.monotonic()
            outage.end((self.spec.name, ticket.place, asking))
            for number, question in enumerate(questions):
                if number == len(questions) - 1:
                    ticket.nearly_done()
                answers, asking = [], question.name
                self._ask(model, ticket, question, [], answers)
                outcomes.append(Outcome(question, tuple(answers), self._last_answer(question, answers, asked_at)))
                outage.end((self.spec.name, ticket.place, asking))
        except ModelError as error:
            release_frames(error)
            if ticket.stop.is_set():  # it was replaced meanwhile: the next one is asked
                raise Stopped from None
            self._failed(error, ticket, asking)
            refused = self.refusals("model_down", str(error), [*again, *outcomes])
            return [*outcomes, *(_keeping(outcome, answers) for outcome in refused)]
        return outcomes

    def _failed(self, error: ModelError, ticket: Ticket[Any], asking: str) -> None:
        if self.runtime.asks(asking):  # else nothing would ever end the outage
            self.looks.model_outage.begin(str(error).removeprefix("model: "), (self.spec.name, ticket.place, asking))
        if isinstance(error, ModelLost):
            self.looks.lost(error, ticket.group)

    def _encode(self, model: VisionModel, ticket: Ticket[Any]) -> None:
        assert self.frame
        if ticket.stop.is_set():
            raise Stopped
        ticket.expect_encode()
        begun = time.monotonic()
        self.encode_ms = model.encode(self.frame)
        ticket.encoded(time.monotonic() - begun)

    def _last_answer(self, question: QuestionSpec, answers: Sequence[Answer], asked_at: float) -> LastAnswer:
        revision = self.model.revision if self.model else None
        return LastAnswer(question.answer_rev, revision, tuple(answers), self.thumbnail, asked_at, self.begun_at)

    def _ask(
        self,
        model: VisionModel,
        ticket: Ticket[Any],
        question: QuestionSpec,
        history: Sequence[Exchange],
        answers: list[Answer],
    ) -> None:
        """Ask one question, then its follow-ups in the same conversation; what comes of them goes into `answers`."""
        log.debug("camera %s: asking %s", self.spec.name, question.name)
        ticket.expect(question.generation.deadline_s)
        reply = model.ask(history, question, ticket.stop)
        first = self._answer(question, judge(question, reply), reply)
        answers.append(first)
        for follow_up in question.then:
            if _holds(follow_up, first):
                self._ask(model, ticket, follow_up, [*history, Exchange(question.prompt, reply.text)], answers)
            else:
                reason = _why_not(follow_up, first)
                answers += [self._refusal(each, "not_asked", reason) for each in with_follow_ups([follow_up])]

    def _refusal(self, question: QuestionSpec, status: Status, reason: str) -> Answer:
        return self._answer(question, Verdict(status, reason=reason))

    def _answer(self, question: QuestionSpec, verdict: Verdict, reply: Reply | None = None) -> Answer:
        of = Provenance(
            self.spec.name,
            self.trigger,
            self.config_rev,
            self.looks.clock_synced(),
            self.frame,
            self.frame_age_s,
            self.encode_ms,
            self.model,
        )
        return answer(question, verdict, of, self._expiry_s(question.name), reply)

    def _expiry_s(self, name: str) -> float:
        """A follow-up is asked as seldom as the question that it follows."""
        first = next(one for one in self.due if any(each.name == name for each in with_follow_ups([one])))
        return expiry_s(self.spec, first.every_s)


def _keeping(refused: Outcome, answers: Sequence[Answer]) -> Outcome:
    """The refusals, with the answers that these questions had before the model failed in their place."""
    given = {answer.question: answer for answer in answers}
    return replace(refused, answers=tuple(given.get(refusal.question, refusal) for refusal in refused.answers))


def _debug(outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        for each in outcome.answers:
            shown = json.dumps(each.value, ensure_ascii=False) if each.status == "ok" else each.status
            log.debug("camera %s: %s: %s (confidence %s)", each.camera, each.question, shown, each.confidence)


def _holds(follow_up: QuestionSpec, answer: Answer) -> bool:
    if follow_up.when is ANY:
        return answer.status in ("ok", "unsure")
    return answer.status == "ok" and alerts.same(answer.value, follow_up.when)


def _why_not(follow_up: QuestionSpec, answer: Answer) -> str:
    if answer.status != "ok":
        return f'"{answer.question}" was {answer.status}'
    value, wanted = (json.dumps(value, ensure_ascii=False) for value in (answer.value, follow_up.when))
    return f'"{answer.question}" was {value}, and this is asked only after {wanted}'
