"""One camera that is looked at: its spec, its source, its state, and what its looks left behind.

Everything that is published about a camera goes through its runtime, under one lock. A retired runtime publishes
nothing, and no answer to a question that a reload has removed or changed leaves it: who is called back by an old
camera, or comes out of a look that began before the reload, speaks for something that has ended.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from edged.core import alerts
from edged.core.interfaces import Camera, Publisher
from edged.core.outage import Outage
from edged.core.specs import CameraSpec, QuestionSpec
from edged.core.types import Answer, CameraState, Event, utc_now
from edged.service.judging import new_id

log = logging.getLogger("edged.look")


@dataclass(frozen=True, slots=True)
class LastAnswer:
    """How a question, with its follow-ups, was last answered.

    `thumbnail` is of the frame that the model was asked about, at `asked_at` (monotonic). `looked_at` is when the look
    began that answered it last, perhaps by repeating the answer for an unchanged picture; `every` counts from there.
    """

    answer_rev: str
    model_rev: str | None
    answers: tuple[Answer, ...]
    thumbnail: Any
    asked_at: float
    looked_at: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a look says to one question and its follow-ups. `last` is what is remembered of it: None for refusals."""

    question: QuestionSpec
    answers: tuple[Answer, ...]
    last: LastAnswer | None = None


class CameraRuntime:
    """A camera in service. `spec` and `config_rev` change with a reload and are read once a look."""

    def __init__(self, spec: CameraSpec, config_rev: str, publisher: Callable[[], Publisher]) -> None:
        self.spec = spec
        self.config_rev = config_rev
        self.looks = 0
        self.unexpected = Outage(f"camera {spec.name}", log, "looks work again")
        self._publisher = publisher
        self._camera: Camera | None = None
        self._lock = Lock()  # over all that follows; held while publishing, never while a camera is started or closed
        self._retired = False
        self._state: CameraState | None = None
        self._last: dict[str, LastAnswer] = {}
        self._histories: dict[tuple[str, str], alerts.History] = {}

    # the source

    @property
    def camera(self) -> Camera:
        assert self._camera, "use() comes first"
        return self._camera

    @property
    def online(self) -> bool:
        return bool(self._state and self._state.online)

    def use(self, camera: Camera) -> None:
        self._camera = camera

    def report(self, state: CameraState) -> None:
        """The camera's state changed. For the camera's thread; does nothing once the runtime is retired."""
        with self._lock:
            if not self._retired:
                self._state = state
                self._publisher().camera(self.spec.name, state)

    def report_again(self) -> None:
        """To another broker."""
        with self._lock:
            if self._state and not self._retired:
                self._publisher().camera(self.spec.name, self._state)

    # a reload

    def adopt(self, spec: CameraSpec, config_rev: str) -> None:
        """Take another spec of the same source; what is remembered of questions that are gone is forgotten."""
        with self._lock:
            self.spec, self.config_rev = spec, config_rev
            self._forget_gone()

    def inherit(self, before: CameraRuntime) -> None:
        """Remember what the runtime before this one knew of the same camera; not the answers about other pictures."""
        same = (before.spec.source, before.spec.mask) == (self.spec.source, self.spec.mask)
        with before._lock:  # of the same class
            self._last = dict(before._last) if same else {}
            self._histories, self.looks = dict(before._histories), before.looks
        self._forget_gone()

    def _forget_gone(self) -> None:
        names = {question.name for question in self.spec.all_questions()}
        self._last = {name: last for name, last in self._last.items() if name in names}
        self._histories = {key: history for key, history in self._histories.items() if key[0] in names}

    def retire(self, reason: str | None = None) -> None:
        """Publish nothing more, after `offline` for this reason if one is given. The source is still to be closed."""
        with self._lock:
            if reason and not self._retired:
                self._publisher().camera(self.spec.name, CameraState(False, reason, utc_now()))
            self._retired = True
        self.unexpected.forget(lambda _: True)

    def forget_answers(self) -> None:
        """Another model answers from now on: ask everything anew at the next look."""
        with self._lock:
            self._last = {}

    # a look

    def current(self) -> tuple[CameraSpec, str]:
        """The spec, and the revision of the config that it is from."""
        with self._lock:
            return self.spec, self.config_rev

    def due(self, spec: CameraSpec) -> list[QuestionSpec]:
        """The questions whose own interval has passed, or that were changed; a tick a little early still counts."""
        now = time.monotonic()
        return [question for question in spec.questions if _is_due(question, self.last_answer(question), now)]

    def asks(self, name: str) -> bool:
        """Whether it still asks this question, a follow-up excepted, or anything at all for the name ""."""
        with self._lock:
            return not self._retired and (not name or name in [question.name for question in self.spec.questions])

    def last_answer(self, question: QuestionSpec) -> LastAnswer | None:
        """How this very question was last answered, if it was."""
        with self._lock:
            last = self._last.get(question.name)
        return last if last and last.answer_rev == question.answer_rev else None

    def publish(self, outcomes: Sequence[Outcome], image: bytes | None) -> None:
        """Remember and publish what a look says, less what a reload has ended meanwhile. Raises ValueError."""
        with self._lock:
            if self._retired:
                return
            current = {question.name: question for question in self.spec.questions}
            live = [one for one in outcomes if _same(one.question, current.get(one.question.name))]
            answers = [answer for one in live for answer in one.answers]
            questions = {question.name: question for question in self.spec.all_questions()}
            stepped = [self._stepped(answer, questions[answer.question]) for answer in answers]
            events = [event for _, _, changes in stepped for event in changes]
            if answers:
                self._publisher().answers(answers, events, image if self.spec.image else None)
            self._histories |= {key: history for key, history, _ in stepped}
            self._last |= {one.question.name: one.last for one in live if one.last}
            self.looks += 1

    def _stepped(self, answer: Answer, question: QuestionSpec) -> tuple[tuple[str, str], alerts.History, list[Event]]:
        key, at = (answer.question, answer.type), utc_now()
        history, changes = alerts.step(self._histories.get(key, alerts.History()), answer, question.alert, at)
        events = [
            Event(new_id(), answer.camera, answer.question, change.kind, change.before, change.after, change.since, at)
            for change in changes
        ]
        return key, history, events


def _same(asked: QuestionSpec, current: QuestionSpec | None) -> bool:
    return current is not None and current.answer_rev == asked.answer_rev


def _is_due(question: QuestionSpec, last: LastAnswer | None, now: float) -> bool:
    every = question.every_s or 0.0
    return last is None or now - last.looked_at >= every - min(1.0, every * 0.05)
