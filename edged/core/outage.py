"""A failure is logged once when it begins and once when it is over, whatever happens in between. For any thread."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any

from edged.core.text import counted, spoken

REASONS_LIMIT = 8  # reasons logged during one outage


class Outage:
    """One thing that can fail and work again, at one or several places (`who`), such as the model at each camera.

    It lasts from the first failure until every place that failed has worked again.
    """

    def __init__(self, name: str, log: logging.Logger, again: str = "back") -> None:
        self._name = name
        self._log = log
        self._again = again
        self._lock = Lock()
        self._failing: set[Hashable] = set()
        self._reasons: set[str] = set()
        self._since = 0.0
        self._count = 0

    @property
    def on(self) -> bool:
        return bool(self._failing)

    def begin(
        self, reason: str, who: Hashable = "", level: int = logging.WARNING, exc_info: BaseException | None = None
    ) -> None:
        """It failed. Logged when it had worked, and for a reason that this outage did not have yet."""
        with self._lock:
            if not self._failing:
                self._since, self._count = time.monotonic(), 0
                self._reasons.clear()
            self._failing.add(who)
            self._count += 1
            new = reason not in self._reasons and len(self._reasons) < REASONS_LIMIT
            if new:
                self._reasons.add(reason)
        if new:
            self._log.log(level, "%s: %s", self._name, reason, exc_info=exc_info)

    def end(self, who: Hashable = "", one: str = "try", more: str = "tries") -> None:
        """It works again there. Logged when this was the last place that had failed."""
        with self._lock:
            if who not in self._failing:
                return
            self._failing.discard(who)
            if self._failing:
                return
            lasted, count = time.monotonic() - self._since, self._count
        self._log.info("%s: %s after %s (%s)", self._name, self._again, spoken(lasted), counted(count, one, more))

    def forget(self, gone: Callable[[Any], bool]) -> None:
        """These places are no more: they neither failed nor work. Logs nothing."""
        with self._lock:
            self._failing = {who for who in self._failing if not gone(who)}
