"""The runtime state of one camera: its spec, its source, its state, and the results of its last looks.

Everything that is published about a camera goes through its runtime, under one lock. So nothing is published by a
retired runtime, whose camera may still report, and no answer to a question that a reload has removed or changed, even
if the look began before the reload. Nor is an answer to a question that was paused meanwhile, or one about an older
frame than the answer before it.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from threading import Lock
from types import MappingProxyType
from typing import Any, TypeAlias

from edged.core import alerts
from edged.core.interfaces import Camera, Publisher
from edged.core.intervals import asked_again_after_s
from edged.core.outage import Outage
from edged.core.specs import CameraSpec, QuestionSpec, revision, with_follow_ups
from edged.core.types import AlertState, Answer, CameraState, Event, Fact, Frame, Value, utc_now
from edged.service.judging import Provenance, new_id
from edged.service.left_frame import LeftFrame
from edged.service.look_meter import LookMeter
from edged.service.model_outage import ModelCall
from edged.service.outcomes import LastAnswer, Outcome, refusals_for
from edged.service.snapshots import Snapshots
from edged.service.stale_looks import StaleLooks

log = logging.getLogger("edged.look")


KeepFrame: TypeAlias = Callable[[Frame, Sequence[Answer], Sequence[Event], Mapping[str, QuestionSpec]], None]

ALERT = "alert"  # the kind of facts that hold the history of a question, by its name of `fact_names`


class CameraRuntime:
    """A camera in service. `publisher` returns the current one, which a reload may replace.

    `remembered` has the facts of the kind ALERT. `time_zone` is that of the config, for the quiet hours of alerts.
    `paused` returns the questions that are not asked now, with the reasons; `is_open` is false for a camera that is
    paused. What is published is also in `snapshots`. `keep_frame` gets the frame of each look, see `FrameKeeper.offer`.
    """

    def __init__(
        self,
        spec: CameraSpec,
        config_rev: str,
        publisher: Callable[[], Publisher],
        remembered: Mapping[str, Any] = MappingProxyType({}),
        time_zone: tzinfo = UTC,
        paused: Callable[[CameraSpec], Mapping[str, str]] = lambda _: {},
        is_open: bool = True,
        snapshots: Snapshots | None = None,
        keep_frame: KeepFrame = lambda *_: None,
    ) -> None:
        self.spec = spec
        self.config_rev = config_rev
        self.looks = 0
        self.meter = LookMeter()
        self.grabbing = Lock()  # held while a frame is taken: a request may look at the same time as the schedule
        self.unexpected = Outage(f"camera {spec.name}", log, "looks succeed again", "failed look", "failed looks")
        self.stale = StaleLooks(spec.name)  # changed only with `grabbing` held
        self.slow = False  # its last picture, or the refusal of one, took long
        self.left_frame = LeftFrame()
        self.is_open = is_open
        self._publisher = publisher
        self._paused = paused
        self._snapshots = snapshots or Snapshots()
        self._keep_frame = keep_frame
        self._camera: Camera | None = None
        self._lock = Lock()  # for all that follows; held while publishing, never while a camera is started or closed
        self._retired = False
        self._started = False
        self._state: CameraState | None = None
        self._active: dict[str, Any] | None = None  # the payload of `<camera>/active`
        self._last: dict[str, LastAnswer] = {}
        self._asked_since = -math.inf  # monotonic: what was asked before was answered by a model that was replaced
        self._newest: dict[str, float] = {}  # by question: when (monotonic) the frame of its last answer was taken
        self._newest_picture = -math.inf
        self._histories = _histories(spec, remembered)
        self._remembered = set(self._histories)  # those that go on from what an earlier process left
        self._time_zone = time_zone

    # the source

    @property
    def camera(self) -> Camera:
        assert self._camera, "use() was not called"
        return self._camera

    @property
    def online(self) -> bool:
        return bool(self._state and self._state.online)

    def use(self, camera: Camera) -> None:
        self._camera = camera

    def start(self) -> None:
        """Begin to connect. Publishes that the camera is not connected yet, because an earlier state may be retained.

        The page does not show this: a camera that connects is not a problem.
        """
        if self.is_open:
            self._report_unconnected()
        self.camera.start()
        self._started = True

    @property
    def in_service(self) -> bool:
        """False if it was not started, because that failed, or is retired."""
        return self._started and not self._retired

    @property
    def retired(self) -> bool:
        """True if it publishes nothing any more: the camera was removed, replaced or paused."""
        return self._retired

    def report(self, state: CameraState) -> None:
        """Publish the camera's new state. For the camera's thread. Does nothing once the runtime is retired."""
        with self._lock:
            if not self._retired:
                self._state = state
                self._publisher().camera(self.spec.name, state)
                self._snapshots.state(self.spec.name, state)

    def _report_unconnected(self) -> None:
        with self._lock:
            if not self._retired:
                self._state = CameraState(False, "not connected yet", utc_now())
                self._publisher().camera(self.spec.name, self._state)

    def report_active(self, state: dict[str, Any]) -> None:
        """Publish what is paused, if that has changed."""
        with self._lock:
            if state != self._active and not self._retired:
                self._active = state
                self._publisher().active(self.spec.name, state)
                paused = [name for name, active in state["questions"].items() if not active]
                self._snapshots.active(self.spec.name, state["active"], paused)

    def report_again(self) -> None:
        """Publish the camera's states to another broker."""
        with self._lock:
            if self._state and not self._retired:
                self._publisher().camera(self.spec.name, self._state)
            if self._active and not self._retired:
                self._publisher().active(self.spec.name, self._active)

    # a reload

    def adopt(self, spec: CameraSpec, config_rev: str, time_zone: tzinfo = UTC) -> None:
        """Take a new spec with the same source. Forgets the answers to questions that are gone or were changed."""
        with self._lock:
            self._snapshots.forget_answers(spec.name, _not_asked_any_more(self.spec, spec))
            self.spec, self.config_rev, self._time_zone = spec, config_rev, time_zone
            self._forget_gone()

    def inherit(self, before: CameraRuntime) -> None:
        """Take over the memory of this camera's previous runtime; its answers only if the pictures are the same."""
        self.unexpected, self.stale = before.unexpected, before.stale
        same_pictures, name = before.spec.pictures == self.spec.pictures, self.spec.name
        questions = before.spec.all_questions()
        changed = _not_asked_any_more(before.spec, self.spec) if same_pictures else {each.name for each in questions}
        self._snapshots.forget_answers(name, changed)
        self._snapshots.forget_state(name)
        if not same_pictures:
            self._snapshots.forget_frame(name)
        with before._lock:  # another object of this class
            self._last = dict(before._last) if same_pictures else {}
            self._histories, self.looks, self.meter = dict(before._histories), before.looks, before.meter
            self._remembered, self._asked_since = set(before._remembered), before._asked_since
        self._forget_gone()

    def _forget_gone(self) -> None:
        names, asked = {question.name for question in self.spec.all_questions()}, fact_names(self.spec)
        self._last = {name: last for name, last in self._last.items() if name in names}
        self._newest = {name: moment for name, moment in self._newest.items() if name in names}
        self._histories = {key: history for key, history in self._histories.items() if key in asked}
        self.meter.keep(names)

    def recall(self, earlier: Mapping[str, Any]) -> None:
        """Go on from the histories that an earlier process left, if they could not be read before.

        `earlier` has facts of the kind ALERT. Publishes the changes of values that nobody has been told of.
        """
        with self._lock:
            late = {key: each for key, each in _histories(self.spec, earlier).items() if key not in self._remembered}
            if not late or self._retired:
                return
            self._remembered |= late.keys()
            steps = [(key, *self._joined(key, history)) for key, history in late.items()]
            events = [event for _, _, changes in steps for event in changes]
            self._publisher().answers([], events, None, self._changed_facts(steps))
            self._histories |= {key: history for key, history, _ in steps}

    def _joined(self, key: tuple[str, str], earlier: alerts.History) -> tuple[alerts.History, list[Event]]:
        question, kind = key
        history, changes = alerts.joined(earlier, self._histories.get(key, alerts.History()), kind)
        return history, [_event(self.spec.name, question, history.value, change, utc_now()) for change in changes]

    def retire(self, reason: str | None = None) -> None:
        """Publish `offline` if there is a `reason`, and nothing after that. Does not close the source."""
        with self._lock:
            if reason and not self._retired:
                state = CameraState(False, reason, utc_now())
                self._publisher().camera(self.spec.name, state)
                self._snapshots.state(self.spec.name, state)
            self._retired = True

    def forget_answers(self) -> None:
        """Ask every question again at the next look, because the model was replaced."""
        with self._lock:
            self._last, self._asked_since = {}, time.monotonic()

    # a look

    def current(self) -> tuple[CameraSpec, str]:
        """The spec and the revision of its config. A look reads them once, because a reload may change them."""
        with self._lock:
            return self.spec, self.config_rev

    def due(self, spec: CameraSpec) -> list[QuestionSpec]:
        """The questions that are not paused, and whose own interval has passed or that were changed."""
        return [each for each in self.asked(spec) if self._is_due(each, spec)]

    def asked(self, spec: CameraSpec) -> list[QuestionSpec]:
        """The questions that are not paused."""
        paused = self.paused(spec)
        return [each for each in spec.questions if each.name not in paused]

    def _is_due(self, question: QuestionSpec, spec: CameraSpec) -> bool:
        last = self.last_answer(question)
        if last is None or question.every_s is None:
            return True
        return time.monotonic() - last.looked_at >= asked_again_after_s(spec, question.every_s)

    def paused(self, spec: CameraSpec) -> Mapping[str, str]:
        """The questions of `spec`, follow-ups too, that are not asked now, and why."""
        return self._paused(spec)

    def makes(self, call: ModelCall) -> bool:
        """True if the next looks make this call of the model."""
        with self._lock:
            return not self._retired and call.is_made_for(self.asked(self.spec))

    def last_answer(self, question: QuestionSpec) -> LastAnswer | None:
        """How this question was last answered; None if it was not, or if it was changed since."""
        with self._lock:
            last = self._last.get(question.name)
        return last if last and last.answer_rev == question.answer_rev else None

    def publish(
        self,
        outcomes: Sequence[Outcome],
        jpeg: Callable[[], bytes] | None,
        seen_at: float,
        frame: Frame | None = None,
    ) -> Sequence[Answer]:
        """Remember and publish the outcomes of a look that took its `frame`, if there is one, at `seen_at` (monotonic).

        Returns what was published: the answers with the state of their alerts.

        Not published are answers to questions that a reload removed or changed meanwhile, or that were paused, and
        those that are older than a published one. `jpeg` encodes the look's `frame`; it is called only if the
        picture is published. Raises ValueError, and remembers nothing, if an answer cannot be encoded as JSON.
        """
        with self._lock:
            if self._retired:
                return []
            current = {question.name: question for question in self.spec.questions}
            same = [each for each in outcomes if _is_same(each.question, current.get(each.question.name))]
            paused = self.paused(self.spec)
            in_force = [self._in_force(outcome, seen_at, paused) for outcome in same]
            published = self._publish(in_force, jpeg, seen_at, frame)
            self.looks += 1
            return published

    def tried(self, frame: Frame | None) -> None:
        """The frame of a look that is not published."""
        with self._lock:
            if not self._retired:
                self._snapshots.tried(self.spec.name, frame)

    def alerted(self, answer: Answer, question: QuestionSpec) -> Answer:
        """An answer that is not published, with the state of its question's alert."""
        with self._lock:
            history = self._histories.get((answer.question, answer.type), alerts.History())
        return replace(answer, alert=_alert(question, history))

    def change_pauses(self, change: Callable[[], None], clock_synced: bool) -> None:
        """Pause or resume by calling `change`. Publishes `not_asked` for each question that is paused by that.

        Looks that have taken their frame before this publish nothing about the questions that it concerns.
        """
        with self._lock:
            before = self.paused(self.spec)
            change()
            paused, now = self.paused(self.spec), time.monotonic()
            concerned = paused.keys() ^ before.keys()
            of = Provenance(self.spec.name, "request", self.config_rev, clock_synced)
            refused = refusals_for(paused.keys() - before.keys(), self.spec, of, "not_asked", paused)
            self._newest |= dict.fromkeys(concerned, now)
            self._last = {name: last for name, last in self._last.items() if not concerned & last.names}
            if not self._retired:
                self._publish(refused, None, now)

    def _in_force(self, outcome: Outcome, seen_at: float, paused: Collection[str]) -> Outcome:
        """Without the answers that must not be published; not for the next look if one of them is too old."""
        newer = [answer for answer in outcome.answers if self._newest.get(answer.question, -math.inf) <= seen_at]
        asked = tuple(answer for answer in newer if answer.question not in paused)
        return replace(outcome, answers=asked, last=outcome.last if len(newer) == len(outcome.answers) else None)

    def _publish(
        self,
        live: Sequence[Outcome],
        jpeg: Callable[[], bytes] | None,
        seen_at: float,
        frame: Frame | None = None,
    ) -> Sequence[Answer]:
        answers = [answer for outcome in live for answer in outcome.answers]
        questions = {question.name: question for question in self.spec.all_questions()}
        now = alerts.Now(datetime.now(self._time_zone), time.monotonic())
        steps = [self._step(answer, questions[answer.question], now) for answer in answers]
        events = [event for _, _, changes in steps for event in changes]
        alerted = [
            replace(answer, alert=_alert(questions[answer.question], history))
            for answer, (_, history, _) in zip(answers, steps, strict=True)
        ]
        if answers:
            wanted = seen_at >= self._newest_picture and self._publishes_picture(answers, events)
            picture = jpeg() if jpeg and wanted else None
            digest = self.spec.pictures_digest
            self._publisher().answers(alerted, events, picture, self._changed_facts(steps), digest)
            self._newest_picture = seen_at if picture else self._newest_picture
            self._snapshots.looked(self.spec.name, alerted, events, frame)
        self._newest |= {answer.question: seen_at for answer in answers}
        self._histories |= {key: history for key, history, _ in steps}
        last = {outcome.question.name: outcome.last for outcome in live if outcome.last}
        self._last |= {name: each for name, each in last.items() if each.asked_at >= self._asked_since}
        self.meter.add(answers)
        if frame is not None:
            self._keep_frame(frame, answers, events, questions)
        return alerted

    def _publishes_picture(self, answers: Sequence[Answer], events: Sequence[Event]) -> bool:
        if self.spec.image == "on_event":
            return bool(events)
        was_encoded = any(answer.timing_ms["encode"] is not None for answer in answers)
        return self.spec.image == "each" and was_encoded

    def _changed_facts(self, steps: Sequence[tuple[tuple[str, str], alerts.History, list[Event]]]) -> list[Fact]:
        return [
            Fact(ALERT, _fact_name(self.spec.name, *key), alerts.to_json(history))
            for key, history, _ in steps
            if history != self._histories.get(key, alerts.History())
        ]

    def _step(
        self, answer: Answer, question: QuestionSpec, now: alerts.Now
    ) -> tuple[tuple[str, str], alerts.History, list[Event]]:
        key = (answer.question, answer.type)
        about = revision([question.prompt_rev, repr(question.region), self.spec.pictures_digest])
        history, changes = alerts.step(self._histories.get(key, alerts.History()), answer, question.alert, now, about)
        events = [_event(answer.camera, answer.question, answer.value, change, now.at) for change in changes]
        return key, history, events


def _event(camera: str, question: str, value: Value, change: alerts.Change, at: datetime) -> Event:
    return Event(
        id=new_id(),
        camera=camera,
        question=question,
        kind=change.kind,
        before=change.before,
        after=change.after,
        since=change.since,
        at=at,
        value=value,
    )


def _alert(question: QuestionSpec, history: alerts.History) -> AlertState | None:
    return None if question.alert is None else AlertState(history.alert_on, history.alert_since)


def fact_names(spec: CameraSpec) -> dict[tuple[str, str], str]:
    """The name of the fact for each question, by the question's name and type."""
    keys = [(question.name, question.answer.kind) for question in spec.all_questions()]
    return {key: _fact_name(spec.name, *key) for key in keys}


def _fact_name(camera: str, question: str, kind: str) -> str:
    """`kind` is that of the answer: a question whose type was changed begins anew."""
    return f"{camera}/{question}/{kind}"


def alert_offs(gone: Mapping[str, Any], at: datetime) -> list[Event]:
    """The events of alerts that are on, and whose questions are gone. `gone` are facts of the kind ALERT by name."""
    events = []
    for name, stored in gone.items():
        history, (camera, question, *_) = alerts.from_json(stored), (*name.split("/"), "")
        if history.alert_on:
            events.append(
                Event(new_id(), camera, question, "alert_off", True, False, history.alert_since, at, history.value)
            )
    return events


def _histories(spec: CameraSpec, remembered: Mapping[str, Any]) -> dict[tuple[str, str], alerts.History]:
    return {key: alerts.from_json(remembered[name]) for key, name in fact_names(spec).items() if name in remembered}


def _not_asked_any_more(before: CameraSpec, after: CameraSpec) -> set[str]:
    """The questions and follow-ups of `before` that `after` asks differently, or not at all."""
    current = {question.name: question for question in after.questions}
    changed = [each for each in before.questions if not _is_same(each, current.get(each.name))]
    return {question.name for question in with_follow_ups(changed)}


def _is_same(asked: QuestionSpec, current: QuestionSpec | None) -> bool:
    return current is not None and current.answer_rev == asked.answer_rev
