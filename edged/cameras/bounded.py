"""Reads from a camera's connection, bounded in silence, time and size. Cancelling ends a blocked read within 0.2 s."""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, TypeAlias

from edged.core.errors import CameraError, Stopped

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

ANSWER_S = 5.0  # for a connection to be accepted, and for each silence on it
POLL_S = 0.2  # how often a blocked read checks for cancellation
WAIT_S = 0.01  # a read that takes so long has waited for the camera; what is in the socket's buffer takes less

Cancelled: TypeAlias = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Bound:
    """How long one part of an answer may take and how many bytes it may have, and the errors if it exceeds them."""

    seconds: float
    size: int
    too_slow: str
    too_large: str


HEAD = Bound(10.0, 2**20, "the camera's answer did not arrive in 10 s", "the camera's answer is larger than 1 MiB")


class Budget:
    """The time and bytes left to the part being read; first the head of the answer.

    `waited_at` is when (monotonic) a read last began to wait. At that time all that the camera had sent was read.
    """

    def __init__(self, cancelled: Cancelled) -> None:
        self._cancelled = cancelled
        self.waited_at = time.monotonic()
        self.begin(HEAD)

    def begin(self, bound: Bound) -> None:
        self._bound = bound
        self._deadline = time.monotonic() + bound.seconds
        self._bytes_left = bound.size

    def check(self) -> None:
        """Raises Stopped once cancelled, CameraError if the time is used up."""
        if self._cancelled():
            raise Stopped
        if time.monotonic() > self._deadline:
            raise CameraError(self._bound.too_slow)

    def spend(self, count: int) -> None:
        """Raises CameraError if the part has more bytes than it may have."""
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise CameraError(self._bound.too_large)


class BoundedStream(io.RawIOBase):
    """A connection as a readable file. Raises TimeoutError after 5 s of silence, and the errors of its budget.

    `began_at` is when (monotonic) its first bytes arrived. Also closes `file`, which keeps the connection's descriptor
    open.
    """

    def __init__(self, connection: socket.socket, file: IO[bytes], budget: Budget) -> None:
        super().__init__()
        self._connection = connection
        self._file = file
        self._budget = budget
        self.began_at: float | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        silent_since = time.monotonic()
        self._connection.settimeout(POLL_S)
        while True:
            self._budget.check()
            began = time.monotonic()
            try:
                count = self._connection.recv_into(buffer)
                if time.monotonic() - began >= WAIT_S:
                    self._budget.waited_at = began
            except TimeoutError:
                self._budget.waited_at = began
                if time.monotonic() - silent_since > ANSWER_S:
                    raise
                continue
            self.began_at = self.began_at or time.monotonic()
            self._budget.spend(count)
            return count

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def header_number(text: str) -> int | None:
    """A number in a header; None if it is malformed or has more than 18 digits."""
    # str.isdigit alone admits characters that int() refuses.
    return int(text) if len(text) <= 18 and text.isascii() and text.isdigit() else None
