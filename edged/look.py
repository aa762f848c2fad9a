"""One look: a frame, the gate, every question that is due asked about that frame, answers and events.

Every question that was due gets exactly one answer, or a refusal that says why; what a stop cuts off gets none. Nothing
here knows of topics, and no thread is started.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from threading import Event as StopSignal
from threading import Lock
from typing import Any

from edged import alerts
from edged.answers import Unreadable, shorten
from edged.cameras import picture
from edged.core import (
    Answer,
    Camera,
    CameraError,
    Event,
    Frame,
    ModelError,
    ModelLost,
    Publisher,
    Reply,
    Secret,
    StaleFrame,
    Status,
    Stopped,
    Trigger,
    Turn,
    VisionModel,
    utc_now,
)
from edged.outage import Outage
from edged.specs import ANY, CameraSpec, QuestionSpec, SourceSpec
from edged.turns import Turn as ModelTurn
from edged.turns import Turns

log = logging.getLogger("edged.look")

SEE_LIMIT_S = 60.0  # encoding a frame takes no longer on anything that works
EXPIRY_INTERVALS = 3
LEAST_EXPIRY_S = 60.0


@dataclass(slots=True)
class Post:
    """A camera at its place: what is asked of it, and what its last looks left behind.

    `spec` is exchanged by a reload and read once a look. The lock keeps a retired camera from publishing.
    """

    spec: CameraSpec
    camera: Camera
    interval_s: float
    config_rev: str
    retired: bool = False
    lock: Lock = field(default_factory=Lock)
    asked_at: dict[str, float] = field(default_factory=dict)  # time.monotonic() of the last asking
    answered: dict[str, Answer] = field(default_factory=dict)
    histories: dict[str, alerts.History] = field(default_factory=dict)
    gate: tuple[float, Any] | None = None  # when the model last saw a frame of this camera, and its thumbnail
    looks: int = 0
    last_look: float | None = None


@dataclass(slots=True)
class Looks:
    """What every look needs. `lost` is called when only a new process can bring the model back."""

    turns: Turns
    stop: StopSignal
    publisher: Callable[[], Publisher]
    clock_synced: Callable[[], bool]
    lost: Callable[[ModelError], None]
    model_outage: Outage = field(default_factory=lambda: Outage("model", log, "answers again"))

    def look(self, post: Post, trigger: Trigger = "schedule") -> None:
        """Look once and publish. Never raises: this is one of the two edges that catch everything."""
        spec = post.spec
        due = _due(post, spec)
        if not due:
            return
        look = _Look(self, post, spec, due, trigger, post.config_rev)
        try:
            answers, image = look.answers()
        except Stopped:
            return
        except Exception as error:
            self.model_outage.begin(f"a look at {spec.name} failed by a defect", "", logging.ERROR, error)
            answers, image = look.refusals("model_down", "an error inside edged; its log says more"), None
        self._publish(post, spec, answers, image)

    def _publish(self, post: Post, spec: CameraSpec, answers: Sequence[Answer], image: bytes | None) -> None:
        for answer in answers:
            said = json.dumps(answer.value, ensure_ascii=False) if answer.status == "ok" else answer.status
            log.debug("camera %s: %s: %s (confidence %s)", spec.name, answer.question, said, answer.confidence)
        events = [event for answer in answers for event in _events(post, spec, answer)]
        post.looks += 1
        post.last_look = time.monotonic()
        with post.lock:
            if not post.retired:
                self.publisher().answers(answers, events, image)


@dataclass(slots=True)
class _Look:
    """One look while it lasts."""

    looks: Looks
    post: Post
    spec: CameraSpec
    due: list[QuestionSpec]
    trigger: Trigger
    config_rev: str
    frame: Frame | None = None
    frame_age_s: float | None = None
    encode_ms: float | None = None
    model: VisionModel | None = None

    def answers(self) -> tuple[list[Answer], bytes | None]:
        """An answer for each due question and follow-up, and the frame as JPEG if the camera is to publish it."""
        with self.looks.turns.join(urgent=self.trigger == "request") as turn:
            turn.wait_near()
            try:
                self.frame = self.post.camera.grab(self.looks.stop)
            except StaleFrame as error:
                return self.refusals("stale_frame", str(error)), None
            except CameraError as error:
                return self.refusals("camera_down", str(error)), None
            if (given_again := self._unchanged()) is not None:
                return given_again, None
            answers: list[Answer] = turn.run(lambda model: self._ask_all(model, turn))
        return answers, picture.jpeg(self.frame) if self.spec.image else None

    def refusals(self, status: Status, reason: str, answered: Sequence[Answer] = ()) -> list[Answer]:
        """The same refusal for every due question and follow-up that has no answer yet."""
        have = {answer.question for answer in answered}
        left = [question for question in _with_follow_ups(self.due) if question.name not in have]
        return [self._answer(question, status, reason=reason) for question in left]

    # the gate

    def _unchanged(self) -> list[Answer] | None:
        """The last answers once more, if the picture is the same as when they were given."""
        limit, gate = self.spec.at_least_every_s, self.post.gate
        if limit is None or self.trigger == "request":
            return None
        assert self.frame
        thumbnail = picture.thumbnail(self.frame)
        if (
            gate is not None
            and time.monotonic() - gate[0] < limit
            and picture.change(gate[1], thumbnail) < picture.CHANGED
        ):
            again = [self._again(question) for question in _with_follow_ups(self.due)]
            if None not in again:
                self._mark_asked()
                return [answer for answer in again if answer]
        self.post.gate = (time.monotonic(), thumbnail)
        return None

    def _again(self, question: QuestionSpec) -> Answer | None:
        first = self.post.answered.get(question.name)
        if (
            first is None
            or first.prompt_rev != question.prompt_rev
            or first.status not in ("ok", "unsure", "not_asked")
        ):
            return None
        assert self.frame
        return replace(
            first,
            id=_new_id(),
            reuse_of=first.reuse_of or first.id,
            frame_ts=round(self.frame.captured_at.timestamp(), 3),
            frame_age_s=round(self.frame.age_s(), 3),
            frame_sha256=self.frame.sha256,
            answered_ts=round(utc_now().timestamp(), 3),
            clock_synced=self.looks.clock_synced(),
            trigger=self.trigger,
            timing_ms={"grab": round(self.frame.grab_ms), "encode": None, "answer": None},
            config_rev=self.config_rev,
        )

    # asking: in the worker's thread

    def _ask_all(self, model: VisionModel, turn: ModelTurn[Any]) -> list[Answer]:
        assert self.frame
        self.model = model
        self.frame_age_s = self.frame.age_s()
        if self.frame_age_s > self.spec.max_age_s:
            reason = f"the picture is {self.frame_age_s:.1f} s old, and max_age is {self.spec.max_age_s:g} s"
            return self.refusals("stale_frame", reason)
        found: list[Answer] = []
        try:
            turn.expect(SEE_LIMIT_S)
            self.encode_ms = model.see(self.frame)
            for number, question in enumerate(self.due):
                if number == len(self.due) - 1:
                    turn.nearly_done()
                self._ask(model, turn, question, [], found)
        except ModelError as error:
            self.looks.model_outage.begin(str(error).removeprefix("model: "))
            if isinstance(error, ModelLost):
                self.looks.lost(error)
            return [*found, *self.refusals("model_down", str(error), found)]
        self.looks.model_outage.end()
        self._mark_asked()
        return found

    def _ask(
        self,
        model: VisionModel,
        turn: ModelTurn[Any],
        question: QuestionSpec,
        history: Sequence[Turn],
        found: list[Answer],
    ) -> None:
        """Ask one question, then its follow-ups in the same conversation; what comes of them goes into `found`."""
        log.debug("camera %s: asking %s", self.spec.name, question.name)
        turn.expect(question.generation.deadline_s + SEE_LIMIT_S)
        reply = model.ask(history, question, self.looks.stop)
        answer = self.judged(question, reply)
        found.append(answer)
        for follow_up in question.then:
            if _holds(follow_up, answer):
                self._ask(model, turn, follow_up, [*history, Turn(question.prompt, reply.text)], found)
            else:
                reason = _why_not(follow_up, answer)
                found += [self._answer(q, "not_asked", reason=reason) for q in _with_follow_ups([follow_up])]

    def judged(self, question: QuestionSpec, reply: Reply) -> Answer:
        """What the reply means: a value, or why there is none."""
        limit = question.generation.max_new_tokens
        free = question.answer.grammar() is None
        match reply.ended:
            case "no_room":
                reason = f"the question and {limit} new tokens do not fit the model's cache"
                return self._answer(question, "unreadable", reply, reason=reason)
            case "deadline":
                reason = f"no whole answer within {question.generation.deadline_s:g} s"
                return self._answer(question, "timeout", reply, reason=reason)
            case "length" if not free:
                reason = f'the reply was cut off after {limit} tokens, before it was a value: "{shorten(reply.text)}"'
                return self._answer(question, "unreadable", reply, reason=reason)
        try:
            value = question.answer.value(reply.text)
        except Unreadable as error:
            return self._answer(question, "unreadable", reply, reason=str(error))
        confidence = reply.confidence
        if confidence is not None and confidence < question.min_confidence:
            reason = f"confidence {confidence:.2f} is below min_confidence {question.min_confidence:g}"
            return self._answer(question, "unsure", reply, reason=reason)
        return self._answer(question, "ok", reply, value=value)

    def _answer(
        self,
        question: QuestionSpec,
        status: Status,
        reply: Reply | None = None,
        value: Any = None,
        reason: str | None = None,
    ) -> Answer:
        frame = self.frame
        answer = Answer(
            id=_new_id(),
            camera=self.spec.name,
            question=question.name,
            type=question.answer.kind,
            value=value,
            status=status,
            reason=reason,
            confidence=_rounded(reply.confidence) if reply and status in ("ok", "unsure") else None,
            text=reply.text if reply and reply.ended != "no_room" else None,
            truncated=bool(reply and reply.ended == "length"),
            prompt=question.prompt,
            prompt_rev=question.prompt_rev,
            frame_ts=round(frame.captured_at.timestamp(), 3) if frame else None,
            frame_age_s=_rounded(self.frame_age_s, 3) if frame else None,
            frame_sha256=frame.sha256 if frame else None,
            answered_ts=round(utc_now().timestamp(), 3),
            clock_synced=self.looks.clock_synced(),
            reuse_of=None,
            trigger=self.trigger,
            timing_ms={
                "grab": round(frame.grab_ms) if frame else None,
                "encode": None if self.encode_ms is None else round(self.encode_ms),
                "answer": round(reply.answer_ms) if reply else None,
            },
            model=self.model.name if self.model else None,
            model_rev=self.model.revision if self.model else None,
            config_rev=self.config_rev,
            expires_s=max(LEAST_EXPIRY_S, EXPIRY_INTERVALS * max(self.post.interval_s, question.every_s or 0.0)),
        )
        self.post.answered[question.name] = answer
        return answer

    def _mark_asked(self) -> None:
        now = time.monotonic()
        for question in self.due:
            self.post.asked_at[question.name] = now


@dataclass(frozen=True, slots=True)
class _OneFrame:
    """A camera that has taken its picture already."""

    frame: Frame

    def start(self) -> None: ...

    def grab(self, stop: StopSignal) -> Frame:
        return self.frame

    def close(self) -> None: ...


def one_answer(
    model: VisionModel,
    frame: Frame,
    question: QuestionSpec,
    stop: StopSignal,
    clock_synced: Callable[[], bool],
    on_text: Callable[[str], None] | None = None,
) -> Answer:
    """The answer to one question about one frame, judged as in any look. Raises ModelError and Stopped."""
    spec = CameraSpec("ask", SourceSpec("path", Secret(""), ""), questions=(question,))
    looks = Looks(Turns(stop), stop, _nowhere, clock_synced, lambda _: None)
    look = _Look(looks, Post(spec, _OneFrame(frame), 0.0, ""), spec, [question], "request", "", frame, model=model)
    look.frame_age_s = frame.age_s()
    look.encode_ms = model.see(frame)
    return look.judged(question, model.ask([], question, stop, on_text))


def _nowhere() -> Publisher:
    raise LookupError("this look has no publisher")


def _due(post: Post, spec: CameraSpec) -> list[QuestionSpec]:
    """The questions whose own interval has passed; a tick that comes a little early still counts."""
    now = time.monotonic()
    found = []
    for question in spec.questions:
        asked = post.asked_at.get(question.name)
        every = question.every_s or 0.0
        if asked is None or now - asked >= every - min(1.0, every * 0.05):
            found.append(question)
    return found


def _events(post: Post, spec: CameraSpec, answer: Answer) -> list[Event]:
    question = next((q for q in spec.all_questions() if q.name == answer.question), None)
    history = post.histories.get(answer.question, alerts.History())
    at = utc_now()
    post.histories[answer.question], changes = alerts.step(history, answer, question.alert if question else None, at)
    return [
        Event(_new_id(), answer.camera, answer.question, change.kind, change.before, change.after, change.since, at)
        for change in changes
    ]


def _with_follow_ups(questions: Sequence[QuestionSpec]) -> Iterator[QuestionSpec]:
    for question in questions:
        yield question
        yield from _with_follow_ups(question.then)


def _holds(follow_up: QuestionSpec, answer: Answer) -> bool:
    if follow_up.when is ANY:
        return answer.status in ("ok", "unsure")
    return answer.status == "ok" and alerts.same(answer.value, follow_up.when)


def _why_not(follow_up: QuestionSpec, answer: Answer) -> str:
    if answer.status != "ok":
        return f'"{answer.question}" was {answer.status}'
    said, wanted = (json.dumps(value, ensure_ascii=False) for value in (answer.value, follow_up.when))
    return f'"{answer.question}" was {said}, and this is asked only after {wanted}'


def _rounded(number: float | None, digits: int = 4) -> float | None:
    return None if number is None else round(number, digits)


def _new_id() -> str:
    return uuid.uuid4().hex
