"""How far looks are behind schedule: how long they wait, and which cameras skip looks."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from edged.core.outage import Outage

log = logging.getLogger("edged.schedule")

WINDOW_S = 60  # of the figures
SETTLED_TICKS = 3  # and seconds without a skip, after which a camera is back on schedule
SETTLED_S = 60.0
REMOVED = "the cameras that skipped looks are paused or removed"


@dataclass(slots=True)
class _Second:
    """The looks begun within one second."""

    second: int
    count: int = 0
    total_s: float = 0.0
    longest_s: float = 0.0


class Lateness:
    """How late looks are: the time from when a look was due until its frame is taken. For any thread."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = Lock()
        self._waiting: dict[str, float] = {}
        self._begun: deque[_Second] = deque(maxlen=WINDOW_S + 1)

    def due(self, name: str, at: float) -> None:
        """A look was handed to the pool. `at` is when it was due, on the monotonic clock."""
        with self._lock:
            self._waiting[name] = at

    def begun(self, name: str) -> None:
        """The look is about to take its frame. Ignored for a look that was not due, such as a requested one."""
        with self._lock:
            at = self._waiting.pop(name, None)
            if at is None:
                return
            now = self._now()
            waited = max(0.0, now - at)
            second = self._second(int(now))
            second.count += 1
            second.total_s += waited
            second.longest_s = max(second.longest_s, waited)

    def ended(self, name: str) -> None:
        """The look is over, even if it never began: nothing to ask, outside its hours, or stopped."""
        with self._lock:
            self._waiting.pop(name, None)

    def figures(self) -> tuple[float, float]:
        """Mean and longest in seconds, of the looks that began in the last minute and those that are waiting."""
        with self._lock:
            now = self._now()
            waits = [max(0.0, now - at) for at in self._waiting.values()]
            recent = [second for second in self._begun if second.second > now - WINDOW_S - 1]
        count = len(waits) + sum(second.count for second in recent)
        total = sum(waits) + sum(second.total_s for second in recent)
        longest = max([*waits, *(second.longest_s for second in recent)], default=0.0)
        return (total / count if count else 0.0), longest

    def _second(self, second: int) -> _Second:
        if not self._begun or self._begun[-1].second != second:
            self._begun.append(_Second(second))
        return self._begun[-1]


@dataclass(slots=True)
class _Skips:
    last_at: float
    kept: int = 0  # ticks in a row without a skip


class SkippedLooks:
    """The cameras that skip looks, logged as one outage for all of them.

    A camera is behind from its first skipped look until three ticks in a row are kept and the last skip is `settled_s`
    ago. For one thread at a time.
    """

    def __init__(self, settled_s: float = SETTLED_S, now: Callable[[], float] = time.monotonic) -> None:
        self._settled_s = settled_s
        self._now = now
        self._skips: dict[str, _Skips] = {}
        self._reason = ""
        self._outage = Outage("schedule", log, "back on schedule", "look skipped", "looks skipped")

    def skipped(self, name: str) -> None:
        if not self._skips:
            self._reason = f"falling behind; camera {name}: look skipped because the previous one is still running"
        self._skips[name] = _Skips(self._now())
        self._outage.begin(self._reason, name)  # with the same reason for every camera, so it is logged once

    def kept(self, name: str) -> None:
        """A look of this camera was due and not skipped."""
        if skips := self._skips.get(name):
            skips.kept += 1
            if skips.kept >= SETTLED_TICKS and self._now() - skips.last_at >= self._settled_s:
                del self._skips[name]
                self._outage.end(name)

    def removed(self, name: str) -> None:
        """It makes no looks any more; nobody knows if it would skip them."""
        self._skips.pop(name, None)
        self._outage.forget(lambda camera: camera == name, REMOVED)
