"""Pictures, folders and clips on disk as cameras. A picture is captured when it is read."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event as StopSignal

import cv2
import numpy as np

from edged.cameras.health import Health
from edged.cameras.picture import Pixels
from edged.cameras.picture_file import PICTURE_SUFFIXES, check_regular, read_picture
from edged.cameras.reader import Reader
from edged.cameras.still import take_still
from edged.core.errors import CameraError
from edged.core.specs import CameraSpec
from edged.core.types import CameraFigures, CameraReport, Frame

READ_S = 10.0  # longer than a working network share takes for one picture


class PathCamera:
    """A picture, a folder of pictures (one per look, by name, repeating), or a clip that plays in a loop."""

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
        self._pending: list[Path] = []  # of a folder, in reverse order

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

    def _read(self) -> tuple[Pixels, str]:
        if self._path.is_dir():
            return self._read_picture(self._next_in_folder()), "folder of pictures"
        if self._path.suffix.lower() in PICTURE_SUFFIXES:
            return self._read_picture(self._path), "picture file"
        return self._read_clip(), "clip"

    def _next_in_folder(self) -> Path:
        """The next picture by name. The folder is listed again after its last picture."""
        if not self._pending:
            pictures = (path for path in self._path.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)
            self._pending = sorted(pictures, key=lambda path: path.name, reverse=True)
        if not self._pending:
            raise CameraError(f"{self._path} contains no picture")
        return self._pending.pop()

    def _read_clip(self) -> Pixels:
        if not self._path.exists():
            raise CameraError(f"{self._path} does not exist")
        check_regular(self._path, self._path.stat().st_mode)
        clip = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        try:
            return self._current_picture(clip)
        finally:
            clip.release()

    def _current_picture(self, clip: cv2.VideoCapture) -> Pixels:
        rate, count = clip.get(cv2.CAP_PROP_FPS), int(clip.get(cv2.CAP_PROP_FRAME_COUNT))
        if not clip.isOpened() or rate <= 0 or count <= 0:
            raise CameraError(f"{self._path} is neither a picture nor a video clip of known length")
        played = time.monotonic() - (self._started or time.monotonic())
        clip.set(cv2.CAP_PROP_POS_FRAMES, int(played * rate) % count)
        decoded, bgr = clip.read()
        if not decoded:  # in some files the count is only an estimate
            clip.set(cv2.CAP_PROP_POS_FRAMES, 0)
            decoded, bgr = clip.read()
        if not decoded:
            raise CameraError(f"{self._path} cannot be decoded")
        return np.asarray(bgr, dtype=np.uint8)
