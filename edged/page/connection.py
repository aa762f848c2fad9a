"""One HTTP connection of uvicorn, with the bounds that uvicorn itself does not have."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 64  # so that the page never takes the descriptors of cameras and broker
HEAD_S = 10.0  # for a request's head, from the connection or from the end of the request before
SEND_S = 20.0  # for a browser to take anything of what is sent


class BoundedConnection(H11Protocol):
    """Closed if it sends no complete head of a request in time, or takes nothing of an answer.

    One connection too many takes the place of the one that has waited longest for a request.
    """

    connections: set[BoundedConnection]  # type: ignore[assignment]

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.access_log = False  # whatever the loggers are set to: an address may have the token
        self.waiting_since: float | None = None  # for the head of a request; None while one is answered
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # the kernel ends a connection whose last bytes nobody takes
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(SEND_S * 1000))
        self._await_head()
        self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._reading)
        _cancel(self._writing)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            _cancel(self._reading)
            self.waiting_since = None

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete:  # and not that of a request which had arrived already
            self._await_head()

    def send_400_response(self, msg: str) -> None:
        """To a request that is being answered, or was answered before its body ended, there is no second answer."""
        if self.conn.our_state is h11.IDLE:
            super().send_400_response(msg)
            return
        if self.cycle:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._writing = self.loop.call_later(SEND_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        _cancel(self._writing)

    def _make_room(self) -> None:
        connected = [each for each in self.connections if not each.transport.is_closing()]
        if len(connected) > MOST_CONNECTIONS:
            waiting = [(each.waiting_since, id(each), each) for each in connected if each.waiting_since is not None]
            min(waiting)[2].transport.abort()

    def _await_head(self) -> None:
        _cancel(self._reading)
        self.waiting_since = self.loop.time()
        self._reading = self.loop.call_later(HEAD_S, self._head_overdue)

    def _head_overdue(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer:
        timer.cancel()
