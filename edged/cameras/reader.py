"""Reads in a thread of their own, so that one that hangs, on a network share perhaps, is given up after a while.

No pixels stay here: whoever waits for a result takes it out, and what comes too late is dropped.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from threading import Event as StopSignal
from typing import Generic, TypeVar

from edged.cameras.health import THREADS
from edged.core.errors import CameraError, Stopped

SLICE_S = 0.1  # how often a wait looks at its stop signal
CLOSE_S = 1.0  # how long close() waits for a camera's thread
CLOSED = "the camera is closed"

T = TypeVar("T")


class Box(Generic[T]):
    """One result on its way from a camera's thread to the look that waits for it."""

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
        return self._filled.wait(seconds)

    def take(self) -> T:
        """The result, once; raises the error if there was one."""
        content, self._content = self._content, None
        try:
            if isinstance(content, Exception):
                raise content
            assert content
            return content[0]
        finally:
            del content  # else an error and its traceback hold each other, with all that their frames refer to


class Reader:
    """One read at a time, each in a thread of its own. The camera sets `closing`, which ends every wait.

    `subject` begins the sentence about a read that takes longer than `limit_s`.
    """

    def __init__(self, name: str, subject: str, limit_s: float, closing: StopSignal) -> None:
        self._name = THREADS + name
        self._subject = subject
        self._limit_s = limit_s
        self._closing = closing
        self._changed = threading.Condition()
        self._running: tuple[threading.Thread, float] | None = None  # and until when it is waited for

    def read(self, task: Callable[[], T], stop: StopSignal) -> T:
        """What `task` returns or raises. Raises CameraError after `limit_s`, Stopped when `stop` is set.

        While a read hangs that was given up, no other begins: the CameraError comes at once.
        """
        box: Box[T] = Box()
        deadline = self._begin(task, box, stop)
        while not box.wait(SLICE_S):
            self._check(stop, deadline)
        self._check(stop, math.inf)  # a task may have been ended by the same signal
        return box.take()

    def join(self) -> None:
        """Wait for the read that is running, 1 s at most."""
        with self._changed:
            running = self._running
        if running:
            running[0].join(CLOSE_S)

    def _begin(self, task: Callable[[], T], box: Box[T], stop: StopSignal) -> float:
        with self._changed:
            self._check(stop, math.inf)
            while self._running is not None:
                self._check(stop, self._running[1])
                self._changed.wait(SLICE_S)
            thread = threading.Thread(target=self._run, args=(task, box), name=self._name, daemon=True)
            thread.start()
            deadline = time.monotonic() + self._limit_s
            self._running = (thread, deadline)
            return deadline

    def _run(self, task: Callable[[], T], box: Box[T]) -> None:
        try:
            box.put(task())
        except Exception as error:  # the look that waits for it raises it
            box.fail(error)
        finally:
            del box  # an error's traceback holds this frame, and its box the error
            with self._changed:
                self._running = None
                self._changed.notify_all()

    def _check(self, stop: StopSignal, deadline: float) -> None:
        if stop.is_set():
            raise Stopped
        if self._closing.is_set():
            raise CameraError(CLOSED)
        if time.monotonic() > deadline:
            raise CameraError(f"{self._subject} did not answer within {self._limit_s:g} s")
