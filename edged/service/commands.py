"""Commands for the main thread: stop, reload, a request, or end because a device is lost.

Signal handlers and other threads only put a command into the queue; the main thread acts on it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Literal, TypeAlias

from edged.core.errors import ModelError
from edged.core.requests import Received
from edged.service.worker import WorkerGroup


@dataclass(frozen=True, slots=True)
class DeviceLost:
    """A worker of this group lost its device. Only a new process can use the device again."""

    error: ModelError
    group: WorkerGroup | None


Command: TypeAlias = Literal["stop", "reload"] | DeviceLost | Received


class Commands:
    """The queue of commands. `put` is for any thread and for signal handlers."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Command] = SimpleQueue()

    def put(self, command: Command) -> None:
        self._queue.put(command)

    def receive(self, timeout_s: float) -> list[Command]:
        """Every command in the queue; waits at most `timeout_s` for the first."""
        received: list[Command] = []
        try:
            received.append(self._queue.get(timeout=timeout_s))
            while True:
                received.append(self._queue.get_nowait())
        except Empty:
            return received


@contextmanager
def signals_to(commands: Commands) -> Iterator[None]:
    """SIGTERM and SIGINT stop, and the second of them kills the process; SIGHUP reloads."""
    received: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        if received:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        received.append(number)
        commands.put("stop")

    def reload(_number: int, _frame: FrameType | None) -> None:
        commands.put("reload")

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, reload)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
