"""USB cameras for tests: a stand-in for OpenCV's capture of a V4L2 device, and for the machine it is plugged into.

It behaves as `uvcvideo` does in a virtual machine: a grab of a silent camera fails after the select time-out, a grab of
an unplugged one at once; `set` returns True whatever it did; the driver takes the nearest size; one handle at a time.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from edged.cameras.usb_camera import UsbCamera
from edged.cameras.usb_capture import Capture
from edged.cameras.usb_device import NodeState
from edged.cameras.usb_format import Wanted, set_up
from edged.cameras.usb_identity import IdentityGuard
from edged.cameras.usb_v4l2 import Size, Sizes
from edged.config.usb_devices import Identity
from edged.core.errors import CameraError
from support.cameras import Watched, spec

PICTURE_S = 0.02
SELECT_S = 2.1  # above edged.cameras.usb_session.SILENT_S; OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT is 3 s
YUYV = cv2.VideoWriter.fourcc(*"YUYV")


class FakeCapture:
    """A device with a picture every 20 ms, which records calls and the threads that make them.

    `start_s` is how long after the first grab its first picture comes.
    """

    def __init__(
        self, has_mjpg: bool = True, late_s: float = 0.0, start_s: float = 0.0, sizes: Sequence[Size] = ((1280, 720),)
    ) -> None:
        self.values: dict[int, float] = {cv2.CAP_PROP_FOURCC: YUYV, cv2.CAP_PROP_FPS: 30.0}
        self.order: list[int] = []
        self.threads: set[str] = set()
        self.number = self.decoded = self.released = 0
        self.late_s, self.start_s = late_s, start_s
        self.has_mjpg, self.sizes = has_mjpg, sizes
        self.started_at: float | None = None
        self.unplugged, self.silent = threading.Event(), threading.Event()
        self.blocked, self.release_grab = threading.Event(), threading.Event()
        self.hangs = self.cut = self.black = self.refuses_start = False
        self.cut_until = 0  # the number of the last damaged picture
        self.backlog: list[float] = []  # the ages of pictures that are in the driver's queue
        self.error: Exception | None = None
        self.pictures: list[weakref.ref[np.ndarray]] = []
        self._stamp = 0.0

    def isOpened(self) -> bool:  # noqa: N802 OpenCV's name
        return True

    def get(self, prop: int) -> float:
        return self._stamp * 1000 if prop == cv2.CAP_PROP_POS_MSEC else self.values.get(prop, 0)

    def set(self, prop: int, value: float) -> bool:
        self.order.append(prop)
        if prop != cv2.CAP_PROP_FOURCC or self.has_mjpg:
            self.values[prop] = value
        if prop == cv2.CAP_PROP_FRAME_HEIGHT:
            self._take_nearest_size()
        return True

    def _take_nearest_size(self) -> None:
        """As uvcvideo does: the size with the smallest area that is not common to both."""
        width, height = (int(self.values[edge]) for edge in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))

        def distance(size: Size) -> int:
            common = min(size[0], width) * min(size[1], height)
            return size[0] * size[1] + width * height - 2 * common

        taken = min(self.sizes, key=distance)
        self.values |= {cv2.CAP_PROP_FRAME_WIDTH: taken[0], cv2.CAP_PROP_FRAME_HEIGHT: taken[1]}

    def grab(self) -> bool:
        self.threads.add(threading.current_thread().name)
        if self.refuses_start:
            return False
        self.started_at = self.started_at or time.monotonic()
        if self.hangs:
            self.blocked.set()
            self.release_grab.wait(10)
        if self.backlog:
            return self._taken(time.monotonic() - self.backlog.pop(0))
        if self.silent.is_set() or time.monotonic() < self.started_at + self.start_s:
            return self._waited_in_vain()
        if self.unplugged.wait(PICTURE_S):
            return False
        return self._taken(time.monotonic() - self.late_s)

    def _waited_in_vain(self) -> bool:
        assert self.started_at is not None
        end = time.monotonic() + SELECT_S
        while time.monotonic() < end:
            if self.unplugged.wait(PICTURE_S):
                return False
            if not self.silent.is_set() and time.monotonic() >= self.started_at + self.start_s:
                return self._taken(time.monotonic())
        return False

    def _taken(self, stamp: float) -> bool:
        self.number += 1
        self._stamp = stamp
        return True

    def retrieve(self) -> tuple[bool, np.ndarray]:
        self.threads.add(threading.current_thread().name)
        self.decoded += 1
        if self.error:
            raise self.error
        picture = black() if self.black else scene(self.number)
        self.pictures.append(weakref.ref(picture))
        if self.values.get(cv2.CAP_PROP_CONVERT_RGB) != 0:
            return True, picture
        data = cv2.imencode(".jpg", picture)[1].reshape(1, -1)
        return True, data[:, :100] if self.cut or self.number <= self.cut_until else data

    def release(self) -> None:
        self.threads.add(threading.current_thread().name)
        self.released += 1


class FakeUsb:
    """The machine: a port with a camera, which is plugged in anew (`replug`) or taken away (`unplug`)."""

    def __init__(self, *captures: FakeCapture, sizes: Sizes | None = None) -> None:
        self.captures = list(captures)
        self.sizes = sizes or {}
        self.identity: Identity | None = None
        self.guards: dict[tuple[str, str], IdentityGuard] = {}
        self.present, self.twin = True, False
        self.errors: list[CameraError] = []  # of the next attempts to open it
        self.tried = self.opened = 0
        self.start_problem = "the driver refused"
        self.on_open: Callable[[], object] = lambda: None
        self.on_start_question: Callable[[], object] = lambda: None
        self._generation = 0

    def unplug(self, capture: FakeCapture) -> None:
        self.present = False
        capture.unplugged.set()

    def replug(self) -> None:
        self._generation += 1
        self.present = True

    def node_state(self, _path: str) -> NodeState | None:
        return (81, self._generation, 0) if self.present else None

    def identify(self, _path: str) -> Identity | None:
        return self.identity if self.present else None

    def guard(self, camera: str, path: str) -> IdentityGuard:
        return self.guards.setdefault((camera, path), IdentityGuard())

    def has_twin(self, _path: str) -> bool:
        return self.twin

    def open(self, path: str, wanted: Wanted) -> Capture:
        self.tried += 1
        self.on_open()
        if self.errors:
            raise self.errors.pop(0)
        if not self.present or not self.captures:
            raise CameraError(f"{path} does not exist (unplugged?)")
        self.opened += 1
        capture = self.captures.pop(0)
        set_up(capture, wanted, self.sizes)
        return capture

    def why_not_started(self, _path: str) -> str:
        self.on_start_question()
        return self.start_problem


def watching(
    *captures: FakeCapture, usb: FakeUsb | None = None, source: str = "0", warm_up_s: float = 0.0, **more: Any
) -> Watched:
    """A camera whose connections are these captures, one after the other. Without a warm-up unless it is asked for."""
    return Watched(spec(source, "usb", warm_up_s=warm_up_s, **more), UsbCamera, usb=usb or FakeUsb(*captures))


def scene(number: int) -> np.ndarray:
    """A picture that differs from picture to picture, and is not of one colour."""
    picture = np.full((48, 64, 3), number % 128, np.uint8)
    picture[:, 32:] += 100
    return picture


def black() -> np.ndarray:
    return np.zeros((48, 64, 3), np.uint8)
