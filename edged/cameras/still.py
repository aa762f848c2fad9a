"""Pictures that are fetched one at a time: files, folders, clips, HTTP snapshots. Captured when they are read."""

from __future__ import annotations

import errno
import logging
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event as StopSignal

import cv2
import numpy as np

from edged.cameras import web
from edged.cameras.health import UNEXPECTED, Health
from edged.cameras.picture import Pixels, decode_picture, frame_from_bgr
from edged.cameras.reader import CLOSED, Reader
from edged.cameras.stream import StreamCamera, http_feed
from edged.core.errors import CameraError, Stopped
from edged.core.specs import CameraSpec
from edged.core.types import CameraReport, Frame

PICTURES = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
READ_S = 10.0  # a network share that takes longer for one picture hangs
SNAPSHOT_S = 30.0  # the name look-up, which has no time-out of its own, and then the bounds of `web`
MAX_FILE = 64 * 1024 * 1024


class PathCamera:
    """A picture, a folder of pictures (one a look, by name, over and over), or a clip that plays over and over."""

    def __init__(
        self,
        spec: CameraSpec,
        report: CameraReport,
        read: Callable[[Path], Pixels] | None = None,
        limit_s: float = READ_S,
    ) -> None:
        self._spec = spec
        self._path = Path(spec.source.address.reveal())
        self._read_picture = read or read_picture
        # A box may have many of them, and a file that can be read is no news.
        self._health = Health(spec.name, report, first=logging.DEBUG)
        self._closing = threading.Event()
        self._reader = Reader(spec.name, str(self._path), limit_s, self._closing)
        self._started: float | None = None
        self._left: list[Path] = []

    def start(self) -> None:
        self._started = time.monotonic()

    def grab(self, stop: StopSignal) -> Frame:
        return _look(self._spec, self._health, lambda: self._reader.read(self._read, stop))

    def close(self) -> None:
        """Returns after 1 s at most. A read that hangs is left alone."""
        self._health.end()
        self._closing.set()
        self._reader.join()

    def _read(self) -> tuple[Pixels, str]:
        if self._path.is_dir():
            return self._read_picture(self._next_in_folder()), "folder of pictures"
        if self._path.suffix.lower() in PICTURES:
            return self._read_picture(self._path), "picture file"
        return self._clip_now(), "clip"

    def _next_in_folder(self) -> Path:
        """The next by name; the folder is listed again each time round."""
        if not self._left:
            pictures = (path for path in self._path.iterdir() if path.suffix.lower() in PICTURES)
            self._left = sorted(pictures, key=lambda path: path.name, reverse=True)
        if not self._left:
            raise CameraError(f"{self._path} contains no picture")
        return self._left.pop()

    def _clip_now(self) -> Pixels:
        if not self._path.exists():
            raise CameraError(f"{self._path} does not exist")
        check_regular(self._path, self._path.stat().st_mode)
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
        decoded, bgr = clip.read()
        if not decoded:  # the count is an estimate in some files
            clip.set(cv2.CAP_PROP_POS_FRAMES, 0)
            decoded, bgr = clip.read()
        if not decoded:
            raise CameraError(f"{self._path} cannot be decoded")
        return np.asarray(bgr, dtype=np.uint8)


class HttpCamera:
    """An HTTP camera. The content type of its first answer says whether it streams or gives a picture a look."""

    def __init__(self, spec: CameraSpec, report: CameraReport) -> None:
        self._spec = spec
        self._health = Health(spec.name, report)
        self._closing = threading.Event()
        self._reader = Reader(spec.name, "the camera", SNAPSHOT_S, self._closing)
        self._lock = threading.Lock()
        self._stream: StreamCamera | None = None

    def start(self) -> None:
        """The first look connects."""

    def grab(self, stop: StopSignal) -> Frame:
        stream = self._stream
        if stream is None:
            try:
                return _look(self._spec, self._health, lambda: self._snapshot(stop))
            except _Streams:
                stream = self._begin_stream()
        return stream.grab(stop)

    def close(self) -> None:
        """Returns after 1 s at most."""
        self._health.end()
        with self._lock:  # a stream that starts now would never end
            self._closing.set()
            stream = self._stream
        if stream is None:
            self._reader.join()
        else:
            stream.close()

    def _begin_stream(self) -> StreamCamera:
        """The stream, started by the first of the looks that need it."""
        with self._lock:
            if self._closing.is_set():
                raise CameraError(CLOSED)
            if self._stream is None:
                stream = StreamCamera(self._spec, http_feed, self._health)
                stream.start()
                self._stream = stream
            return self._stream

    def _snapshot(self, stop: StopSignal) -> tuple[Pixels, str]:
        def ended() -> bool:
            return stop.is_set() or self._closing.is_set()

        def fetch() -> tuple[Pixels, str]:
            with web.request(self._spec.source.address.reveal(), ended) as response:
                if web.is_stream(response):
                    raise _Streams
                return decode_picture(web.picture(response)), "HTTP snapshot"

        return self._reader.read(fetch, stop)


class _Streams(Exception):
    """The answer is a stream, and no picture."""


def read_picture(path: Path) -> Pixels:
    """The pixels (BGR) of a picture file of 64 MiB at most. Raises CameraError."""
    try:
        data = _content(path)
    except OSError as error:
        raise CameraError(f"{path} cannot be read: {error.strerror}") from None
    try:
        return decode_picture(data)
    except CameraError as error:
        raise CameraError(f"{path}: {error}") from None


def check_regular(path: Path, mode: int) -> None:
    """Raises CameraError for a FIFO, a socket or a device, IsADirectoryError for a directory."""
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise CameraError(f"{path} is not a regular file")


def _content(path: Path) -> bytes:
    check_regular(path, path.stat().st_mode)  # a socket cannot be opened, and opening a device can have effects
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        check_regular(path, os.fstat(file.fileno()).st_mode)  # it can have been replaced since
        data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise CameraError(f"{path} is larger than {MAX_FILE // 1024 // 1024} MiB")
    return data


def _look(spec: CameraSpec, health: Health, read: Callable[[], tuple[Pixels, str]]) -> Frame:
    began = time.monotonic()
    try:
        bgr, about = read()
    except CameraError as error:
        health.fails(str(error))
        raise
    except OSError as error:
        reason = f"{spec.source.shown} cannot be read: {error.strerror}"
        health.fails(reason)
        raise CameraError(reason) from None
    except (Stopped, _Streams):
        raise
    except Exception:  # logged where the look ends
        health.fails(UNEXPECTED)
        raise
    now = time.monotonic()
    frame = frame_from_bgr(bgr, spec.mask, now, (now - began) * 1000)
    health.works(f"{about}, {bgr.shape[1]}x{bgr.shape[0]}")
    return frame
