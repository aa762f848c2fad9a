"""Reading from a camera's connection, with an end to everything: to a silence, to a trickle, to the size."""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, TypeAlias

from edged.cameras.reasons import ANSWER_S
from edged.core.errors import CameraError, Stopped

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

SLICE_S = 0.2  # how often a silence looks whether anybody still waits

Ended: TypeAlias = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Stage:
    """One thing to be received: how long it may take, how many bytes it may have, and the errors otherwise."""

    seconds: float
    size: int
    late: str
    large: str


OPENING = Stage(10.0, 2**20, "the camera's answer did not arrive in 10 s", "the camera's answer is larger than 1 MiB")


class Patience:
    """What is left of the current stage's time and size. `ended` says that nobody waits any longer."""

    def __init__(self, ended: Ended) -> None:
        self._ended = ended
        self.begin(OPENING)

    def begin(self, stage: Stage) -> None:
        self._stage = stage
        self._deadline = time.monotonic() + stage.seconds
        self._left = stage.size

    def check(self) -> None:
        if self._ended():
            raise Stopped
        if time.monotonic() > self._deadline:
            raise CameraError(self._stage.late)

    def received(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise CameraError(self._stage.large)


class Wire(io.RawIOBase):
    """A connection as a file for reading. Raises TimeoutError after 5 s of silence, else what its patience raises.

    Closes `file`, which keeps the connection's descriptor open.
    """

    def __init__(self, connection: socket.socket, file: IO[bytes], patience: Patience) -> None:
        super().__init__()
        self._connection = connection
        self._file = file
        self._patience = patience

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        silent_from = time.monotonic()
        self._connection.settimeout(SLICE_S)
        while True:
            self._patience.check()
            try:
                count = self._connection.recv_into(buffer)
            except TimeoutError:
                if time.monotonic() - silent_from > ANSWER_S:
                    raise
                continue
            self._patience.received(count)
            return count

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
