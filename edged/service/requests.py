"""Carries out requests: looks in a thread for each, everything else in the main thread."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from edged.core.errors import EdgedError, Stopped
from edged.core.requests import (
    FULL,
    MOST_WAITING,
    STOPPING,
    ActiveRequest,
    AdHoc,
    AskRequest,
    InfoRequest,
    LookRequest,
    Received,
    Request,
    Response,
)
from edged.service import bridge
from edged.service.requested_looks import RequestedLooks, asked_with, known_camera
from edged.service.service import Service

log = logging.getLogger("edged.requests")

THREADS = MOST_WAITING  # a request that waited for a thread would not notice that its deadline passes
LIMIT_S = 300.0  # for a request without a deadline, with everything that it waits for
JOIN_S = 5.0
STARTING = "edged is starting; its model is not loaded yet"
EXPIRED = "the request expired before it was begun"
UNEXPECTED = "unexpected error; see edged's log"


class Requests:
    """Every request that was received gets exactly one response. `to_main` hands one to the main thread."""

    def __init__(self, service: Service, to_main: Callable[[Received], None]) -> None:
        self._service = service
        self._to_main = to_main
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._requested = RequestedLooks(service, self._closing)
        self._refusal: str | None = STARTING  # to every request
        self._open: dict[int, Received] = {}  # without a response, by identity
        self._carried_out: dict[int, Response] = {}  # of those, what is sent once it is on disk
        self._looks: deque[tuple[Received, float]] = deque()  # and when (monotonic) each arrived
        self._threads = [
            threading.Thread(target=self._work, name=f"request-{number}", daemon=True)
            for number in range(1, THREADS + 1)
        ]

    def start(self) -> None:
        """Accept requests from now on."""
        for thread in self._threads:
            thread.start()
        with self._changed:
            self._refusal = None

    def receive(self, received: Received, local: bool = False) -> None:
        """For any thread; returns at once. `local`: accepted also while too many requests of the broker wait."""
        with self._changed:
            full = len(self._open) >= MOST_WAITING and not local
            refusal = self._refusal or (FULL if full else None)
            if refusal is None:
                self._open[id(received)] = received
            if refusal is None and isinstance(received.request, AskRequest | LookRequest):
                self._looks.append((received, time.monotonic()))
                self._changed.notify()
                return
        if refusal:
            _respond(received, Response(error=refusal))
        else:
            self._to_main(received)

    def finish(self, received: Received, response: Response) -> None:
        """Respond, unless the request has its response."""
        with self._changed:
            self._carried_out.pop(id(received), None)
            if self._open.pop(id(received), None) is None:
                return
        _respond(received, response)

    def close(self) -> bool:
        """Tell every requester that edged is stopping. Takes 5 s at most; false if a request still runs then."""
        self._closing.set()
        with self._changed:
            self._refusal = STOPPING
            self._looks.clear()
            stopping = Response(error=STOPPING)
            unanswered = [(each, self._carried_out.get(key, stopping)) for key, each in self._open.items()]
            self._changed.notify_all()
        for received, response in unanswered:
            self.finish(received, response)
        end = time.monotonic() + JOIN_S
        begun = [thread for thread in self._threads if thread.ident]
        for thread in begun:
            thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in begun)

    def carry_out(self, received: Received, problems: Sequence[str] = ()) -> None:
        """Carry out and respond. For the main thread. `problems`: of the config, for `info`."""
        self._carry_out(received, partial(self._main_response, received.request, problems))

    def _carry_out(self, received: Received, act: Callable[[], Response]) -> None:
        try:
            response = Response(error=EXPIRED) if is_expired(received) else act()
        except Stopped:
            response = Response(error=STOPPING)
        except EdgedError as error:
            response = Response(error=str(error))
        except Exception:
            log.exception("unexpected error in a request")
            response = Response(error=UNEXPECTED)
        if response.error is None and _changes(received.request):
            self._finish_once_stored(received, response)
        else:
            self.finish(received, response)

    def _finish_once_stored(self, received: Received, response: Response) -> None:
        """Respond when all that was changed is on disk, so that no crash undoes what the requester was told.

        A disk that cannot be written delays nothing.
        """
        with self._changed:
            self._carried_out[id(received)] = response
        self._service.store.write([], [], lambda _: self.finish(received, response))

    # looks, in the threads

    def _work(self) -> None:
        while waiting := self._next():
            received, arrived_at = waiting
            self._carry_out(received, partial(self._look_response, received.request, arrived_at))

    def _next(self) -> tuple[Received, float] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._looks or self._closing.is_set())
            return self._looks.popleft() if self._looks else None

    def _look_response(self, request: Request, arrived_at: float) -> Response:
        match request:
            case LookRequest(camera):
                return Response(self._requested.look(camera, arrived_at + LIMIT_S))
            case AskRequest(camera, question, None, deadline_s):
                return Response(self._requested.ask(camera, question or "", arrived_at + (deadline_s or LIMIT_S)))
            case AskRequest(camera, _, AdHoc() as prompt, deadline_s, keep_tokens):
                until = arrived_at + (deadline_s or LIMIT_S)
                return Response(self._requested.ask_ad_hoc(camera, prompt, until, keep_tokens))
        raise AssertionError(request)

    # the main thread

    def _main_response(self, request: Request, problems: Sequence[str]) -> Response:
        match request:
            case ActiveRequest():
                return Response(self._set_active(request))
            case InfoRequest():
                return Response(bridge.info(self._service, problems))
        raise AssertionError(request)

    def _set_active(self, request: ActiveRequest) -> dict[str, object]:
        service = self._service
        spec = known_camera(service.config, request.camera)
        if request.question is not None:
            asked_with(spec, request.question)
        service.set_active(spec.name, request.question, request.active)
        return service.pauses.state(spec)


def _changes(request: Request) -> bool:
    """True if it publishes answers, or pauses or resumes something."""
    match request:
        case AskRequest(ad_hoc=None) | LookRequest() | ActiveRequest():
            return True
    return False


def is_expired(received: Received) -> bool:
    """True if it must not be begun any more."""
    if received.abandoned():
        return True
    return received.expires_at is not None and time.monotonic() >= received.expires_at


def _respond(received: Received, response: Response) -> None:
    try:
        received.respond(response)
    except Exception:
        log.exception("unexpected error in a response")
