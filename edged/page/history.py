"""`/api/history`: the answers to a question over a period, as runs. Contract.

The store is read in another thread, one request at a time, and not for longer than a person waits.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from edged.core.errors import EdgedError
from edged.core.intervals import expiry_s
from edged.core.specs import CameraSpec, Config, QuestionSpec
from edged.page.json_response import JsonResponse
from edged.page.readings import Readings
from edged.page.reduction import Reduction
from edged.service.observed import Observed
from edged.service.time_zone import zone

DAY_S = 86_400.0
LONGEST_S = 7 * DAY_S
READ_S = 20.0
CHECK = 500  # answers from one pause to the next
PAUSE_S = 0.005  # in which a look has the interpreter for itself
NOT_KEPT = "The config has history: false, so answers are not kept.\n"
NO_NAMES = "camera and question are needed: /api/history?camera=NAME&question=NAME&since=SECONDS\n"
NO_PERIOD = "since must be a number of seconds greater than 0.\n"
TOO_LONG = f"Reading the answers took longer than {READ_S:.0f} s; choose a shorter period.\n"


class HistoryApi:
    """For the event loop's thread."""

    def __init__(self, observed: Observed, readings: Readings) -> None:
        self._observed = observed
        self._readings = readings
        self._one_at_a_time = asyncio.Lock()
        self._closed = threading.Event()

    def close(self) -> None:
        """End a reading."""
        self._closed.set()

    async def respond(self, request: Request) -> Response:
        wanted = _wanted(request, self._observed.config())
        async with self._one_at_a_time:
            if await request.is_disconnected():  # while it waited
                return Response()
            return JsonResponse(await asyncio.to_thread(self._read, wanted))

    def _read(self, wanted: _Wanted) -> dict[str, Any]:
        now = time.time()
        since = now - wanted.period_s
        reduction = Reduction(wanted.kind, since, now, wanted.expires_s)
        try:
            self._fill(reduction, wanted, since)
        except EdgedError as error:
            raise HTTPException(503, f"{error}\n") from None
        return {
            "camera": wanted.camera,
            "question": wanted.question,
            "type": wanted.kind,
            "since_ts": round(since, 3),
            "now_ts": round(now, 3),
            "kept_s": wanted.kept_s,
            "timezone": wanted.timezone,
            **reduction.result(),
        }

    def _fill(self, reduction: Reduction, wanted: _Wanted, since: float) -> None:
        end = time.monotonic() + READ_S
        for number, answer in enumerate(self._readings.past_answers(wanted.camera, wanted.question, since)):
            if number % CHECK == 0 and (self._closed.wait(PAUSE_S) or time.monotonic() > end):
                raise HTTPException(503, TOO_LONG)
            reduction.add(answer)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a request asks for. `period_s` is at least 1, and at most what is kept."""

    camera: str
    question: str
    kind: str
    expires_s: float
    period_s: float
    kept_s: float
    timezone: str


def _wanted(request: Request, config: Config) -> _Wanted:
    """Raises HTTPException with a sentence."""
    camera, question = _named(request, config)
    period_s = _period_s(request.query_params.get("since", str(DAY_S)))
    if config.history is None:
        raise HTTPException(404, NOT_KEPT)
    return _Wanted(
        camera=camera.name,
        question=question.name,
        kind=question.answer.kind,
        expires_s=expiry_s(camera, question.every_s),
        period_s=max(1.0, min(period_s, LONGEST_S, config.history.keep_s)),
        kept_s=config.history.keep_s,
        timezone=str(zone(config.timezone)),
    )


def _named(request: Request, config: Config) -> tuple[CameraSpec, QuestionSpec]:
    camera_name, question_name = request.query_params.get("camera"), request.query_params.get("question")
    if not camera_name or not question_name:
        raise HTTPException(400, NO_NAMES)
    camera = config.camera(camera_name)
    if camera is None:
        raise HTTPException(404, "there is no such camera\n")
    for question in camera.all_questions():
        if question.name == question_name:
            return camera, question
    raise HTTPException(404, "this camera has no such question\n")


def _period_s(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise HTTPException(400, NO_PERIOD) from None
    if not (math.isfinite(seconds) and seconds > 0):
        raise HTTPException(400, NO_PERIOD)
    return seconds
