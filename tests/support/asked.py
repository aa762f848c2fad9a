"""Requests to a service on fakes, and the responses."""

from __future__ import annotations

import threading
from typing import Any

from edged.core.requests import Received, Request, Response
from edged.core.types import Answer
from edged.service.requests import Requests
from support.broker import until


class Asked:
    """One request that was handed to `requests`, and every response that it got."""

    def __init__(self, requests: Requests, request: Request, expires_at: float | None = None) -> None:
        self.responses: list[Response] = []
        self.threads: list[str] = []
        requests.receive(Received(request, self._respond, expires_at))

    def _respond(self, response: Response) -> None:
        self.threads.append(threading.current_thread().name)
        self.responses.append(response)

    @property
    def response(self) -> Response:
        until(lambda: self.responses, 20.0)
        assert len(self.responses) == 1
        return self.responses[0]

    @property
    def data(self) -> Any:
        assert self.response.error is None, self.response.error
        return self.response.data

    @property
    def error(self) -> str:
        assert self.response.error, self.response.data
        return self.response.error

    @property
    def answer(self) -> Answer:
        assert isinstance(self.data, Answer)
        return self.data

    def statuses(self) -> dict[str, str]:
        """Of the answers to a `look`, by question."""
        return {answer.question: answer.status for answer in self.data}


class Gate:
    """A reply of the fake model that waits until the test opens the gate; `waiting` is set while it does."""

    def __init__(self, reply: str = "Yes") -> None:
        self.reply = reply
        self.waiting = threading.Event()
        self.open = threading.Event()

    def __call__(self) -> str:
        self.waiting.set()
        assert self.open.wait(20), "the gate was not opened"
        return self.reply

    def wait(self) -> None:
        assert self.waiting.wait(20), "the question was not asked"
