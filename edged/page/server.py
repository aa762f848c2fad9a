"""Serves the page in a thread of its own. Starlette and uvicorn are imported only when a page is configured."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from edged.core.outage import Outage
from edged.core.pip import pip_install
from edged.core.specs import PageSpec
from edged.page.served import App

if TYPE_CHECKING:
    from edged.page.uvicorn_server import QuietServer

log = logging.getLogger("edged")

RETRY_S = 5.0
STOP_S = 5.0

MakeApp = Callable[[PageSpec], App]


class PageServer:
    """Listens where the config says. An address that cannot be used is reported once, and tried again.

    `make_app` is called in the server's thread. `follow` and `stop` are for the main thread.
    """

    def __init__(self, make_app: MakeApp) -> None:
        self._make_app = make_app
        self._thread: _ServerThread | None = None

    def follow(self, spec: PageSpec | None) -> None:
        """Serve this spec instead of the current one; None: no page. Takes 5 s at most."""
        if self._thread and self._thread.spec == spec:
            return
        self.stop()
        if spec:
            self._thread = _ServerThread(spec, self._make_app)
            self._thread.start()

    def stop(self) -> None:
        if self._thread:
            self._thread.stop()
            self._thread = None


class _ServerThread:
    """The thread that serves one address."""

    def __init__(self, spec: PageSpec, make_app: MakeApp) -> None:
        self.spec = spec
        self._make_app = make_app
        self._stopping = threading.Event()
        self._server: QuietServer | None = None
        self._outage = Outage(f"page {spec.listen.shown}", log)
        self._thread = threading.Thread(target=self._run, name="edged-page", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if server := self._server:
            server.stop()
        self._thread.join(STOP_S)
        if self._thread.is_alive():
            log.error("page %s: the server did not stop within %.0f s", self.spec.listen.shown, STOP_S)

    def _run(self) -> None:
        if self.spec.problem:
            log.error("page: not served: %s", self.spec.problem)
            return
        while not self._stopping.is_set():
            try:
                self._listen()
            except ImportError as error:
                install = pip_install("edged[page]")
                log.error("page: not served: it needs the package %s: %s, then restart edged", error.name, install)
                return
            except OSError as error:
                reason = os.strerror(error.errno or 0).lower()  # the error's own text repeats the address
                self._outage.begin(f"cannot listen: {reason}; trying again")
            except Exception as error:
                self._outage.begin(f"unexpected error: {error!r}", level=logging.ERROR, exc_info=error)
            self._stopping.wait(RETRY_S)

    def _listen(self) -> None:
        """Until the end. Raises OSError, ImportError."""
        from edged.page.uvicorn_server import QuietServer

        server = QuietServer(self._make_app(self.spec))
        address = self.spec.listen
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        with socket.create_server((address.host, address.port), family=family) as listening:
            self._server = server
            if not self._stopping.is_set():
                with suppress(SystemExit):
                    server.serve_at(listening, self._listened)
        self._server = None

    def _listened(self) -> None:
        if self._outage.on:
            self._outage.end()
        else:
            log.info("page: http://%s/", self.spec.listen.shown)
