"""USB cameras: error reasons from the real system, the rest against a fake capture, as tests have no V4L2 device."""

from __future__ import annotations

import gc
import os
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from support.broker import until
from support.cameras import Watched, spec

from edged.cameras.usb_camera import MJPG, UsbCamera, check_device, open_device, set_up
from edged.core.errors import CameraError, StaleFrame, Stopped


class FakeCapture:
    """A device with a picture every 20 ms, which records calls and the threads that make them."""

    def __init__(self, has_mjpg: bool = True, late_s: float = 0.0) -> None:
        self.values: dict[int, float] = {}
        self.order: list[int] = []
        self.threads: set[str] = set()
        self.number = self.decoded = self.released = 0
        self.late_s = late_s
        self.has_mjpg = has_mjpg
        self.unplugged = threading.Event()
        self.blocked, self.release_grab = threading.Event(), threading.Event()
        self.hangs = self.cut = False
        self.error: Exception | None = None
        self.pictures: list[weakref.ref[np.ndarray]] = []

    def isOpened(self) -> bool:  # noqa: N802 OpenCV's name
        return True

    def get(self, prop: int) -> float:
        if prop == cv2.CAP_PROP_POS_MSEC:
            return (time.monotonic() - self.late_s) * 1000
        return self.values.get(prop, 0)

    def set(self, prop: int, value: float) -> bool:
        self.order.append(prop)
        if prop != cv2.CAP_PROP_FOURCC or self.has_mjpg:
            self.values[prop] = value
        return True

    def grab(self) -> bool:
        self.threads.add(threading.current_thread().name)
        self.number += 1
        if self.hangs:
            self.blocked.set()
            self.release_grab.wait(10)
        return not self.unplugged.wait(0.02)

    def retrieve(self) -> tuple[bool, np.ndarray]:
        self.threads.add(threading.current_thread().name)
        self.decoded += 1
        if self.error:
            raise self.error
        picture = np.full((48, 64, 3), self.number % 256, np.uint8)
        self.pictures.append(weakref.ref(picture))
        if self.values.get(cv2.CAP_PROP_CONVERT_RGB) != 0:
            return True, picture
        data = cv2.imencode(".jpg", picture)[1].reshape(1, -1)
        return True, data[:, :100] if self.cut else data

    def release(self) -> None:
        self.threads.add(threading.current_thread().name)
        self.released += 1


def watching(*captures: FakeCapture, **more: Any) -> Watched:
    waiting = list(captures)

    def opened(_address: str) -> FakeCapture:
        if not waiting:
            raise CameraError("/dev/video0 does not exist (unplugged?)")
        set_up(waiting[0])
        return waiting.pop(0)

    return Watched(spec("0", "usb", **more), UsbCamera, open_capture=opened)


@pytest.mark.parametrize("address", ["97", "/dev/v4l/by-id/usb-none-video-index0"])
def test_missing_device_is_named(address: str) -> None:
    path = "/dev/video97" if address == "97" else address
    with pytest.raises(CameraError) as caught:
        open_device(address)
    assert str(caught.value) == f"{path} does not exist (unplugged?)"


def test_device_that_may_not_be_opened_names_the_group(tmp_path: Path) -> None:
    path = tmp_path / "video0"
    path.touch(mode=0)
    me = os.geteuid()
    try:
        if me == 0:
            os.seteuid(65534)  # root may open everything
        with pytest.raises(CameraError, match=r"cannot be opened by this user \(is the user in the group video\?\)"):
            check_device(str(path))
    finally:
        os.seteuid(me)


def test_file_is_no_video_device(tmp_path: Path) -> None:
    (tmp_path / "video0").touch()
    with pytest.raises(CameraError, match="is not a video device"):
        check_device(str(tmp_path / "video0"))


def test_device_without_video_is_reported_as_busy_or_not_a_video_node() -> None:
    with pytest.raises(CameraError, match="/dev/null is in use by another program, or is not a video node"):
        open_device("/dev/null")


def test_format_comes_before_the_size() -> None:
    capture = FakeCapture()
    set_up(capture)
    assert capture.order.index(cv2.CAP_PROP_FOURCC) < capture.order.index(cv2.CAP_PROP_FRAME_WIDTH)
    assert capture.values[cv2.CAP_PROP_FOURCC] == MJPG
    assert capture.values[cv2.CAP_PROP_BUFFERSIZE] == 1


def test_camera_without_mjpg_is_read_as_opencv_converts_it() -> None:
    capture = FakeCapture(has_mjpg=False)
    with watching(capture) as watched:
        assert watched.grab().rgb.shape == (48, 64, 3)
    assert cv2.CAP_PROP_CONVERT_RGB not in capture.values


def test_every_picture_is_taken_off_the_queue_and_only_the_requested_one_decoded() -> None:
    capture = FakeCapture()
    with watching(capture) as watched:
        first = watched.grab()
        until(lambda: capture.number > 25)  # a picture every 20 ms
        second = watched.grab()
        assert second.captured_mono - first.captured_mono > 0.4
        assert second.age_s() < 0.5
        assert capture.decoded == 2
        assert [state.online for state in watched.states] == [True]
    assert capture.released == 1
    assert capture.threads == {"camera-dock"}, "one thread opens, reads and releases"


def test_age_is_that_of_the_kernels_time_stamp() -> None:
    with watching(FakeCapture(late_s=0.3)) as watched:
        assert 0.3 <= watched.grab().age_s() < 1
    with watching(FakeCapture(late_s=9), max_age_s=5.0) as watched, pytest.raises(StaleFrame, match=r"max_age is 5 s"):
        watched.grab()


def test_truncated_jpeg_is_refused_and_the_camera_stays_online() -> None:
    capture = FakeCapture()
    with watching(capture) as watched:
        capture.cut = True
        with pytest.raises(CameraError, match="truncated"):
            watched.grab()
        capture.cut = False
        assert watched.grab().rgb.shape == (48, 64, 3)


def test_unplugged_camera_is_released_and_opened_again() -> None:
    first, second = FakeCapture(), FakeCapture()
    with watching(first, second) as watched:
        watched.grab()
        first.unplugged.set()
        assert watched.wait_for(online=False).reason == "unplugged, or its driver failed"
        with pytest.raises(CameraError):
            watched.grab()
        watched.wait_for(online=True, count=2)
        assert first.released == 1
        watched.grab()


def test_look_ends_when_edged_stops() -> None:
    with watching(FakeCapture()) as watched:
        watched.stop.set()
        with pytest.raises(Stopped):
            watched.grab()


@pytest.mark.slow
def test_closed_camera_reports_nothing_more() -> None:
    capture = FakeCapture()
    with watching(capture) as watched:
        watched.grab()
        capture.hangs = True
        assert capture.blocked.wait(10)
    capture.unplugged.set()
    capture.release_grab.set()
    until(lambda: capture.released == 1)
    until(lambda: "camera-dock" not in {thread.name for thread in threading.enumerate()})
    assert [state.online for state in watched.states] == [True]


def test_look_ends_when_its_camera_is_closed() -> None:
    capture = FakeCapture()
    with watching(capture) as watched:
        watched.grab()
        capture.hangs = True
        assert capture.blocked.wait(10)
        closer = threading.Timer(0.2, watched.camera.close)
        closer.start()
        began = time.monotonic()
        with pytest.raises(CameraError, match="closed"):
            watched.grab()
        assert time.monotonic() - began < 1.5
        capture.release_grab.set()
        closer.join()


@pytest.mark.slow
def test_unexpected_error_in_the_thread_is_logged_and_the_camera_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    first, second = FakeCapture(), FakeCapture()
    first.error = ZeroDivisionError("in the thread")
    with watching(first, second) as watched:
        with pytest.raises(CameraError, match="unexpected error"):
            watched.grab()
        until(lambda: second.number > 1 and watched.states[-1].online)
        assert watched.grab().rgb.shape == (48, 64, 3)
    assert "in the thread" in caplog.text
    assert first.released == 1


class CountingStop(threading.Event):
    """Counts the looks that wait: each of them checks the signal while it does."""

    def __init__(self) -> None:
        super().__init__()
        self.looks: set[int] = set()

    def is_set(self) -> bool:
        self.looks.add(threading.get_ident())
        return super().is_set()


def test_two_looks_at_once_both_get_a_picture() -> None:
    capture, stop = FakeCapture(), CountingStop()
    shapes = []
    with watching(capture) as watched:
        watched.stop = stop
        capture.hangs = True
        assert capture.blocked.wait(10)
        looks = [threading.Thread(target=lambda: shapes.append(watched.grab().rgb.shape)) for _ in range(2)]
        for look in looks:
            look.start()
        until(lambda: len(stop.looks) == 2)
        capture.hangs = False
        capture.release_grab.set()
        for look in looks:
            look.join(10)
    assert shapes == [(48, 64, 3)] * 2


def test_no_pixels_are_held_once_the_look_is_over() -> None:
    capture = FakeCapture(has_mjpg=False)
    gc.disable()
    try:
        with watching(capture) as watched:
            frame = weakref.ref(watched.grab().rgb)
            until(lambda: not [picture for picture in (frame, *capture.pictures) if picture() is not None], timeout_s=2)
    finally:
        gc.enable()


def test_picture_that_comes_after_its_look_was_given_up_is_not_held() -> None:
    capture = FakeCapture(has_mjpg=False)
    with watching(capture) as watched:
        watched.wait_for(online=True)
        capture.hangs = True
        assert capture.blocked.wait(10)
        threading.Timer(0.2, watched.stop.set).start()
        with pytest.raises(Stopped):
            watched.grab()
        number = capture.number
        capture.hangs = False
        capture.release_grab.set()
        until(lambda: capture.number > number + 2)
        assert not [picture for picture in capture.pictures if picture() is not None]
