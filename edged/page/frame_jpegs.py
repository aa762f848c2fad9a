"""The newest analysed frame of each camera as JPEG, encoded when a browser asks for it, and once for all browsers."""

from __future__ import annotations

import asyncio

from edged.core.types import Frame
from edged.service import picture


class FrameJpegs:
    """For the event loop's thread; frames are encoded in another one, one at a time."""

    def __init__(self) -> None:
        self._encoded: dict[str, tuple[str, bytes]] = {}  # by camera: digest of the frame, and its JPEG
        self._one_at_a_time = asyncio.Lock()

    async def jpeg(self, camera: str, frame: Frame) -> bytes:
        async with self._one_at_a_time:
            digest, data = self._encoded.get(camera, ("", b""))
            if digest != frame.sha256:
                data = await asyncio.to_thread(picture.jpeg, frame)
                self._encoded[camera] = frame.sha256, data
        return data
