"""What is known of one camera: each change is logged once and reported once, however often it is tried in between."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from threading import Event as StopSignal
from threading import RLock

from edged.core.errors import CameraError, Stopped
from edged.core.text import counted, spoken
from edged.core.types import CameraReport, CameraState, utc_now

BACK_OFF_S = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0)
THREADS = "camera-"  # how the name of each camera's thread begins
STEADY_S = 60.0  # a connection that lasted so long starts the back-off anew
UNEXPECTED = "unexpected error; see edged's log"

logger = logging.getLogger("edged.camera")


class LoginRefused(CameraError):
    """Wrong user or password. Tried again seldom: many cameras lock an account after a few failures."""


class Health:
    """One camera's state. `online` is None until the first try ended; `reason` is None while online.

    Calls `report` in the thread that noticed the change, one call at a time and in order. `first` is the level at which
    a first connection without a failure before it is logged.
    """

    def __init__(self, name: str, report: CameraReport, first: int = logging.INFO) -> None:
        self.name = name
        self._report = report
        self._first = first
        # Held while reporting, so that reports cannot overtake each other. Reentrant: a report may close its camera.
        self._lock = RLock()
        self._state: CameraState | None = None
        self._since_mono = time.monotonic()
        self._tries = 1
        self._seen = False
        self._ended = False

    @property
    def online(self) -> bool | None:
        return self._state.online if self._state else None

    @property
    def reason(self) -> str | None:
        return self._state.reason if self._state else "not connected yet"

    def works(self, about: str) -> None:
        """A picture was received; `about` describes the connection in the log line of the first one."""
        with self._lock:
            if self.online or self._ended:
                return
            took = f"after {spoken(time.monotonic() - self._since_mono)} ({counted(self._tries, 'try', 'tries')})"
            if self._seen:
                logger.info("camera %s: back %s", self.name, took)
            elif self.online is None:
                logger.log(self._first, "camera %s: connected (%s)", self.name, about)
            else:
                logger.info("camera %s: connected (%s) %s", self.name, about, took)
            self._seen = True
            self._turn(True, None)

    def fails(self, reason: str, retry_s: float | None = None) -> None:
        """No picture, for this reason; the next try is in `retry_s`, or at the next look."""
        with self._lock:
            if self._ended:
                return
            if self._state is not None and not self._state.online:
                self._fails_again(reason, self._state)
                return
            verb = "reconnecting" if self.online else "trying again"
            when = "" if retry_s is None else f"; {verb} in {spoken(retry_s)}"
            logger.warning("camera %s: %s%s", self.name, reason, when)
            self._turn(False, reason)

    def end(self) -> None:
        """The camera is closed. Once this has returned, no report is running and none will begin.

        Waits for a report that is running: whoever calls this must not hold a lock that the report takes.
        """
        with self._lock:
            self._ended = True

    def _fails_again(self, reason: str, before: CameraState) -> None:
        self._tries += 1
        if reason != before.reason:
            logger.debug("camera %s: %s", self.name, reason)
            self._tell(CameraState(False, reason, before.since))

    def _turn(self, online: bool, reason: str | None) -> None:
        self._tries, self._since_mono = 1, time.monotonic()
        self._tell(CameraState(online, reason, utc_now()))

    def _tell(self, state: CameraState) -> None:
        self._state = state
        try:
            self._report(state)
        except Exception:  # a callback's edge: whatever is wrong there, this camera goes on
            logger.exception("camera %s: unexpected error while its state was reported", self.name)


def keep_connected(session: Callable[[], None], health: Health, closing: StopSignal) -> None:
    """Run `session` again and again until `closing`. It raises CameraError when the camera is lost."""
    failed = 0
    while not closing.is_set():
        began, refused = time.monotonic(), False
        try:
            session()
            continue
        except Stopped:  # `closing` was seen in the middle of a wait
            continue
        except CameraError as error:
            reason, refused = str(error), isinstance(error, LoginRefused)
        except Exception:  # the thread's edge: an unexpected error must not end this camera for good
            if health.reason != UNEXPECTED:
                logger.exception("camera %s: unexpected error", health.name)
            reason = UNEXPECTED
        failed = 1 if time.monotonic() - began > STEADY_S else failed + 1
        pause = BACK_OFF_S[-1] if refused else BACK_OFF_S[min(failed, len(BACK_OFF_S)) - 1]
        health.fails(reason, pause)
        closing.wait(pause * random.uniform(1.0, 1.2))
