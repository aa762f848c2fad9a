"""The runtime state of one camera: its spec, its source, its state, and the results of its last looks.

Everything that is published about a camera goes through its runtime, under one lock. So nothing is published by a
retired runtime, whose camera may still report, and no answer to a question that a reload has removed or changed, even
if the look began before the reload.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from threading import Lock
from types import MappingProxyType
from typing import Any

from edged.core import alerts
from edged.core.interfaces import Camera, Publisher
from edged.core.outage import Outage
from edged.core.specs import CameraSpec, QuestionSpec
from edged.core.types import Answer, CameraState, Event, Fact, utc_now
from edged.service.judging import new_id
from edged.service.look_meter import LookMeter
from edged.service.model_outage import ModelCall
from edged.service.outcomes import LastAnswer, Outcome

log = logging.getLogger("edged.look")


ALERT = "alert"  # the kind of facts that hold the history of a question, by its name of `fact_names`


class CameraRuntime:
    """A camera in service. `publisher` returns the current one, which a reload may replace.

    `remembered` has the facts of the kind ALERT. `time_zone` is that of the config, for the quiet hours of alerts.
    """

    def __init__(
        self,
        spec: CameraSpec,
        config_rev: str,
        publisher: Callable[[], Publisher],
        remembered: Mapping[str, Any] = MappingProxyType({}),
        time_zone: tzinfo = UTC,
    ) -> None:
        self.spec = spec
        self.config_rev = config_rev
        self.looks = 0
        self.meter = LookMeter()
        self.unexpected = Outage(f"camera {spec.name}", log, "looks work again")
        self._publisher = publisher
        self._camera: Camera | None = None
        self._lock = Lock()  # for all that follows; held while publishing, never while a camera is started or closed
        self._retired = False
        self._state: CameraState | None = None
        self._last: dict[str, LastAnswer] = {}
        self._histories = _histories(spec, remembered)
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

    def report(self, state: CameraState) -> None:
        """Publish the camera's new state. For the camera's thread. Does nothing once the runtime is retired."""
        with self._lock:
            if not self._retired:
                self._state = state
                self._publisher().camera(self.spec.name, state)

    def report_again(self) -> None:
        """Publish the camera's state to another broker."""
        with self._lock:
            if self._state and not self._retired:
                self._publisher().camera(self.spec.name, self._state)

    # a reload

    def adopt(self, spec: CameraSpec, config_rev: str, time_zone: tzinfo = UTC) -> None:
        """Take a new spec with the same source. Forgets the answers to questions that are gone."""
        with self._lock:
            self.spec, self.config_rev, self._time_zone = spec, config_rev, time_zone
            self._forget_gone()

    def inherit(self, before: CameraRuntime) -> None:
        """Take over the memory of this camera's previous runtime; its answers only if the pictures are the same."""
        same_pictures = before.spec.pictures == self.spec.pictures
        with before._lock:  # another object of this class
            self._last = dict(before._last) if same_pictures else {}
            self._histories, self.looks, self.meter = dict(before._histories), before.looks, before.meter
        self._forget_gone()

    def _forget_gone(self) -> None:
        names = {question.name for question in self.spec.all_questions()}
        self._last = {name: last for name, last in self._last.items() if name in names}
        self._histories = {key: history for key, history in self._histories.items() if key[0] in names}
        self.meter.keep(names)

    def retire(self, reason: str | None = None) -> None:
        """Publish `offline` if there is a `reason`, and nothing after that. Does not close the source."""
        with self._lock:
            if reason and not self._retired:
                self._publisher().camera(self.spec.name, CameraState(False, reason, utc_now()))
            self._retired = True
        self.unexpected.forget(lambda _: True)

    def forget_answers(self) -> None:
        """Ask every question again at the next look, because the model was replaced."""
        with self._lock:
            self._last = {}

    # a look

    def current(self) -> tuple[CameraSpec, str]:
        """The spec and the revision of its config. A look reads them once, because a reload may change them."""
        with self._lock:
            return self.spec, self.config_rev

    def due(self, spec: CameraSpec) -> list[QuestionSpec]:
        """The questions whose own interval has passed, with 5 % tolerance (1 s at most), or that were changed."""
        now = time.monotonic()
        return [question for question in spec.questions if _is_due(question, self.last_answer(question), now)]

    def makes(self, call: ModelCall) -> bool:
        """True if the next looks make this call of the model."""
        with self._lock:
            return not self._retired and call.is_made_for(self.spec.questions)

    def last_answer(self, question: QuestionSpec) -> LastAnswer | None:
        """How this question was last answered; None if it was not, or if it was changed since."""
        with self._lock:
            last = self._last.get(question.name)
        return last if last and last.answer_rev == question.answer_rev else None

    def publish(self, outcomes: Sequence[Outcome], image: bytes | None) -> None:
        """Remember and publish the outcomes of a look, except of questions that a reload removed or changed meanwhile.

        Raises ValueError, and remembers nothing, if an answer cannot be encoded as JSON.
        """
        with self._lock:
            if self._retired:
                return
            current = {question.name: question for question in self.spec.questions}
            live = [outcome for outcome in outcomes if _is_same(outcome.question, current.get(outcome.question.name))]
            answers = [answer for outcome in live for answer in outcome.answers]
            questions = {question.name: question for question in self.spec.all_questions()}
            now = alerts.Now(datetime.now(self._time_zone), time.monotonic())
            steps = [self._step(answer, questions[answer.question], now) for answer in answers]
            events = [event for _, _, changes in steps for event in changes]
            if answers:
                picture = image if self.spec.image else None
                self._publisher().answers(answers, events, picture, self._changed_facts(steps))
            self._histories |= {key: history for key, history, _ in steps}
            self._last |= {outcome.question.name: outcome.last for outcome in live if outcome.last}
            self.looks += 1
            self.meter.add(answers)

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
        history, changes = alerts.step(self._histories.get(key, alerts.History()), answer, question.alert, now)
        return key, history, [_event(answer, change, now.at) for change in changes]


def _event(answer: Answer, change: alerts.Change, at: datetime) -> Event:
    return Event(
        id=new_id(),
        camera=answer.camera,
        question=answer.question,
        kind=change.kind,
        before=change.before,
        after=change.after,
        since=change.since,
        at=at,
        value=answer.value,
    )


def fact_names(spec: CameraSpec) -> dict[tuple[str, str], str]:
    """The name of the fact for each question, by the question's name and type."""
    keys = [(question.name, question.answer.kind) for question in spec.all_questions()]
    return {key: _fact_name(spec.name, *key) for key in keys}


def _fact_name(camera: str, question: str, kind: str) -> str:
    """`kind` is that of the answer: a question whose type was changed begins anew."""
    return f"{camera}/{question}/{kind}"


def _histories(spec: CameraSpec, remembered: Mapping[str, Any]) -> dict[tuple[str, str], alerts.History]:
    return {key: alerts.from_json(remembered[name]) for key, name in fact_names(spec).items() if name in remembered}


def _is_same(asked: QuestionSpec, current: QuestionSpec | None) -> bool:
    return current is not None and current.answer_rev == asked.answer_rev


def _is_due(question: QuestionSpec, last: LastAnswer | None, now: float) -> bool:
    every = question.every_s or 0.0
    return last is None or now - last.looked_at >= every - min(1.0, every * 0.05)
