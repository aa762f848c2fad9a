"""The signals that end a command."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


def ending_signals() -> list[signal.Signals]:
    """SIGINT, SIGTERM and, except under nohup, a closed terminal."""
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    return [each for each in numbers if each != signal.SIGHUP or signal.getsignal(each) != signal.SIG_IGN]


@contextmanager
def interrupting() -> Iterator[None]:
    """Inside, they raise KeyboardInterrupt: for what takes long and does not look at a stop signal.

    Main thread only.
    """
    with _handled_by(signal.default_int_handler):
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Inside, they have no effect, except within a nested `interrupting`: for what is short and must not stop half-way.

    Main thread only.
    """
    with _handled_by(_nothing):
        yield


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """Not SIG_IGN, by which `ending_signals` recognises nohup."""


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in ending_signals()}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
