"""Looks that somebody has requested, due or not. Each request ends at its time limit `until` (monotonic)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from edged.config import ad_hoc
from edged.config.phrases import shown, suggestion
from edged.core.errors import EdgedError, Stopped
from edged.core.requests import AdHoc
from edged.core.specs import CameraSpec, Config, QuestionSpec, with_follow_ups
from edged.core.types import Answer
from edged.service.camera_runtime import CameraRuntime
from edged.service.service import Service

POLL_S = 0.1  # while a camera is being opened again


class RequestedLooks:
    """For any thread. Everything raises EdgedError with a sentence for the requester, or Stopped once `closing` is set.

    A camera or a model that has failed raises nothing: the answers say so.
    """

    def __init__(self, service: Service, closing: threading.Event) -> None:
        self._service = service
        self._closing = closing

    def look(self, camera: str, until: float) -> list[Answer]:
        """The answers to every question of the camera."""
        return self._answers(camera, lambda spec: spec.questions, until)

    def ask(self, camera: str, name: str, until: float) -> Answer:
        """The answer to this question of the config. A follow-up is asked after the question that it follows."""
        answers = self._answers(camera, lambda spec: [asked_with(spec, name)], until)
        return next(answer for answer in answers if answer.question == name)

    def ask_ad_hoc(self, camera: str, prompt: AdHoc, until: float, keep_tokens: bool = False) -> Answer:
        """The answer to a prompt that is not in the config. It is not published."""

        def questions(spec: CameraSpec) -> list[QuestionSpec]:
            return [replace(self._ad_hoc(spec, prompt), keep_tokens=keep_tokens)]

        return self._answers(camera, questions, until, published=False)[0]

    def _ad_hoc(self, spec: CameraSpec, prompt: AdHoc) -> QuestionSpec:
        question = ad_hoc.question(self._service.config, spec, prompt)
        for model in self._service.queue.models():
            model.check([question])
        return question

    def _answers(
        self,
        camera: str,
        questions: Callable[[CameraSpec], Sequence[QuestionSpec]],
        until: float,
        published: bool = True,
    ) -> list[Answer]:
        """Looks again if a reload or a pause replaces the camera meanwhile."""
        while True:
            runtime = self._runtime(camera, until)
            current = runtime.current()
            asked = questions(current[0])
            try:
                answers = self._service.looks.request(runtime, current, asked, until, published)
            except Stopped:
                if not runtime.retired:
                    raise
            else:
                if not runtime.retired:
                    return answers

    def _runtime(self, camera: str, until: float) -> CameraRuntime:
        """The camera's runtime. While it is being replaced, this waits for the next one."""
        while True:
            runtime = self._service.cameras.get(camera)
            if runtime and not runtime.retired:
                return runtime
            known_camera(self._service.config, camera)
            if time.monotonic() >= until:
                raise EdgedError(f"camera {shown(camera)} is being opened again; try again later")
            if self._closing.wait(POLL_S):
                raise Stopped


def known_camera(config: Config, name: str) -> CameraSpec:
    """Raises EdgedError if the config has no such camera."""
    if spec := config.camera(name):
        return spec
    raise EdgedError(_unknown("a camera", name, [camera.name for camera in config.cameras]))


def asked_with(spec: CameraSpec, name: str) -> QuestionSpec:
    """The question of this name, or the one that it follows. Raises EdgedError."""
    for question in spec.questions:
        if name in [each.name for each in with_follow_ups([question])]:
            return question
    known = [question.name for question in spec.all_questions()]
    raise EdgedError(_unknown(f"a question of camera {shown(spec.name)}", name, known))


def _unknown(kind: str, name: str, known: Sequence[str]) -> str:
    """`"dok" is not a camera (dock, yard). Did you mean "dock"?`"""
    return f"{shown(name)} is not {kind} ({', '.join(known) or 'there is none'}){suggestion(name, known)}"
