"""Pictures that are fetched one at a time: files, folders, clips, HTTP snapshots. Captured when they are read."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from threading import Event as StopSignal

import cv2
import numpy as np

from edged.cameras import web
from edged.cameras.health import Health
from edged.cameras.picture import Pixels, decode_picture, frame_from_bgr
from edged.cameras.stream import StreamCamera, http_feed
from edged.core import CameraError, CameraReport, Frame
from edged.specs import CameraSpec

PICTURES = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})


class PathCamera:
    """A picture, a folder of pictures (one a look, by name, over and over), or a clip that plays over and over."""

    def __init__(self, spec: CameraSpec, report: CameraReport) -> None:
        self._spec = spec
        self._path = Path(spec.source.address.reveal())
        self._health = Health(spec.name, report)
        self._started: float | None = None
        self._left: list[Path] = []

    def start(self) -> None:
        self._started = time.monotonic()

    def grab(self, stop: StopSignal) -> Frame:
        return _look(self._spec, self._health, self._read)

    def close(self) -> None:
        """Nothing is held open."""

    def _read(self) -> tuple[Pixels, str]:
        if self._path.is_dir():
            return read_picture(self._next_in_folder()), "folder of pictures"
        if self._path.suffix.lower() in PICTURES:
            return read_picture(self._path), "picture file"
        return self._clip_now(), "clip"

    def _next_in_folder(self) -> Path:
        """The next by name; the folder is listed again each time round."""
        if not self._left:
            found = (path for path in self._path.iterdir() if path.suffix.lower() in PICTURES)
            self._left = sorted(found, key=lambda path: path.name, reverse=True)
        if not self._left:
            raise CameraError(f"{self._path} holds no picture")
        return self._left.pop()

    def _clip_now(self) -> Pixels:
        if not self._path.is_file():
            raise CameraError(f"{self._path} does not exist")
        clip = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        try:
            return self._picture_of(clip)
        finally:
            clip.release()

    def _picture_of(self, clip: cv2.VideoCapture) -> Pixels:
        rate, count = clip.get(cv2.CAP_PROP_FPS), int(clip.get(cv2.CAP_PROP_FRAME_COUNT))
        if not clip.isOpened() or rate <= 0 or count <= 0:
            raise CameraError(f"{self._path} is neither a picture nor a clip of known length")
        played = time.monotonic() - (self._started or time.monotonic())
        clip.set(cv2.CAP_PROP_POS_FRAMES, int(played * rate) % count)
        found, bgr = clip.read()
        if not found:  # the count is an estimate in some files
            clip.set(cv2.CAP_PROP_POS_FRAMES, 0)
            found, bgr = clip.read()
        if not found:
            raise CameraError(f"{self._path} cannot be decoded")
        return np.asarray(bgr, dtype=np.uint8)


class HttpCamera:
    """An HTTP camera. The content type of its first answer says whether it streams or gives a picture a look."""

    def __init__(self, spec: CameraSpec, report: CameraReport) -> None:
        self._spec = spec
        self._health = Health(spec.name, report)
        self._stream: StreamCamera | None = None
        self._closed = False

    def start(self) -> None:
        """The first look asks."""

    def grab(self, stop: StopSignal) -> Frame:
        if self._stream is not None:
            return self._stream.grab(stop)
        try:
            return _look(self._spec, self._health, lambda: self._fetch(stop))
        except _Streams:
            if self._closed:  # while it was asked: nobody would end the stream's thread
                raise CameraError("the camera is closed") from None
            self._stream = StreamCamera(self._spec, http_feed, self._health)
            self._stream.start()
            return self._stream.grab(stop)

    def close(self) -> None:
        self._closed = True
        if self._stream is not None:
            self._stream.close()

    def _fetch(self, stop: StopSignal) -> tuple[Pixels, str]:
        with web.request(self._spec.source.address.reveal()) as response:
            if web.is_stream(response):
                raise _Streams
            return decode_picture(web.picture(response, stop)), "HTTP snapshot"


class _Streams(Exception):
    """The answer is a stream, and no picture."""


def read_picture(path: Path) -> Pixels:
    """The pixels (BGR) of a picture file. Raises CameraError."""
    try:
        return decode_picture(path.read_bytes())
    except OSError as error:
        raise CameraError(f"{path} cannot be read: {error.strerror}") from None
    except CameraError as error:
        raise CameraError(f"{path}: {error}") from None


def _look(spec: CameraSpec, health: Health, read: Callable[[], tuple[Pixels, str]]) -> Frame:
    began = time.monotonic()
    try:
        bgr, about = read()
    except CameraError as error:
        health.fails(str(error))
        raise
    except OSError as error:
        health.fails(f"{spec.source.shown} cannot be read: {error.strerror}")
        raise CameraError(health.reason) from None
    now = time.monotonic()
    frame = frame_from_bgr(bgr, spec.mask, now, (now - began) * 1000)
    health.works(f"{about}, {bgr.shape[1]}x{bgr.shape[0]}")
    return frame
