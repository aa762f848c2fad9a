"""`edged reload`: through the local socket of the edged with this config, else through the broker of the config."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from threading import Event as StopSignal
from typing import Any

from edged.config.load import ConfigError, load
from edged.core.errors import EXIT_OK, EXIT_WRONG, EdgedError, Stopped
from edged.core.json_object import json_object
from edged.core.text import printable, spoken
from edged.service.control import OTHER_CONFIG, SERVICE_SOCKET, real_path, socket_path
from edged.tools.streams import report, write_line

CONNECT_S = 2.0
POLL_S = 0.25  # how soon a stop signal is noticed
RELOAD_S = 900.0  # as long as loading a model may take
CHUNK = 65536


def reload(config: Path, stop: StopSignal, service_socket: Path = SERVICE_SOCKET) -> int:
    """Reload, and print the new revision of the config. Raises EdgedError with the problems of the config; Stopped."""
    for path in dict.fromkeys([socket_path(config, os.environ), service_socket]):
        if path is not None and (response := _local_response(path, config, stop)) is not None:
            return _print(response)
    return _through_the_broker(config, stop)


def _local_response(path: Path, config: Path, stop: StopSignal) -> dict[str, Any] | None:
    """The response of the edged that listens at this path; None if there is none, or not for this user or config."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        connection.settimeout(CONNECT_S)
        try:
            connection.connect(str(path))
            connection.sendall(json.dumps({"request": "reload", "config": real_path(config)}).encode() + b"\n")
        except OSError:
            return None
        response = json_object(_read(connection, stop)) or {}
    return None if response.get("status") == OTHER_CONFIG else response


def _read(connection: socket.socket, stop: StopSignal) -> bytes:
    """The response. Raises EdgedError if none comes, Stopped."""
    received, end = b"", time.monotonic() + RELOAD_S
    connection.settimeout(POLL_S)
    while not received.endswith(b"\n"):
        if stop.is_set():
            raise Stopped
        if time.monotonic() >= end:
            raise EdgedError(f"no response from edged within {spoken(RELOAD_S)}")
        try:
            piece = connection.recv(CHUNK)
        except TimeoutError:
            continue
        except OSError:
            piece = b""
        if not piece:
            raise EdgedError("edged ended before it responded")
        received += piece
    return received


def _print(response: dict[str, Any]) -> int:
    data = response.get("data")
    if response.get("status") != "ok" or not isinstance(data, dict):
        raise EdgedError(printable(str(response.get("error", "the response is not a valid edged response"))))
    write_line(f"config reloaded: revision {printable(str(data.get('config_rev')))} is in force")
    return EXIT_OK


def _through_the_broker(path: Path, stop: StopSignal) -> int:
    from edged.tools.request import call

    try:
        config = load(path)
    except ConfigError as error:
        report(*error.problems, "edged: not reloaded")
        return EXIT_WRONG
    return _print({"status": "ok", "data": call(config, "reload", {}, RELOAD_S, stop)})
