"""Reads from a camera's connection, bounded in silence, time and size. Cancelling ends a blocked read within 0.2 s."""

from __future__ import annotations

import io
import select
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, TypeAlias

from edged.core.errors import CameraError, Stopped

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

ANSWER_S = 5.0  # for a connection to be accepted, and for each silence on it
POLL_S = 0.2  # how often a blocked read checks for cancellation
PAUSED_S = POLL_S + 0.1  # a wait that ends later than this: the process was paused, or did not get a processor
NOTHING_THERE = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

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

    `began_at` is when (monotonic) its first bytes arrived, or the earliest time at which they can have arrived if the
    process was paused meanwhile. Also closes `file`, which keeps the connection's descriptor open.
    """

    def __init__(self, connection: socket.socket, file: IO[bytes], budget: Budget) -> None:
        super().__init__()
        self._connection = connection
        self._file = file
        self._budget = budget
        self._arrival = select.poll()
        self._arrival.register(connection, select.POLLIN)
        self._session = _session(connection)
        self._within_record = False  # of TLS, which can be read only when it is complete
        self.began_at: float | None = None
        budget.waited_at = time.monotonic()  # the request has just been sent

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        silent_since = time.monotonic()
        while True:
            self._budget.check()
            began = time.monotonic()
            if self._is_readable():
                count = self._read_now(buffer)
                if count is not None:
                    self._budget.spend(count)
                    return count
            elif not self._within_record:
                # Only this proves that all was read: a read may also take long because other threads or processes run.
                self._budget.waited_at = began
            if began - silent_since > ANSWER_S:
                raise TimeoutError
            self._arrival.poll(POLL_S * 1000)

    def _is_readable(self) -> bool:
        decrypted = self._connection.pending() if isinstance(self._connection, ssl.SSLSocket) else 0
        return decrypted > 0 or bool(self._arrival.poll(0))

    def _read_now(self, buffer: WriteableBuffer) -> int | None:
        """None if nothing of the answer can be read yet."""
        self._connection.settimeout(0)
        try:
            count = self._connection.recv_into(buffer)
        except NOTHING_THERE:
            count = None
        finally:
            self._connection.settimeout(POLL_S)
        if count is None and self.began_at is None and self._was_ticket():
            return None
        self._within_record = count is None
        self._note_arrival()
        return count

    def _was_ticket(self) -> bool:
        """Whether TLS session tickets were read. A server sends them before its answer; they are no part of it."""
        before, self._session = self._session, _session(self._connection)
        return self._session != before

    def _note_arrival(self) -> None:
        if self.began_at is None:
            now, waited_at = time.monotonic(), self._budget.waited_at
            self.began_at = waited_at if now - waited_at > PAUSED_S else now

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def _session(connection: socket.socket) -> bytes | None:
    """Identifies the TLS session; each session ticket changes it. Takes half a millisecond."""
    session = connection.session if isinstance(connection, ssl.SSLSocket) else None
    return session.id if session else None


def header_number(text: str) -> int | None:
    """A number in a header; None if it is malformed or has more than 18 digits."""
    # str.isdigit alone admits characters that int() refuses.
    return int(text) if len(text) <= 18 and text.isascii() and text.isdigit() else None
