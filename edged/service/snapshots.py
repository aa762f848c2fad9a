"""What was last seen of each camera: its state, its newest answers, and the frame they are about. For the page."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock

from edged.core.types import Answer, CameraState, Event, Frame


@dataclass(frozen=True, slots=True)
class CameraSnapshot:
    """One camera at one moment. A change makes a new object, so `is` tells whether anything has changed.

    `answers` has the newest answer of each question, `changes` the last change of its value since edged was started.
    `paused` has the questions that are paused themselves; a pause includes their follow-ups. `frame`, masked, is the
    newest that was analysed, `tried` that of the newest prompt which is not in the config; both None without a page.
    """

    state: CameraState | None = None
    active: bool = True
    paused: Collection[str] = ()
    looks: int = 0
    answers: Mapping[str, Answer] = field(default_factory=dict)
    changes: Mapping[str, Event] = field(default_factory=dict)
    frame: Frame | None = field(default=None, repr=False)
    tried: Frame | None = field(default=None, repr=False)


class Snapshots:
    """By camera. Writers are the looks and the cameras' threads; readers wait for no lock.

    `keep_frames` may be set at any time: while it is false, no frame is kept.
    """

    def __init__(self) -> None:
        self._lock = Lock()  # between writers
        self._cameras: Mapping[str, CameraSnapshot] = {}
        self._keep_frames = False

    @property
    def cameras(self) -> Mapping[str, CameraSnapshot]:
        """Not to be changed; the next change is in another mapping."""
        return self._cameras

    def keep_frames(self, keep: bool) -> None:
        with self._lock:
            self._keep_frames = keep
            if not keep:
                self._cameras = {name: replace(each, frame=None, tried=None) for name, each in self._cameras.items()}

    def state(self, name: str, state: CameraState) -> None:
        with self._lock:
            self._set(name, replace(self._get(name), state=state))

    def active(self, name: str, active: bool, paused: Collection[str] = ()) -> None:
        with self._lock:
            self._set(name, replace(self._get(name), active=active, paused=paused))

    def looked(self, name: str, answers: Sequence[Answer], events: Sequence[Event], frame: Frame | None) -> None:
        """The published outcome of a look."""
        with self._lock:
            before = self._get(name)
            after = replace(
                before,
                looks=before.looks + 1,
                answers={**before.answers, **{answer.question: answer for answer in answers}},
                changes={**_of_same_type(before, answers), **_changed(events)},
                frame=_newest(before.frame, frame) if self._keep_frames else None,
            )
            self._set(name, after)

    def tried(self, name: str, frame: Frame | None) -> None:
        """The outcome of a look that is not published."""
        with self._lock:
            if self._keep_frames and frame:
                self._set(name, replace(self._get(name), tried=frame))

    def forget_frame(self, name: str) -> None:
        """The camera's pictures have changed: it is another source, or has other masks."""
        with self._lock:
            self._set(name, replace(self._get(name), frame=None, tried=None))

    def forget_answers(self, name: str, questions: Collection[str]) -> None:
        """The answers of before say nothing about what these questions ask now, nor do their changes."""
        with self._lock:
            before = self._get(name)
            self._set(name, _with_questions(before, (before.answers.keys() | before.changes.keys()) - set(questions)))

    def forget_state(self, name: str) -> None:
        """The camera is opened again; its next state is the first."""
        with self._lock:
            self._set(name, replace(self._get(name), state=None))

    def keep(self, questions: Mapping[str, Collection[str]]) -> None:
        """Forget the cameras and questions that are not in `questions`, names of questions by camera."""
        with self._lock:
            self._cameras = {
                name: _with_questions(each, questions[name])
                for name, each in self._cameras.items()
                if name in questions
            }

    def _get(self, name: str) -> CameraSnapshot:
        return self._cameras.get(name) or CameraSnapshot()

    def _set(self, name: str, snapshot: CameraSnapshot) -> None:
        self._cameras = {**self._cameras, name: snapshot}


def _of_same_type(before: CameraSnapshot, answers: Sequence[Answer]) -> dict[str, Event]:
    """The changes before, without those of questions that have values of another type since a reload."""
    types = {name: answer.type for name, answer in before.answers.items()}
    other = {answer.question for answer in answers if types.get(answer.question) != answer.type}
    return {name: event for name, event in before.changes.items() if name not in other}


def _changed(events: Sequence[Event]) -> dict[str, Event]:
    return {event.question: event for event in events if event.kind == "changed"}


def _newest(before: Frame | None, frame: Frame | None) -> Frame | None:
    """A look may be overtaken by a request, which looks at the same time."""
    if frame is None or (before and before.captured_mono > frame.captured_mono):
        return before
    return frame


def _with_questions(snapshot: CameraSnapshot, names: Collection[str]) -> CameraSnapshot:
    if snapshot.answers.keys() | snapshot.changes.keys() <= set(names):
        return snapshot
    answers = {name: answer for name, answer in snapshot.answers.items() if name in names}
    changes = {name: event for name, event in snapshot.changes.items() if name in names}
    return replace(snapshot, answers=answers, changes=changes)
