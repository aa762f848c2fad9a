"""What is paused: whole cameras, and single questions. Remembered over a restart."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from edged.core.interfaces import Store
from edged.core.specs import CameraSpec, Config, QuestionSpec
from edged.core.types import Fact

ACTIVE = "active"  # the kind of facts: what is paused, by camera or `camera/question`


class Pauses:
    """For any thread, but only the main thread changes them. `store` is the facts' store.

    A pause that the store reads only after this was created is not in force: see `found_late`.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.facts: Mapping[str, Any] = store.facts(ACTIVE)  # not changed, but replaced
        self._active_since: dict[str, float] = {}  # cameras that were resumed
        self._begun_ts = round(time.time(), 3)

    def is_active(self, camera: str, question: str | None = None) -> bool:
        """True if this camera or question is not paused itself."""
        return _name(camera, question) not in self.facts

    def paused(self, spec: CameraSpec) -> dict[str, str]:
        """The questions of this camera that are not asked now, each with the reason. A pause includes follow-ups."""
        facts = self.facts
        if spec.name in facts:
            return {question.name: f'camera "{spec.name}" is paused' for question in spec.all_questions()}
        return dict(_paused(spec.questions, spec.name, facts)) if facts else {}

    def state(self, spec: CameraSpec) -> dict[str, Any]:
        """The payload of `<camera>/active`. A question is `true` if it is not paused itself."""
        facts = self.facts
        active = spec.name not in facts
        since = self._active_since.get(spec.name, self._begun_ts) if active else _since(facts[spec.name])
        questions = {question.name: _name(spec.name, question.name) not in facts for question in spec.all_questions()}
        return {"active": active, "questions": questions, "since": since}

    def set(self, camera: str, question: str | None, active: bool) -> None:
        """Pause or resume."""
        now = round(time.time(), 3)
        if active and question is None:
            self._active_since[camera] = now
        self._change({_name(camera, question): None if active else {"since": now}})

    def confirm(self, camera: str, question: str | None) -> None:
        """Leave it as it is, whatever an earlier process left in a store that cannot be read yet."""
        name = _name(camera, question)
        self._change({name: self.facts.get(name)})

    def restore(self, facts: Mapping[str, Any]) -> None:
        """Pause what was paused when `facts` was read from this object, and nothing else."""
        names = self.facts.keys() | facts.keys()
        self._change({name: facts.get(name) for name in sorted(names) if facts.get(name) != self.facts.get(name)})

    def keep(self, config: Config) -> None:
        """Forget the pauses of cameras and questions that this config does not have."""
        kept = {camera.name for camera in config.cameras}
        kept |= {_name(spec.name, question.name) for spec in config.cameras for question in spec.all_questions()}
        self._change(dict.fromkeys(sorted(set(self._store.facts(ACTIVE)) - kept)))

    def found_late(self) -> list[tuple[str, str | None]]:
        """Cameras, and questions of cameras, that an earlier process had paused and that are not paused here."""
        names = sorted(self._store.facts(ACTIVE).keys() - self.facts.keys())
        return [(camera, question or None) for camera, _, question in (name.partition("/") for name in names)]

    def _change(self, changes: Mapping[str, Any]) -> None:
        self._store.remember([Fact(ACTIVE, name, value) for name, value in changes.items()])
        self.facts = {name: value for name, value in {**self.facts, **changes}.items() if value is not None}


def _name(camera: str, question: str | None) -> str:
    return camera if question is None else f"{camera}/{question}"


def _paused(
    questions: tuple[QuestionSpec, ...], camera: str, facts: Mapping[str, Any], above: str | None = None
) -> Iterator[tuple[str, str]]:
    for question in questions:
        paused = question.name if _name(camera, question.name) in facts else above
        if paused:
            yield question.name, f'question "{paused}" is paused'
        yield from _paused(question.then, camera, facts, paused)


def _since(stored: Any) -> float:
    try:
        return float(stored["since"])
    except (KeyError, TypeError, ValueError):
        return 0.0
