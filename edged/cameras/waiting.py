"""How a look waits for a camera's thread."""

from __future__ import annotations

import threading
from threading import Event as StopSignal
from typing import Generic, TypeVar

from edged.core.errors import CameraError, Stopped

THREAD_PREFIX = "camera-"  # of the name of each camera's thread
POLL_S = 0.1  # how often a waiting look checks its stop signal
CLOSE_S = 1.0  # how long close() waits for a camera's thread

T = TypeVar("T")


def raise_if_ended(stop: StopSignal, closing: StopSignal) -> None:
    """Raises Stopped if edged is stopping, CameraError if the camera is being closed."""
    if stop.is_set():
        raise Stopped
    if closing.is_set():
        raise CameraError("the camera is closed")


class ResultSlot(Generic[T]):
    """One result or error, passed from a camera's thread to the look that waits for it.

    Unlike a `concurrent.futures.Future` it releases the result when it is taken, so it keeps no pixels alive.
    """

    def __init__(self) -> None:
        self._filled = threading.Event()
        self._content: tuple[T] | Exception | None = None

    def put(self, result: T) -> None:
        self._content = (result,)
        self._filled.set()

    def fail(self, error: Exception) -> None:
        self._content = error
        self._filled.set()

    def wait(self, seconds: float) -> bool:
        """True if there is a result or an error."""
        return self._filled.wait(seconds)

    def take(self) -> T:
        """The result, once. Raises the error if there was one."""
        content, self._content = self._content, None
        try:
            if isinstance(content, Exception):
                raise content
            assert content
            return content[0]
        finally:
            del content  # else an error and its traceback refer to each other and keep the frames' variables alive
