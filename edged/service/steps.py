"""What is under way and has to end within a limit. What has not is hung: the watchdog ends the process then."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock


class Steps:
    """For any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._numbers = itertools.count()
        self._under_way: dict[int, tuple[str, float]] = {}  # what, and when (monotonic) it has to be over

    @contextmanager
    def step(self, what: str, limit_s: float) -> Iterator[None]:
        number = next(self._numbers)
        with self._lock:
            self._under_way[number] = (what, time.monotonic() + limit_s)
        try:
            yield
        finally:
            with self._lock:
                del self._under_way[number]

    def overdue(self) -> list[str]:
        """The steps that exceed their limits, oldest first."""
        now = time.monotonic()
        with self._lock:
            return [what for what, by in self._under_way.values() if now > by]
