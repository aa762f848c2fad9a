"""Labels by people: the next kept frame without one, its picture, and what a person says about its answers.

`GET /api/label` and each answer to `POST /api/label` is `{"keeps", "progress", "task", "label"}`: whether the config
keeps frames, how many there are, the next frame to label (null if there is none), and the label that was given or taken
back (null if none was). The routes wait for the disk in another thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edged.core.kept_frames import VERDICTS, FramesUnavailable, Label, LabelRefused, LabelTask
from edged.page.bodies import read_json
from edged.page.json_response import JsonResponse
from edged.service.observed import Observed

T = TypeVar("T")
KEYS = {"frame", "question", "verdict", "truth", "undo"}
PICTURE_TYPE = "image/webp"


class Labelling:
    """For the event loop's thread."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed

    def routes(self) -> list[Route]:
        return [
            Route("/api/label", self._next, methods=["GET"]),
            Route("/api/label", self._label, methods=["POST"]),
            Route("/api/label/{frame}", self._picture, methods=["GET"]),
        ]

    async def _next(self, request: Request) -> Response:
        return JsonResponse(await _read(lambda: self._state(None)))

    async def _label(self, request: Request) -> Response:
        """Body: `{"frame", "question", "verdict"?, "truth"?}`, or `{"undo": true}` for the label given last."""
        said = await read_json(request)
        if why := _problem(said):
            raise HTTPException(400, f"{why}\n")
        return JsonResponse(await _read(lambda: self._state(self._done(said))))

    async def _picture(self, request: Request) -> Response:
        """A kept frame. Only a name that is in the store reaches the file system."""
        data = await _read(lambda: self._observed.frames().read(request.path_params["frame"]))
        if data is None:
            raise HTTPException(404, "there is no such frame\n")
        headers = {"Cache-Control": "private, max-age=3600"}  # a name belongs to one picture for ever
        return Response(data, media_type=PICTURE_TYPE, headers=headers)

    def _done(self, said: Mapping[str, Any]) -> Label | None:
        frames = self._observed.frames()
        if said.get("undo"):
            return frames.undo()
        return frames.label(said["frame"], said["question"], said.get("verdict"), said.get("truth"))

    def _state(self, label: Label | None) -> dict[str, Any]:
        frames = self._observed.frames()
        task = frames.next_unlabelled()
        return {
            "keeps": self._observed.config().frames is not None,
            "progress": asdict(frames.progress()),
            "task": _shown(task) if task else None,
            "label": asdict(label) if label else None,
        }


def _problem(said: Mapping[str, Any]) -> str | None:
    """Why this is no label and no undo; None if it is."""
    if not said.keys() <= KEYS:
        return "the body must be an object with frame, question, and verdict or truth, or undo"
    if "undo" in said:
        return None if said["undo"] is True and len(said) == 1 else "undo must be true, and alone"
    if not isinstance(said.get("frame"), str) or not isinstance(said.get("question"), str):
        return "frame and question must be texts"
    if said.get("verdict") not in (*VERDICTS, None):
        return f"verdict must be one of {', '.join(VERDICTS)}"
    return None


def _shown(task: LabelTask) -> dict[str, Any]:
    """The frame with the answers that still need a label."""
    labelled = {label.question for label in task.labels}
    frame = task.frame
    answers = [answer.to_json() for answer in frame.answers if answer.asked and answer.question not in labelled]
    return {
        "frame": frame.name,
        "camera": frame.camera,
        "ts": frame.ts,
        "why": frame.why,
        "answers": answers,
        "of": sum(answer.asked for answer in frame.answers),
    }


async def _read(read: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(read)
    except LabelRefused as error:
        raise HTTPException(400, f"{error}\n") from None
    except FramesUnavailable as error:
        raise HTTPException(503, f"{error}\n") from None
