"""uvicorn as the page needs it: silent, without a lifespan of its own, and bounded in everything."""

from __future__ import annotations

import logging
import socket

import uvicorn

from edged.page.connection import BoundedConnection
from edged.page.served import App

GRACE_S = 1  # for the answers that are being sent when edged stops
IDLE_S = 10
LARGEST_HEAD = 16_384  # bytes


class QuietServer(uvicorn.Server):
    """Ends the event streams first when it stops."""

    def __init__(self, app: App) -> None:
        # Clients can cause each of uvicorn's own log lines, as often as they like.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self._app = app
        super().__init__(
            uvicorn.Config(
                app.asgi,
                loop="asyncio",
                http=BoundedConnection,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=IDLE_S,
                timeout_graceful_shutdown=GRACE_S,
                h11_max_incomplete_event_size=LARGEST_HEAD,
            )
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._app.close()
        await super().shutdown(sockets)
