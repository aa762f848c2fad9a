"""Whether a camera is online: each change is logged once and reported once, however many attempts lie in between."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import RLock

from edged.core.text import counted, spoken
from edged.core.types import CameraFigures, CameraReport, CameraState, utc_now

UNEXPECTED = "unexpected error; see edged's log"

logger = logging.getLogger("edged.camera")


class Health:
    """One camera's state. `online` is None until the first attempt ended; `reason` is None while online.

    Calls `report` in the thread that noticed the change, one call at a time and in order. `first_level` is the log
    level of a first connection that no failure preceded.
    """

    def __init__(
        self,
        name: str,
        report: CameraReport,
        first_level: int = logging.INFO,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._report = report
        self._first_level = first_level
        self._clock = clock
        # Held while reporting, so that reports cannot overtake each other. Reentrant: a report may close its camera.
        self._lock = RLock()
        self._state: CameraState | None = None
        self._changed_mono = 0.0  # when it last went online or offline
        self._tries = 0  # since then
        self._reconnects = self._damaged = 0
        self._was_online = False
        self._closed = False

    @property
    def online(self) -> bool | None:
        return self._state.online if self._state else None

    @property
    def reason(self) -> str | None:
        return self._state.reason if self._state else "not connected yet"

    @property
    def away_s(self) -> float:
        """Seconds since it went offline; 0.0 while it is online, and before the first attempt ended."""
        with self._lock:
            return self._clock() - self._changed_mono if self.online is False else 0.0

    @property
    def online_s(self) -> float:
        """Seconds since it went online; 0.0 while it is offline."""
        with self._lock:
            return self._clock() - self._changed_mono if self.online else 0.0

    def figures(self) -> CameraFigures:
        with self._lock:
            return CameraFigures(self._reconnects, self._damaged)

    def count_damaged(self) -> None:
        """A picture was refused or replaced by an older one, because it is damaged."""
        with self._lock:
            self._damaged += 1

    def mark_online(self, about: str) -> None:
        """A whole picture was decoded. `about` describes the connection in the log line of the first one."""
        with self._lock:
            if not self.online and not self._closed:
                self._log_online(about)
                self._reconnects += self._was_online
                self._was_online = True
                self._change(True, None)

    def mark_offline(self, reason: str, retry_s: float | None = None) -> None:
        """No picture. The next attempt is in `retry_s`, or at the next look if None."""
        with self._lock:
            if self._closed:
                return
            if self._state is not None and not self._state.online:
                self._failed_again(reason, self._state)
                return
            verb = "reconnecting" if self.online else "trying again"
            when = "" if retry_s is None else f"; {verb} in {spoken(retry_s)}"
            logger.warning("camera %s: %s%s", self.name, reason, when)
            self._change(False, reason)

    def close(self) -> None:
        """After this returns, no report is running and none will start.

        Waits for a running report: the caller must not hold a lock that the report takes.
        """
        with self._lock:
            self._closed = True

    def _log_online(self, about: str) -> None:
        after = f"after {spoken(self._clock() - self._changed_mono)} ({counted(self._tries, 'try', 'tries')})"
        if self._was_online:
            logger.info("camera %s: back %s", self.name, after)
        elif self.online is None:
            logger.log(self._first_level, "camera %s: connected (%s)", self.name, about)
        else:
            logger.info("camera %s: connected (%s) %s", self.name, about, after)

    def _failed_again(self, reason: str, state: CameraState) -> None:
        self._tries += 1
        if reason != state.reason:
            logger.debug("camera %s: %s", self.name, reason)
            self._set_state(CameraState(False, reason, state.since))

    def _change(self, online: bool, reason: str | None) -> None:
        self._tries, self._changed_mono = 1, self._clock()
        self._set_state(CameraState(online, reason, utc_now()))

    def _set_state(self, state: CameraState) -> None:
        self._state = state
        try:
            self._report(state)
        except Exception:  # an error in the callback must not end this camera
            logger.exception("camera %s: unexpected error while reporting its state", self.name)
