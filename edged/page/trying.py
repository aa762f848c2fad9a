"""`POST /api/try`: a prompt that is not in the config, asked about a fresh frame, as a request over MQTT would be.

The answer is the payload that a request over MQTT gets, with two more keys: `tokens`, for each step at which more than
one token was open the chosen one and the likeliest others, and `yaml`, the lines of the config for this question (null
if a config file cannot hold it).
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from dataclasses import asdict, replace
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response as HttpResponse

from edged.config import ad_hoc
from edged.config.requests import parse
from edged.config.written import as_question
from edged.core.errors import EdgedError
from edged.core.payloads import answer_payload, encode
from edged.core.requests import FULL, STOPPING, AdHoc, AskRequest, Received, Response
from edged.core.types import Answer
from edged.page.bodies import read_json_bytes
from edged.page.feed import left
from edged.service.observed import Observed
from edged.service.requests import STARTING, UNEXPECTED

LIMIT_S = 120.0  # for an answer, with everything that it waits for
MARGIN_S = 10.0  # for edged to say itself that it was too slow
NOT_ALLOWED = "Prompts are not allowed; mqtt: {allow_prompts: true} in the config allows them.\n"
TOO_SLOW = f"There was no answer within {LIMIT_S:.0f} s.\n"
SOON_OVER = {FULL, STOPPING, STARTING}


class Trying:
    """For the event loop's thread."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed

    async def respond(self, request: Request) -> HttpResponse:
        """Raises HTTPException with a sentence."""
        if not self._observed.config().mqtt.allow_prompts:
            raise HTTPException(403, NOT_ALLOWED)
        asked, prompt = _asked(await read_json_bytes(request))
        lines = await asyncio.to_thread(self._lines, asked.camera, prompt)
        response = await self._response(asked, request)
        if not isinstance(response.data, Answer):
            raise HTTPException(_status(response.error), f"{response.error}\n")
        return HttpResponse(self._payload(response.data, lines), media_type="application/json")

    def _lines(self, camera: str, prompt: AdHoc) -> str | None:
        """The lines of the config for a prompt; raises HTTPException for one that is not valid. May take a second."""
        config = self._observed.config()
        spec = config.camera(camera)
        if spec is None:
            raise HTTPException(404, "there is no such camera\n")
        try:
            ad_hoc.question(config, spec, prompt)
        except EdgedError as error:
            raise HTTPException(400, f"{error}\n") from None
        return as_question(prompt, [question.name for question in config.all_questions()])

    async def _response(self, asked: AskRequest, request: Request) -> Response:
        """What edged responds. A browser that leaves, or is not answered in time, takes back what was not begun."""
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Response] = loop.create_future()
        taken_back = threading.Event()

        def settle(response: Response) -> None:
            if not answered.done():
                answered.set_result(response)

        def respond(response: Response) -> None:
            with suppress(RuntimeError):  # the page was closed meanwhile
                loop.call_soon_threadsafe(settle, response)

        leaving = asyncio.ensure_future(left(request.receive))
        try:
            self._observed.receive(Received(asked, respond, abandoned=taken_back.is_set))
            ended: list[asyncio.Future[Any]] = [answered, leaving]
            await asyncio.wait(ended, timeout=LIMIT_S + MARGIN_S, return_when=asyncio.FIRST_COMPLETED)
            if answered.done():
                return answered.result()
            raise HTTPException(504, TOO_SLOW)
        finally:
            taken_back.set()
            leaving.cancel()

    def _payload(self, answer: Answer, lines: str | None) -> bytes:
        payload = answer_payload(answer, self._observed.config().node, late=False)
        tokens = [asdict(choice) for choice in answer.tokens]
        return encode({**payload, "question": None, "tokens": tokens, "yaml": lines})


def _asked(body: bytes) -> tuple[AskRequest, AdHoc]:
    parsed = parse("ask", body)
    match parsed.request:
        case AskRequest(_, _, AdHoc() as prompt, deadline_s):
            limit_s = min(deadline_s or LIMIT_S, LIMIT_S)
            return replace(parsed.request, deadline_s=limit_s, keep_tokens=True), prompt
    raise HTTPException(400, f"{parsed.error or 'prompt is missing; it must be text'}\n")


def _status(error: str | None) -> int:
    if error in SOON_OVER:
        return HTTPStatus.SERVICE_UNAVAILABLE
    return HTTPStatus.INTERNAL_SERVER_ERROR if error == UNEXPECTED else HTTPStatus.BAD_REQUEST
