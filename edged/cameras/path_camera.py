"""Pictures, folders and clips on disk as cameras. A picture is captured when it is read, but see `new_only`."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event as StopSignal

from edged.cameras.clip import picture_at
from edged.cameras.folder import InNameOrder, NewestFirst
from edged.cameras.health import Health
from edged.cameras.picture import Pixels
from edged.cameras.picture_file import is_picture, read_picture
from edged.cameras.reader import Reader
from edged.cameras.still import Still, take_still
from edged.core.errors import CameraError
from edged.core.specs import CameraSpec
from edged.core.types import CameraFigures, CameraReport, Frame

FOLDER = "folder of pictures"
READ_S = 10.0  # longer than a working network share takes for one picture


class PathCamera:
    """A picture, a folder of pictures (one per look, by name, repeating), or a clip that plays in a loop.

    With `new_only`: a folder that another program fills.
    """

    def __init__(
        self,
        spec: CameraSpec,
        report: CameraReport,
        read: Callable[[Path], Pixels] = read_picture,
        limit_s: float = READ_S,
    ) -> None:
        self._spec = spec
        self._path = Path(spec.source.address.reveal())
        self._read_picture = read
        # DEBUG: a box may have many of these, and a readable file is not worth a line.
        self._health = Health(spec.name, report, first_level=logging.DEBUG)
        self._closing = threading.Event()
        self._reader = Reader(spec.name, str(self._path), limit_s, self._closing)
        self._started: float | None = None
        self._in_order, self._newest = InNameOrder(self._path), NewestFirst(self._path, read)

    def start(self) -> None:
        self._started = time.monotonic()

    def grab(self, stop: StopSignal) -> Frame:
        return take_still(self._spec, self._health, lambda: self._reader.read(self._read, stop))

    def figures(self) -> CameraFigures:
        return self._health.figures()

    def close(self) -> None:
        """Returns after 1 s at most. A read that hangs is abandoned."""
        self._health.close()
        self._closing.set()
        self._reader.join()

    def _read(self) -> Still:
        if self._spec.new_only:
            return self._newest_still()
        if self._path.is_dir():
            return Still(self._read_picture(self._in_order.next()), FOLDER)
        if is_picture(self._path):
            return Still(self._read_picture(self._path), "picture file")
        return Still(picture_at(self._path, time.monotonic() - (self._started or time.monotonic())), "clip")

    def _newest_still(self) -> Still:
        if self._path.exists() and not self._path.is_dir():
            raise CameraError(f"{self._path} is not a folder, which new_only requires")
        bgr, captured = self._newest.take()
        return Still(bgr, FOLDER, captured)
