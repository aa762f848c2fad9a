"""Stands in for a camera that is paused: its source is not opened."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Event as StopSignal

from edged.core.errors import CameraError
from edged.core.types import CameraFigures, CameraReport, CameraState, Frame, utc_now


@dataclass(frozen=True, slots=True)
class PausedCamera:
    """core.Camera. `report` gets one state: offline, because it is paused."""

    report: CameraReport

    def start(self) -> None:
        self.report(CameraState(False, "paused", utc_now()))

    def grab(self, stop: StopSignal) -> Frame:
        raise CameraError("paused")

    def figures(self) -> CameraFigures:
        return CameraFigures()

    def close(self) -> None: ...
