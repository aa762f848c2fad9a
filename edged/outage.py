"""A failure is said once when it begins and once when it is over, whatever happens in between."""

from __future__ import annotations

import logging
import time


class Outage:
    """One thing that can fail and come back, such as a camera or the broker. For one thread at a time."""

    def __init__(self, name: str, log: logging.Logger) -> None:
        self._name = name
        self._log = log
        self._since: float | None = None
        self._tries = 0

    @property
    def on(self) -> bool:
        return self._since is not None

    def begin(self, reason: str, level: int = logging.WARNING, exc_info: BaseException | None = None) -> None:
        """Say that it failed, unless that is known already."""
        self._tries += 1
        if self._since is None:
            self._since = time.monotonic()
            self._log.log(level, "%s: %s", self._name, reason, exc_info=exc_info)

    def end(self, words: str = "back") -> None:
        """Say that it works again, if it had failed."""
        if self._since is not None:
            self._log.info(
                "%s: %s after %s (%s)",
                self._name,
                words,
                spoken(time.monotonic() - self._since),
                counted(self._tries, "try", "tries"),
            )
        self._since, self._tries = None, 0


def spoken(seconds: float) -> str:
    """`0.4 s`, `2 s`, `12 s`, `3 min 30 s`, `2 h 5 min`, `3 d 4 h`."""
    if seconds < 10 and round(seconds, 1) % 1:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, size, below, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit} {rest} {below}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def counted(count: int, one: str, more: str = "") -> str:
    """`1 camera`, `2 cameras`; `more` is for words that do not end in s."""
    return f"{count} {one if count == 1 else more or one + 's'}"
