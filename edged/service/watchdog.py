"""Notifies systemd: ready, status, stopping, and the watchdog. Also notices that the wall clock was set."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from edged.core.outage import Outage
from edged.service import sd_notify as systemd

log = logging.getLogger("edged")

CLOCK_JUMP_S = 5.0
EXTEND_EVERY_S = 5.0
EXTEND_US = 30_000_000


class Watchdog:
    """Feeds systemd's watchdog while edged makes progress, and sends its status when it changes. Never raises."""

    def __init__(self) -> None:
        limit = systemd.watchdog_s()
        self._every = limit / 3 if limit else None
        self._fed = 0.0
        self._loading = False
        self._extended = 0.0
        self._status = ""
        self._stuck = Outage("watchdog", log, "making progress again", "check failed", "checks failed")
        self._not_notified = Outage("systemd", log, "notifications work again")
        self._offset = time.time() - time.monotonic()

    def tell(self, status: str, hanging: Sequence[str] = ()) -> None:
        """Send the status if it is new, and feed the watchdog if it is time and no part is `hanging`."""
        if hanging:
            status = f"no progress: {', '.join(hanging)}"
        if status != self._status:
            self._status = status
            self._notify(f"STATUS={status}")
        if hanging:
            outlook = "; systemd will restart edged if this lasts" if self._every else ""
            self._stuck.begin(f"{status}{outlook}", level=logging.ERROR)
            return
        if self._loading:
            self._extend()
        self._stuck.end()
        if self._every and time.monotonic() - self._fed >= self._every:
            self._fed = time.monotonic()
            self._notify("WATCHDOG=1")

    def starting(self, status: str) -> None:
        """Send the status before `ready`, and ask systemd for more time to start."""
        self._extend()
        self.tell(status)

    def reloading(self) -> None:
        """A reload begins. Until `ready`, systemd is asked for more time."""
        self._loading = True
        self._notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def ready(self, status: str) -> None:
        """The start or a reload has ended."""
        self._status, self._loading = status, False
        self._notify("READY=1", f"STATUS={status}", "WATCHDOG=1")

    def stopping(self) -> None:
        self._status = "stopping"
        self._notify("STOPPING=1", "STATUS=stopping")

    def failed(self, reason: str) -> None:
        self._notify(f"STATUS={reason}")

    def clock_jumped(self) -> bool:
        """True if the wall clock was set since the last call: changed by more than it drifts."""
        before, self._offset = self._offset, time.time() - time.monotonic()
        return abs(self._offset - before) > CLOCK_JUMP_S

    def _extend(self) -> None:
        if time.monotonic() - self._extended >= EXTEND_EVERY_S:
            self._extended = time.monotonic()
            self._notify(f"EXTEND_TIMEOUT_USEC={EXTEND_US}")

    def _notify(self, *fields: str) -> None:
        try:
            systemd.notify(*(_one_line(field) for field in fields))
        except OSError as error:
            self._not_notified.begin(f"notification failed: {error}")
        else:
            self._not_notified.end()


def _one_line(text: str) -> str:
    """Without line breaks, and without the surrogates that stand for undecodable bytes in a file name."""
    return text.replace("\n", " ").encode(errors="replace").decode()
