"""The signals that end a command."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


def ending_signals() -> list[signal.Signals]:
    """SIGINT, SIGTERM and, except under nohup, a closed terminal."""
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    return [each for each in numbers if each != signal.SIGHUP or signal.getsignal(each) != signal.SIG_IGN]


@contextmanager
def interrupting() -> Iterator[None]:
    """Inside, they raise KeyboardInterrupt: for what takes long and does not look at a stop signal.

    Main thread only.
    """
    before = {number: signal.signal(number, signal.default_int_handler) for number in ending_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
