"""A local socket for `edged reload`: it works without a broker, for whoever the socket's permissions admit.

One line of JSON each way. A request names its config file, so that only the edged with that file acts on it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from edged.core.requests import Received, ReloadRequest, Response
from edged.core.text import system_text

log = logging.getLogger("edged")

NAME = "control.sock"
SERVICE_SOCKET = Path("/run/edged") / NAME  # where the systemd unit has it
MODE = 0o660  # the user of edged, its group, and root
EXCHANGE_S = 2.0  # for a request or a response to pass
LONGEST_REQUEST = 8192  # bytes
STOP_S = 2 * EXCHANGE_S
OTHER_CONFIG = "other_config"  # the status of the response to a request that names another config file


def socket_path(config: Path, environment: Mapping[str, str]) -> Path | None:
    """Where an edged with this config listens: in $RUNTIME_DIRECTORY, else in $XDG_RUNTIME_DIR; else nowhere."""
    if folders := environment.get("RUNTIME_DIRECTORY"):  # systemd separates several by colons
        return Path(folders.split(":")[0]) / NAME
    given = Path(environment.get("XDG_RUNTIME_DIR", ""))
    if not given.is_absolute():
        return None
    digest = hashlib.sha256(os.fsencode(real_path(config))).hexdigest()
    return given / "edged" / f"{digest[:16]}.sock"


def real_path(config: Path) -> str:
    """How a config file is named in a request."""
    return os.path.realpath(config)


class ControlSocket:
    """Listens at `path` and passes reload requests to `receive`, which returns at once."""

    def __init__(self, path: Path | None, config: Path, receive: Callable[[Received], None]) -> None:
        self._path = path
        self._config = config
        self._receive = receive
        self._listening: socket.socket | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="edged-control", daemon=True)

    def start(self) -> None:
        """Listen. Without a path, or if that is not possible, `edged reload` goes through the broker."""
        if self._path is None:
            return
        try:
            self._listening = _listen(self._path)
        except OSError as error:
            log.warning(
                "control socket %s: cannot listen: %s; `edged reload` and `systemctl reload` need the broker",
                self._path,
                system_text(error),
            )
            return
        self._thread.start()

    def stop(self) -> None:
        """Takes 4 s at most. Requests without a response have been refused before."""
        if self._path is None or self._listening is None:
            return
        self._stopping.set()
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # ends accept()
        self._thread.join(STOP_S)
        self._listening.close()
        with suppress(OSError):
            self._path.unlink()

    def _run(self) -> None:
        assert self._listening
        while not self._stopping.is_set():
            try:
                connection, _ = self._listening.accept()
            except OSError:
                self._stopping.wait(EXCHANGE_S)  # too many open files, or the end
                continue
            try:
                self._serve(connection)
            except Exception:
                connection.close()
                log.exception("unexpected error in a request at %s", self._path)

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(EXCHANGE_S)
        try:
            request = json.loads(read_line(connection))
        except (OSError, ValueError, RecursionError):
            connection.close()
            return
        what = request if isinstance(request, dict) else {}
        if what.get("request") != "reload":
            _send(connection, {"status": "error", "error": "not a request that this edged knows"})
        elif what.get("config") != real_path(self._config):
            _send(connection, {"status": OTHER_CONFIG})
        else:
            self._receive(Received(ReloadRequest(), lambda response: _send(connection, _payload(response))))


def read_line(connection: socket.socket) -> bytes:
    """The bytes up to a line break, or to the end. Raises OSError; ValueError if there are too many."""
    received = b""
    while not received.endswith(b"\n"):
        if len(received) > LONGEST_REQUEST:
            raise ValueError("too long")
        piece = connection.recv(LONGEST_REQUEST)
        if not piece:
            break
        received += piece
    return received


def _listen(path: Path) -> socket.socket:
    """Raises OSError."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with suppress(FileNotFoundError):
        path.unlink()  # of a process that was killed; another edged with this store cannot be running
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listening.bind(str(path))
        path.chmod(MODE)
        listening.listen()
    except BaseException:
        listening.close()
        raise
    return listening


def _payload(response: Response) -> dict[str, Any]:
    if response.error is not None:
        return {"status": "error", "error": response.error}
    return {"status": "ok", "data": response.data}


def _send(connection: socket.socket, payload: dict[str, Any]) -> None:
    """Send and close. A requester that has gone is no error."""
    with connection, suppress(OSError):
        connection.sendall(json.dumps(payload).encode() + b"\n")
