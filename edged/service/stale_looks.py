"""Looks in a row at a camera that is open, but has no current picture: logged if that lasts, and when it is over."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from edged.core.errors import FrozenPicture, NothingNew, StaleFrame
from edged.core.text import counted, spoken

# For so many seconds looks must have been refused. A stream that stalls is lost before 10 s, and its camera logs that.
# A folder that is filled when something moves often has nothing new. A frozen picture has lasted already.
LASTS_S = {StaleFrame: 10.0, NothingNew: 3600.0, FrozenPicture: 0.0}

log = logging.getLogger("edged.look")


class StaleLooks:
    """Not thread-safe: for the look that takes the camera's picture."""

    def __init__(self, camera: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._camera = camera
        self._clock = clock
        self._kind: type[StaleFrame] = StaleFrame  # of the looks that are counted, until they are logged
        self._count = 0
        self._since = 0.0
        self._logged = False

    def add(self, error: StaleFrame) -> None:
        """A look without a current picture."""
        now = self._clock()
        if not self._count or (type(error) is not self._kind and not self._logged):
            self._kind, self._since, self._count = type(error), now, 0
        self._count += 1
        if not self._logged and now - self._since >= LASTS_S[type(error)]:
            self._logged = True
            log.warning("camera %s: stale frames: %s", self._camera, error)

    def lost(self) -> None:
        """A look at a camera that is not connected."""
        if not self._logged:
            self._count = 0

    def over(self) -> None:
        """A look with a current picture."""
        if self._logged:
            after = f"after {spoken(self._clock() - self._since)} ({counted(self._count, 'look', 'looks')})"
            log.info("camera %s: fresh frames again %s", self._camera, after)
        self._count, self._logged = 0, False
