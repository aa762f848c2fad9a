"""The looks that wait for a USB camera's next picture."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

from edged.cameras.picture import Pixels
from edged.cameras.waiting import ResultSlot
from edged.core.errors import CameraError

TimedPicture: TypeAlias = tuple[Pixels, float]  # a picture, and when it was captured (monotonic)


class WaitingLooks:
    """Passes one picture to all looks that wait for it, and tells them why others were passed over."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slots: list[ResultSlot[TimedPicture]] = []
        self._refusal: tuple[type[CameraError], str] | None = None

    def __bool__(self) -> bool:
        """True if a look is waiting."""
        return bool(self._slots)

    def refusal(self) -> CameraError | None:
        """Why the last picture was not used, if one came since the first of these looks began to wait."""
        refusal = self._refusal
        return refusal and refusal[0](refusal[1])

    @contextmanager
    def slot(self) -> Iterator[ResultSlot[TimedPicture]]:
        """For the result of one look, which waits for it in the block."""
        slot: ResultSlot[TimedPicture] = ResultSlot()
        with self._lock:
            if not self._slots:
                self._refusal = None
            self._slots.append(slot)
        try:
            yield slot
        finally:
            with self._lock:
                self._slots = [other for other in self._slots if other is not slot]

    def put(self, picture: TimedPicture) -> None:
        with self._lock:
            waiting, self._slots = self._slots, []
        for slot in waiting:
            slot.put(picture)

    def refuse(self, kind: type[CameraError], reason: str) -> None:
        """A picture was not used. The looks go on waiting for the next one."""
        self._refusal = kind, reason
