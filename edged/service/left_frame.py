"""The last picture of a camera that gives each only once (`new_only`), if nothing was published about it."""

from __future__ import annotations

import math
from threading import Lock

from edged.core.types import Frame


class LeftFrame:
    """For the looks at one camera, in any thread. Left to the next look, unless that has a newer one."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._frame: Frame | None = None
        self._newest = -math.inf  # when (monotonic) the newest picture that was taken is from

    def taken(self, frame: Frame) -> None:
        """The camera has given this one."""
        with self._lock:
            self._frame, self._newest = None, max(self._newest, frame.captured_mono)

    def leave(self, frame: Frame) -> None:
        """Nothing was published about this one."""
        with self._lock:
            if frame.captured_mono >= self._newest:
                self._frame = frame

    def take(self, max_age_s: float) -> Frame | None:
        """The one that was left, if it is not too old. It is left only once."""
        with self._lock:
            frame, self._frame = self._frame, None
        return frame if frame and frame.age_s() <= max_age_s else None
