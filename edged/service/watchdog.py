"""What systemd is told: ready, status, stopping, and that edged still moves; and whether the wall clock was set."""

from __future__ import annotations

import logging
import time

from edged.core.outage import Outage
from edged.service import sd_notify as systemd

log = logging.getLogger("edged")

CLOCK_JUMP_S = 5.0
EXTEND_EVERY_S = 5.0
EXTEND_US = 30_000_000


class Watchdog:
    """Feeds systemd's watchdog while work moves, and tells the status when it changes. Never raises."""

    def __init__(self) -> None:
        limit = systemd.watchdog_s()
        self._every = limit / 3 if limit else None
        self._fed = 0.0
        self._extended = 0.0
        self._status = ""
        self._stuck = Outage("work", log, "moves again")
        self._unheard = Outage("systemd", log, "listens again")
        self._offset = time.time() - time.monotonic()

    def tell(self, status: str, moving: bool = True) -> None:
        """Feed the watchdog if it is time and work moves."""
        if status != self._status:
            self._status = status
            self._notify(f"STATUS={status}")
        if not moving:
            self._stuck.begin(
                "a model call, the schedule or the publisher does not move; the watchdog is no longer fed",
                level=logging.ERROR,
            )
            return
        self._stuck.end()
        if self._every and time.monotonic() - self._fed >= self._every:
            self._fed = time.monotonic()
            self._notify("WATCHDOG=1")

    def starting(self, status: str) -> None:
        """Not ready yet: ask for more time as long as this is called."""
        if time.monotonic() - self._extended >= EXTEND_EVERY_S:
            self._extended = time.monotonic()
            self._notify(f"EXTEND_TIMEOUT_USEC={EXTEND_US}")
        self.tell(status)

    def ready(self, status: str) -> None:
        self._status = status
        self._notify("READY=1", f"STATUS={status}", "WATCHDOG=1")

    def stopping(self) -> None:
        self._status = "stopping"
        self._notify("STOPPING=1", "STATUS=stopping")

    def failed(self, reason: str) -> None:
        self._notify(f"STATUS={reason}")

    def clock_jumped(self) -> bool:
        """Whether the wall clock was set since the last call, by more than it drifts."""
        before, self._offset = self._offset, time.time() - time.monotonic()
        return abs(self._offset - before) > CLOCK_JUMP_S

    def _notify(self, *fields: str) -> None:
        try:
            systemd.notify(*(_one_line(field) for field in fields))
        except OSError as error:
            self._unheard.begin(f"cannot be notified: {error}")
        else:
            self._unheard.end()


def _one_line(text: str) -> str:
    """Without what a file name may hold and UTF-8 cannot say."""
    return text.replace("\n", " ").encode(errors="replace").decode()
