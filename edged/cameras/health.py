"""What is known of one camera: each change is logged once and reported once, however often it is tried in between."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from datetime import datetime
from threading import Event as StopSignal

from edged.core import CameraError, CameraReport, CameraState, utc_now
from edged.outage import counted, spoken

BACK_OFF_S = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0)
THREADS = "camera-"  # how the name of each camera's thread begins
STEADY_S = 60.0  # a connection that lasted so long starts the back-off anew

logger = logging.getLogger("edged.camera")


class LoginRefused(CameraError):
    """Wrong user or password. Tried again seldom: many cameras lock an account after a few failures."""


class Health:
    """One camera's state. `online` is None until the first try ended; `reason` is None while online.

    Calls `report` in the thread that found the change out.
    """

    def __init__(self, name: str, report: CameraReport) -> None:
        self.online: bool | None = None
        self.reason: str | None = "not connected yet"
        self.name = name
        self._report = report
        self._since: datetime = utc_now()
        self._since_mono = time.monotonic()
        self._tries = 1
        self._seen = False

    def works(self, about: str) -> None:
        """It gives pictures; `about` says of what kind, for the first time it is said."""
        if self.online:
            return
        took = f"after {spoken(time.monotonic() - self._since_mono)} ({counted(self._tries, 'try', 'tries')})"
        if self._seen:
            logger.info("camera %s: back %s", self.name, took)
        else:
            logger.info("camera %s: connected (%s)%s", self.name, about, "" if self.online is None else f" {took}")
        self._seen = True
        self._turn(True, None)

    def fails(self, reason: str, retry_s: float | None = None) -> None:
        """It gives none, for this reason; the next try is in `retry_s`, or at the next look."""
        if self.online is False:
            self._tries += 1
            if reason != self.reason:
                logger.debug("camera %s: %s", self.name, reason)
                self.reason = reason
                self._report(CameraState(False, reason, self._since))
            return
        verb = "reconnecting" if self.online else "trying again"
        when = "" if retry_s is None else f"; {verb} in {spoken(retry_s)}"
        logger.warning("camera %s: %s%s", self.name, reason, when)
        self._turn(False, reason)

    def _turn(self, online: bool, reason: str | None) -> None:
        self.online, self.reason, self._tries = online, reason, 1
        self._since, self._since_mono = utc_now(), time.monotonic()
        self._report(CameraState(online, reason, self._since))


def keep_connected(session: Callable[[], None], health: Health, closing: StopSignal) -> None:
    """Run `session` again and again until `closing`. It raises CameraError when the camera is lost."""
    failed = 0
    while not closing.is_set():
        began, refused = time.monotonic(), False
        try:
            session()
            continue
        except CameraError as error:
            reason, refused = str(error), isinstance(error, LoginRefused)
        except Exception:  # the thread's edge: a defect must not leave this camera dead for good
            logger.exception("camera %s: a defect ended its session", health.name)
            reason = "an error inside edged; its log says more"
        failed = 1 if time.monotonic() - began > STEADY_S else failed + 1
        pause = BACK_OFF_S[-1] if refused else BACK_OFF_S[min(failed, len(BACK_OFF_S)) - 1]
        health.fails(reason, pause)
        closing.wait(pause * random.uniform(1.0, 1.2))
