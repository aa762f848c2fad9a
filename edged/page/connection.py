"""One HTTP connection of uvicorn, with the bounds that uvicorn itself does not have."""

from __future__ import annotations

import asyncio
import socket

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 64  # one more is closed at once, so that the page never takes the descriptors of cameras and broker
HEAD_S = 10.0  # for a request's head, from the connection or from the end of the request before
SEND_S = 20.0  # for a browser to take anything of what is sent


class BoundedConnection(H11Protocol):
    """Closed if it sends no complete head of a request in time, or takes nothing of an answer."""

    _reading: asyncio.TimerHandle | None = None
    _writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
            return
        # the kernel ends a connection whose last bytes nobody takes
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(SEND_S * 1000))
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._reading)
        _cancel(self._writing)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            _cancel(self._reading)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._await_head()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._writing = self.loop.call_later(SEND_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        _cancel(self._writing)

    def _await_head(self) -> None:
        _cancel(self._reading)
        self._reading = self.loop.call_later(HEAD_S, self._head_overdue)

    def _head_overdue(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer:
        timer.cancel()
