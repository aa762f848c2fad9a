"""A failure is logged once when it begins and once when it is over. For any thread."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any

from edged.core.text import counted, spoken

REASONS_LIMIT = 8  # reasons logged during one outage


class Outage:
    """One kind of failure at one or several places, such as the model at each camera.

    An outage begins with the first failure and lasts until every place that failed works again. `recovered` is what
    the last log line says, before the duration and the number of failures: `one` and `more` name a failure, singular
    and plural.
    """

    def __init__(
        self, name: str, log: logging.Logger, recovered: str = "back", one: str = "try", more: str = "tries"
    ) -> None:
        self._name = name
        self._log = log
        self._recovered = recovered
        self._one, self._more = one, more
        self._lock = Lock()
        self._failing: dict[Hashable, float] = {}  # and when each failed last (monotonic)
        self._working: set[Hashable] = set()  # of those that failed during this outage
        self._reasons: set[str] = set()
        self._since = 0.0
        self._failures = 0

    @property
    def on(self) -> bool:
        return bool(self._failing)

    def begin(
        self, reason: str, place: Hashable = None, level: int = logging.WARNING, exc_info: BaseException | None = None
    ) -> None:
        """This place failed. Logged if the outage begins with it, or did not have this reason yet."""
        with self._lock:
            if not self._failing:
                self._since, self._failures = time.monotonic(), 0
                self._reasons.clear()
                self._working.clear()
            self._failing[place] = time.monotonic()
            self._working.discard(place)
            self._failures += 1
            new = reason not in self._reasons and len(self._reasons) < REASONS_LIMIT
            if new:
                self._reasons.add(reason)
        if new:
            self._log.log(level, "%s: %s", self._name, reason, exc_info=exc_info)

    def end(self, place: Hashable = None) -> None:
        """This place works. Logged, with the number of failures, if no other place is still failing."""
        with self._lock:
            if place not in self._failing:
                return
            del self._failing[place]
            self._working.add(place)
            if self._failing:
                return
            extent = self._extent()
        self._log.info("%s: %s %s", self._name, self._recovered, extent)

    def forget(self, gone: Callable[[Any], bool], why: str | None = None) -> None:
        """Drop the places that no longer exist. If that ends the outage, `why` is logged with its duration.

        If a place that failed works again and is not gone, the line is that of `end`.
        """
        self._forget(lambda place, _: gone(place), why)

    def forget_older(self, seconds: float, why: str) -> None:
        """Drop the places that have not failed for so long, as `forget` does."""
        before = time.monotonic() - seconds
        self._forget(lambda _, failed_at: failed_at < before, why)

    def _forget(self, gone: Callable[[Any, float], bool], why: str | None) -> None:
        with self._lock:
            was_on = self.on
            self._failing = {place: at for place, at in self._failing.items() if not gone(place, at)}
            self._working = {place for place in self._working if not gone(place, math.inf)}
            ended, extent = was_on and not self._failing, self._extent()
            line = f"{self._recovered} {extent}" if self._working else f"over {extent}: {why}"
        if ended and why:
            self._log.info("%s: %s", self._name, line)

    def _extent(self) -> str:
        """How long the outage has lasted. With the lock held: another one may begin at once."""
        return f"after {spoken(time.monotonic() - self._since)} ({counted(self._failures, self._one, self._more)})"
