"""uvicorn as the page needs it: silent, without a lifespan of its own, and bounded in everything."""

from __future__ import annotations

import asyncio
import logging
import selectors
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import uvicorn

from edged.core.errors import is_shortage
from edged.core.outage import Outage
from edged.core.text import system_text
from edged.page.connection import BoundedConnection
from edged.page.served import App

log = logging.getLogger("edged")

GRACE_S = 1  # for the answers that are being sent when edged stops
IDLE_S = 10
LARGEST_HEAD = 16_384  # bytes
# An outage of asyncio is over when nothing was reported for this time.
ACCEPTED_S = 3.0  # it tries again a second after it could not accept a connection
QUIET_S = 60.0  # unexpected errors
BACKLOG = 16  # asyncio accepts as many at once, before any of them is a connection that is counted


class QuietServer(uvicorn.Server):
    """Ends the event streams first when it stops, and leaves no connection behind."""

    def __init__(self, app: App) -> None:
        # Clients can cause each of uvicorn's own log lines, as often as they like.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self._app = app
        self._failing = Outage("page", log, "no more unexpected errors", "error", "errors")
        self._accepting = Outage("page", log, "connections are accepted again")
        self._ends: dict[Outage, asyncio.TimerHandle] = {}
        self._stop = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        super().__init__(
            uvicorn.Config(
                app.asgi,
                http=BoundedConnection,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                timeout_keep_alive=IDLE_S,
                timeout_graceful_shutdown=GRACE_S,
                h11_max_incomplete_event_size=LARGEST_HEAD,
                backlog=BACKLOG,
            )
        )

    def serve_at(self, listening: socket.socket, begun: Callable[[], None]) -> None:
        """Call `begun`, and serve until stopped. Raises OSError if no descriptors are left for the event loop."""
        with asyncio.Runner(loop_factory=_event_loop) as runner:
            begun()
            runner.run(self.serve([listening]))

    def stop(self) -> None:
        """For any thread; returns at once."""
        self.should_exit = True
        if self._loop:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._stop.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._unexpected)
        await super().startup(sockets)

    async def main_loop(self) -> None:
        """uvicorn's own wakes up ten times a second."""
        if not self.should_exit:
            await self._stop.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._app.close()
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # each of them closes its socket

    def _unexpected(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An error that asyncio would log each time."""
        error = context.get("exception")
        if is_shortage(error):
            self._accepting.begin(f"no connection is accepted: {system_text(error)}")
            self._end_after(ACCEPTED_S, self._accepting, loop)
        else:
            what = f"unexpected error: {context['message']}: {error!r}"
            self._failing.begin(what, level=logging.ERROR, exc_info=error)
            self._end_after(QUIET_S, self._failing, loop)

    def _end_after(self, quiet_s: float, outage: Outage, loop: asyncio.AbstractEventLoop) -> None:
        """Unless this is called again before."""
        if outage in self._ends:
            self._ends[outage].cancel()
        self._ends[outage] = loop.call_later(quiet_s, outage.end)


def _event_loop() -> asyncio.AbstractEventLoop:
    """Raises OSError, for which an event loop that cannot open its own pair of sockets would leave a traceback."""
    selector = selectors.DefaultSelector()
    try:
        for end in socket.socketpair():
            end.close()
    except OSError:
        selector.close()
        raise
    return asyncio.SelectorEventLoop(selector)
