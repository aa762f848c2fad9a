"""How long processes were kept from running by others: what a busy machine adds to each limit in seconds."""

from __future__ import annotations

import bisect
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from support.sampling import Sampling

PROC = Path("/proc")


class RunDelays:
    """Of this process and of all that it has started. A process that waits for anything but a processor is not delayed.

    So what hangs is found on a busy machine too, while what has to wait for its turn gets that time again.
    """

    STEP_S = 0.2

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of_thread = dict(_delays(os.getpid()))
        self._moments = [time.monotonic()]
        self._totals = [0.0]
        self._sampling = Sampling(self._sample, self.STEP_S)

    def close(self) -> None:
        self._sampling.close()

    def during(self, begin: float, end: float) -> float:
        """The sum over all threads, in seconds. Times are monotonic."""
        if end > self._moments[-1]:
            self._sample()
        with self._lock:
            first = max(0, bisect.bisect_right(self._moments, begin) - 1)
            last = min(len(self._moments) - 1, bisect.bisect_left(self._moments, end))
            return max(0.0, self._totals[last] - self._totals[first])

    def _sample(self) -> None:
        with self._lock:
            before, self._of_thread = self._of_thread, dict(_delays(os.getpid()))
            more = sum(delay_s - before.get(thread, 0.0) for thread, delay_s in self._of_thread.items())
            self._moments.append(time.monotonic())
            self._totals.append(self._totals[-1] + max(0.0, more))


def _delays(process: int) -> Iterator[tuple[int, float]]:
    """The seconds that each thread of this process and its descendants has waited for a processor, by its id."""
    with suppress(OSError):
        for thread in (PROC / str(process) / "task").iterdir():
            with suppress(OSError):  # it has ended
                yield int(thread.name), int((thread / "schedstat").read_text().split()[1]) / 1e9
                for child in (thread / "children").read_text().split():
                    yield from _delays(int(child))
