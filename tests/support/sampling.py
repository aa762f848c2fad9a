"""A thread that measures something again and again."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Sampling:
    """Calls `sample` every `step_s` seconds until it is closed."""

    def __init__(self, sample: Callable[[], None], step_s: float) -> None:
        self._sample = sample
        self._step_s = step_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._ended.wait(self._step_s):
            self._sample()
