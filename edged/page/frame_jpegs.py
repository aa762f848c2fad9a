"""The newest frame of each camera as JPEG, encoded when a browser asks for it, and once for all browsers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from edged.core.types import Frame
from edged.service import picture
from edged.service.snapshots import CameraSnapshot


class FrameJpegs:
    """For the event loop's thread; frames are encoded in another one, one at a time.

    Nothing is returned of a frame that `cameras` no longer has: its picture may show what a mask covers by now. Its
    JPEG stays in memory until the next request, its pixels do not. `which` takes a frame of a camera's snapshot.
    """

    def __init__(
        self, cameras: Callable[[], Mapping[str, CameraSnapshot]], which: Callable[[CameraSnapshot], Frame | None]
    ) -> None:
        self._cameras = cameras
        self._which = which
        self._encoded: dict[str, tuple[str, bytes]] = {}  # digest and JPEG
        self._one_at_a_time = asyncio.Lock()

    async def jpeg(self, camera: str) -> tuple[str, bytes] | None:
        """The digest and the JPEG of the newest frame; None if there is none."""
        async with self._one_at_a_time:
            while frame := self._newest(camera):
                self._encoded = {name: each for name, each in self._encoded.items() if self._is_newest(name, each[0])}
                if kept := self._encoded.get(camera):
                    return kept
                self._encoded[camera] = frame.sha256, await asyncio.to_thread(picture.preview, frame)
            self._encoded.pop(camera, None)
        return None

    def _is_newest(self, camera: str, digest: str) -> bool:
        frame = self._newest(camera)
        return frame is not None and frame.sha256 == digest

    def _newest(self, camera: str) -> Frame | None:
        snapshot = self._cameras().get(camera)
        return self._which(snapshot) if snapshot else None
