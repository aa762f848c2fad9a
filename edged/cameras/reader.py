"""Reads in threads of their own, so that one that hangs, for example on a network share, is given up in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from threading import Event as StopSignal
from typing import TypeVar

from edged.cameras.waiting import CLOSE_S, POLL_S, THREAD_PREFIX, ResultSlot, raise_if_ended
from edged.core.errors import CameraError

T = TypeVar("T")


class Reader:
    """One read at a time, each in a thread of its own. `closing` ends every wait.

    `subject` begins the error message for a read that takes longer than `limit_s`.
    """

    def __init__(self, name: str, subject: str, limit_s: float, closing: StopSignal) -> None:
        self._name = THREAD_PREFIX + name
        self._subject = subject
        self._limit_s = limit_s
        self._closing = closing
        self._changed = threading.Condition()
        self._running: tuple[threading.Thread, float] | None = None  # with its deadline

    def read(self, task: Callable[[], T], stop: StopSignal) -> T:
        """What `task` returns or raises. Raises CameraError after `limit_s`, Stopped when `stop` is set.

        While a read that was given up still hangs, no other is started and the CameraError comes at once.
        """
        slot: ResultSlot[T] = ResultSlot()
        deadline = self._start(task, slot, stop)
        while not slot.wait(POLL_S):
            self._check(stop, deadline)
        raise_if_ended(stop, self._closing)  # the task itself may have been cancelled by the same signal
        return slot.take()

    def join(self) -> None:
        """Wait for the running read, 1 s at most."""
        with self._changed:
            running = self._running
        if running:
            running[0].join(CLOSE_S)

    def _start(self, task: Callable[[], T], slot: ResultSlot[T], stop: StopSignal) -> float:
        with self._changed:
            raise_if_ended(stop, self._closing)
            while self._running is not None:
                self._check(stop, self._running[1])
                self._changed.wait(POLL_S)
            thread = threading.Thread(target=self._run, args=(task, slot), name=self._name, daemon=True)
            thread.start()
            deadline = time.monotonic() + self._limit_s
            self._running = (thread, deadline)
            return deadline

    def _run(self, task: Callable[[], T], slot: ResultSlot[T]) -> None:
        try:
            slot.put(task())
        except Exception as error:  # raised by the look that waits for it
            slot.fail(error)
        finally:
            del slot  # an error's traceback refers to this frame, and the slot to the error
            with self._changed:
                self._running = None
                self._changed.notify_all()

    def _check(self, stop: StopSignal, deadline: float) -> None:
        raise_if_ended(stop, self._closing)
        if time.monotonic() > deadline:
            raise CameraError(f"{self._subject} did not answer within {self._limit_s:g} s")
