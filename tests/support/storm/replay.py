"""Sends packets of an RTSP stream over TCP again, seconds later, as a broken recorder or relay does."""

from __future__ import annotations

import socket
from collections import deque

AGO = 120  # packets, some 4 s
EVERY = 15  # packets
AT_ONCE = 5


class Replayer:
    """Passes on what a server sends on one connection, from its beginning. `replayed` counts packets."""

    def __init__(self, target: socket.socket) -> None:
        self.replayed = 0
        self._target = target
        self._buffer = b""
        self._packets: deque[bytes] = deque(maxlen=AGO)
        self._count = 0

    def send(self, data: bytes) -> None:
        self._buffer += data
        while size := _first_size(self._buffer):
            unit, self._buffer = self._buffer[:size], self._buffer[size:]
            self._target.sendall(unit)
            if unit[:2] == b"$\0":
                self._replay(unit)

    def _replay(self, packet: bytes) -> None:
        self._packets.append(packet)
        self._count += 1
        if len(self._packets) == AGO and self._count % EVERY == 0:
            for old in list(self._packets)[:AT_ONCE]:
                self._target.sendall(old)
                self.replayed += 1


def _first_size(data: bytes) -> int:
    """Of the packet or response at the beginning; 0 if it is not complete."""
    if data[:1] == b"$":
        size = 4 + int.from_bytes(data[2:4]) if len(data) >= 4 else 0
    else:
        head, end, _ = data.partition(b"\r\n\r\n")
        lines = [line.partition(b":") for line in head.lower().split(b"\r\n")]
        body = next((int(value) for name, _, value in lines if name == b"content-length"), 0)
        size = len(head) + 4 + body if end else 0
    return size if size <= len(data) else 0
