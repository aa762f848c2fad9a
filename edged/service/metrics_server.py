"""Serves the metrics over HTTP, in one thread: one connection after another, each within a time limit."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable

from edged.core.outage import Outage
from edged.core.specs import ListenAddress

log = logging.getLogger("edged")

PATH = "/metrics"
RETRY_S = 5.0
CONNECTION_S = 2.0  # from the accept to the end of the answer
LARGEST_HEAD = 8192  # bytes of a request up to its empty line
STOP_S = 3.0


class MetricsServer:
    """Listens where the config says. An address that cannot be used is reported once, and tried again.

    `text` is called in the server's thread. `follow` and `stop` are for the main thread.
    """

    def __init__(self, text: Callable[[], bytes], content_type: str) -> None:
        self._text = text
        self._content_type = content_type
        self._listener: _Listener | None = None

    def follow(self, address: ListenAddress | None) -> None:
        """Listen at this address, and no longer at another; None: nowhere. Takes 3 s at most."""
        if self._listener and self._listener.address == address:
            return
        self.stop()
        if address:
            self._listener = _Listener(address, self._text, self._content_type)
            self._listener.start()

    def stop(self) -> None:
        if self._listener:
            self._listener.stop()
            self._listener = None


class _Listener:
    """The thread that serves one address."""

    def __init__(self, address: ListenAddress, text: Callable[[], bytes], content_type: str) -> None:
        self.address = address
        self._text = text
        self._content_type = content_type
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._listening: socket.socket | None = None
        self._outage = Outage(f"metrics {address.shown}", log)
        self._failing = Outage(f"metrics {address.shown}", log, "served again")
        self._thread = threading.Thread(target=self._run, name="edged-metrics", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """The thread ends within 3 s, or once `text` returns."""
        self._stopping.set()
        with self._lock:
            if self._listening:
                self._listening.shutdown(socket.SHUT_RDWR)  # ends accept()
        self._thread.join(STOP_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
            except OSError as error:
                if self._stopping.is_set():
                    return
                reason = os.strerror(error.errno or 0).lower()  # the error's own text repeats the address
                self._outage.begin(f"cannot listen: {reason}; trying again")
                self._stopping.wait(RETRY_S)

    def _listen(self) -> None:
        """Until an error, or the end. Raises OSError."""
        family = socket.AF_INET6 if ":" in self.address.host else socket.AF_INET
        with socket.create_server((self.address.host, self.address.port), family=family) as listening:
            with self._lock:
                self._listening = listening
            try:
                self._listened()
                while not self._stopping.is_set():
                    connection, _ = listening.accept()
                    self._serve(connection)
            finally:
                with self._lock:
                    self._listening = None

    def _listened(self) -> None:
        if self._outage.on:
            self._outage.end()
        else:
            log.info("metrics: http://%s%s", self.address.shown, PATH)

    def _serve(self, connection: socket.socket) -> None:
        end = time.monotonic() + CONNECTION_S
        with connection:
            try:
                answer = self._answer(_request_line(connection, end))
                connection.settimeout(max(0.01, end - time.monotonic()))
                connection.sendall(answer)
            except OSError as error:  # the client left, or is too slow
                log.debug("metrics: %s", error)

    def _answer(self, request_line: str) -> bytes:
        method, _, rest = request_line.partition(" ")
        if not rest.endswith(("HTTP/1.0", "HTTP/1.1")):
            return _response("400 Bad Request", b"not an HTTP/1.1 request\n")
        if method not in ("GET", "HEAD"):
            return _response("405 Method Not Allowed", b"use GET\n", "Allow: GET, HEAD\r\n")
        if rest.partition(" ")[0].partition("?")[0] != PATH:
            return _response("404 Not Found", f"see {PATH}\n".encode(), with_body=method == "GET")
        return self._metrics(with_body=method == "GET")

    def _metrics(self, with_body: bool) -> bytes:
        try:
            text = self._text()
        except Exception as error:
            self._failing.begin(f"unexpected error: {error!r}", level=logging.ERROR, exc_info=error)
            return _response("500 Internal Server Error", b"unexpected error; see edged's log\n", with_body=with_body)
        self._failing.end()
        return _response("200 OK", text, content_type=self._content_type, with_body=with_body)


def _request_line(connection: socket.socket, end: float) -> str:
    """The first line of a request, once its head is complete. Raises OSError if it is not complete in time."""
    head = b""
    while b"\r\n\r\n" not in head and len(head) < LARGEST_HEAD:
        connection.settimeout(max(0.01, end - time.monotonic()))
        received = connection.recv(LARGEST_HEAD)
        if not received:
            raise ConnectionError("the connection was closed before the request was complete")
        head += received
        if time.monotonic() > end:
            raise TimeoutError("the request was not complete in time")
    return head.partition(b"\r\n")[0].decode("latin-1")


def _response(
    status: str, body: bytes, more: str = "", content_type: str = "text/plain; charset=utf-8", with_body: bool = True
) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{more}"
        "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (body if with_body else b"")
