"""USB cameras (V4L2). A thread per camera drains the driver's queue; only the requested pictures are decoded."""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import cv2
import numpy as np

from edged.cameras.health import Health
from edged.cameras.picture import Pixels, decode_picture, frame_from_bgr, require_fresh
from edged.cameras.reconnect import keep_connected
from edged.cameras.waiting import CLOSE_S, POLL_S, THREAD_PREFIX, ResultSlot, raise_if_ended
from edged.core.errors import CameraError
from edged.core.specs import CameraSpec
from edged.core.types import CameraFigures, CameraReport, Frame

WIDTH, HEIGHT = 1280, 720
ANSWER_S = 5.0  # longer than OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT
SILENT_S = 2.0  # a grab that fails after longer than this ran into that time-out
MJPG = cv2.VideoWriter.fourcc(*"MJPG")

REASONS = {
    errno.ENOENT: "does not exist (unplugged?)",
    errno.ENODEV: "does not exist (unplugged?)",
    errno.ENXIO: "does not exist (unplugged?)",
    errno.EACCES: "cannot be opened by this user (is the user in the group video?)",
    errno.EPERM: "cannot be opened by this service (see DeviceAllow= in its unit)",
    errno.EBUSY: "is in use by another program",
}


TimedPicture: TypeAlias = tuple[Pixels, float]  # a picture, and when it was captured (monotonic)


class Capture(Protocol):
    """The part of cv2.VideoCapture that is used."""

    def isOpened(self) -> bool: ...  # noqa: N802 OpenCV's name
    def get(self, propId: int, /) -> float: ...  # noqa: N803 OpenCV's name
    def set(self, propId: int, value: float, /) -> bool: ...  # noqa: N803 OpenCV's name
    def grab(self) -> bool: ...
    def retrieve(self) -> tuple[bool, Any]: ...
    def release(self) -> None: ...


class UsbCamera:
    """A V4L2 camera, by index (`0`) or path. Its thread opens, reads and releases the device."""

    def __init__(
        self, spec: CameraSpec, report: CameraReport, open_capture: Callable[[str], Capture] | None = None
    ) -> None:
        self._spec = spec
        self._open_capture = open_capture or open_device
        self._health = Health(spec.name, report)
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._waiting: list[ResultSlot[TimedPicture]] = []  # one per look that waits for the next picture
        self._thread = threading.Thread(target=self._run, name=THREAD_PREFIX + spec.name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def grab(self, stop: threading.Event) -> Frame:
        began = time.monotonic()
        bgr, captured = self._next_picture(stop, began + ANSWER_S)
        require_fresh(captured, self._spec.max_age_s)
        grab_ms = (time.monotonic() - began) * 1000
        return frame_from_bgr(bgr, self._spec.mask, captured, grab_ms, self._spec.rotate)

    def figures(self) -> CameraFigures:
        return self._health.figures()

    def close(self) -> None:
        """Returns after 1 s at most; the thread releases the device at the driver's next answer."""
        self._health.close()
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)

    def _next_picture(self, stop: threading.Event, deadline: float) -> TimedPicture:
        slot: ResultSlot[TimedPicture] = ResultSlot()
        with self._lock:
            self._waiting.append(slot)
        try:
            self._check(stop, deadline)
            while not slot.wait(POLL_S):
                self._check(stop, deadline)
            return slot.take()
        finally:
            with self._lock:
                self._waiting = [other for other in self._waiting if other is not slot]

    def _check(self, stop: threading.Event, deadline: float) -> None:
        raise_if_ended(stop, self._closing)
        if self._health.online is False or time.monotonic() > deadline:
            raise CameraError(self._health.reason or f"no picture for {ANSWER_S:.1f} s")

    def _run(self) -> None:
        keep_connected(self._session, self._health, self._closing)

    def _session(self) -> None:
        capture = self._open_capture(self._spec.source.address.reveal())
        try:
            while not self._closing.is_set():
                self._take(capture)
        except cv2.error as error:
            raise CameraError(f"OpenCV failed on the camera (error {error.code})") from None
        finally:
            capture.release()

    def _take(self, capture: Capture) -> None:
        since = time.monotonic()
        if not capture.grab():
            silent_s = time.monotonic() - since
            unplugged = "unplugged, or its driver failed"
            raise CameraError(f"no picture for {silent_s:.1f} s" if silent_s > SILENT_S else unplugged)
        now = time.monotonic()
        with self._lock:
            waiting, self._waiting = self._waiting, []
        if waiting:
            _deliver(capture, now, waiting)
        if not self._health.online:
            size = (int(capture.get(edge)) for edge in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
            self._health.mark_online("USB, {}x{}".format(*size))


def open_device(address: str) -> Capture:
    """Open a V4L2 device for reading. Raises CameraError with the reason: OpenCV only returns False."""
    path = f"/dev/video{address}" if address.isdigit() else address
    check_device(path)
    # No time-out parameters: V4L2 does not support them, and the open would fail.
    capture = cv2.VideoCapture(path, cv2.CAP_V4L2)
    if not capture.isOpened():
        capture.release()
        raise CameraError(
            f"{path} is in use by another program, or is not a video node (many cameras have a second node)"
        )
    set_up(capture)
    return capture


def check_device(path: str) -> None:
    """Raises CameraError with the reason if this is not a device that can be opened."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError as error:
        raise CameraError(f"{path} {REASONS.get(error.errno or 0, f'cannot be opened: {error.strerror}')}") from None
    try:
        if not stat.S_ISCHR(os.fstat(handle).st_mode):
            raise CameraError(f"{path} is not a video device")
    finally:
        os.close(handle)


def set_up(capture: Capture) -> None:
    """MJPG at 720p if the camera supports it, else the camera's own format."""
    capture.set(
        cv2.CAP_PROP_FOURCC, MJPG
    )  # before the size: uncompressed, many cameras offer large sizes at 5 fps only
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, WIDTH)
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, HEIGHT)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    # set() returns True and keeps the old format if the camera has no MJPG.
    if int(capture.get(cv2.CAP_PROP_FOURCC)) == MJPG:
        # OpenCV decodes a truncated JPEG over the previous picture without an error: take the bytes instead.
        capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)


def _deliver(capture: Capture, now: float, waiting: list[ResultSlot[TimedPicture]]) -> None:
    try:
        picture = _decode(capture, now)
    except CameraError as error:
        for slot in waiting:
            slot.fail(CameraError(str(error)))
        return
    for slot in waiting:
        slot.put(picture)


def _decode(capture: Capture, now: float) -> TimedPicture:
    """The picture last grabbed. Raises CameraError."""
    # The kernel's monotonic time stamp. Some drivers set 0, and some are up to one frame ahead.
    stamp = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
    captured = min(now, stamp) if now - 60 < stamp < now + 1 else now
    decoded, data = capture.retrieve()
    if not decoded or data is None:
        raise CameraError("the camera's picture cannot be decoded")
    picture = np.asarray(data, dtype=np.uint8)
    is_converted = picture.ndim == 3 and picture.shape[2] == 3
    return picture if is_converted else decode_picture(picture.tobytes()), captured
