"""HTTP as bytes, for requests that no client library would send."""

from __future__ import annotations

import socket
from contextlib import suppress

from support.broker import HOST


def exchange(port: int, *parts: bytes, host: str = HOST, limit_s: float = 10.0) -> bytes:
    """What the server answers to these bytes, until it closes the connection, or says nothing for `limit_s`."""
    answer = bytearray()
    with socket.create_connection((host, port), timeout=limit_s) as connection, suppress(OSError):
        for part in parts:
            connection.sendall(part)
        while chunk := connection.recv(65_536):
            answer += chunk
    return bytes(answer)


def get(target: str, *lines: str, host: str | None = HOST, method: str = "GET") -> bytes:
    """A request whose connection the server closes afterwards."""
    hosts = [] if host is None else [f"Host: {host}"]
    return "\r\n".join([f"{method} {target} HTTP/1.1", *hosts, *lines, "Connection: close", "", ""]).encode("latin-1")


def status(answer: bytes) -> int:
    """The status of the first answer; 0 if there is none."""
    parts = answer.split(b" ", 2)
    return int(parts[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def header(answer: bytes, name: str) -> str | None:
    for line in answer.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]:
        key, _, value = line.partition(":")
        if key.lower() == name.lower():
            return value.strip()
    return None
