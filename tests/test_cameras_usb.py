"""USB cameras against a stand-in for the device: threads, reconnects, damaged and black pictures, time stamps."""

from __future__ import annotations

import gc
import logging
import threading
import time
import weakref

import cv2
import pytest
from support.broker import until
from support.cameras import spec
from support.usb import FakeCapture, FakeUsb, watching

from edged.cameras.usb_camera import UsbCamera
from edged.cameras.usb_reasons import HeldByEdged
from edged.config.usb_devices import Identity
from edged.core.errors import CameraError, StaleFrame, Stopped

WEBCAM = Identity("1-1", "046d:0825", "12AB", "HD Webcam")
OTHER_WEBCAM = Identity("1-1", "046d:0825", "99FF", "HD Webcam")


def test_camera_without_mjpg_is_read_as_opencv_converts_it() -> None:
    capture = FakeCapture(has_mjpg=False)
    with watching(capture) as watched:
        assert watched.grab().rgb.shape == (48, 64, 3)
    assert cv2.CAP_PROP_CONVERT_RGB not in capture.values


def test_every_picture_is_taken_off_the_queue_and_only_the_requested_one_decoded() -> None:
    capture = FakeCapture()
    with watching(capture) as watched:
        watched.wait_for(online=True)
        first, decoded = watched.grab(), capture.decoded
        until(lambda: capture.number > 25)  # a picture every 20 ms
        assert capture.decoded == decoded
        second = watched.grab()
        assert second.captured_mono - first.captured_mono > 0.4
        assert second.age_s() < 0.5
        assert capture.decoded == decoded + 1
        assert [state.online for state in watched.states] == [True]
    assert capture.released == 1
    assert capture.threads == {"camera-dock"}, "one thread opens, reads and releases"


def test_the_log_says_format_size_and_rate(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), watching(FakeCapture(sizes=[(640, 480)]), size=(800, 600)) as watched:
        watched.grab()
    assert caplog.messages == ["camera dock: connected (USB, MJPG 640x480 at 30 fps; it does not offer 800x600)"]


# damaged pictures


def test_a_damaged_picture_is_counted_and_the_next_one_taken() -> None:
    capture = FakeCapture()
    with watching(capture) as watched:
        watched.grab()
        capture.cut_until = capture.number + 5
        assert watched.grab().rgb.shape == (48, 64, 3)
        assert watched.camera.figures().damaged >= 1
        assert [state.online for state in watched.states] == [True]


@pytest.mark.slow
def test_a_camera_that_gives_only_damaged_pictures_is_never_online() -> None:
    capture = FakeCapture()
    capture.cut = True
    with watching(capture) as watched:
        with pytest.raises(CameraError, match="damaged"):
            watched.grab()
        until(lambda: len(watched.states) == 1)
        assert (watched.states[0].online, watched.states[0].reason) == (
            False,
            "all pictures are damaged: the JPEG is truncated",
        )
        capture.cut = False
        watched.wait_for(online=True)
        assert watched.grab().rgb.shape == (48, 64, 3)
    assert capture.released == 1, "it was not reopened"


@pytest.mark.slow
def test_a_camera_whose_pictures_become_damaged_goes_offline() -> None:
    capture = FakeCapture()
    with watching(capture) as watched:
        watched.grab()
        capture.cut = True
        with pytest.raises(CameraError, match="all pictures are damaged: the JPEG is truncated"):
            watched.grab()
        assert not any(state.online for state in watched.states[1:])
        damaged = watched.camera.figures().damaged
        until(lambda: watched.camera.figures().damaged > damaged, timeout_s=5)
        capture.cut = False
        watched.wait_for(online=True, count=2)


# pictures without a scene


def test_a_black_picture_is_passed_over_for_the_next_one() -> None:
    capture = FakeCapture()
    capture.black = True
    lights = threading.Timer(0.3, setattr, [capture, "black", False])
    with watching(capture) as watched:
        lights.start()
        assert watched.grab().rgb.max() > 50
    lights.join()


@pytest.mark.slow
def test_a_camera_that_stays_black_is_stale() -> None:
    capture = FakeCapture()
    capture.black = True
    with watching(capture) as watched:
        with pytest.raises(StaleFrame, match="black picture: all of it has the same value"):
            watched.grab()
        assert [state.online for state in watched.states] == [True]


@pytest.mark.slow
def test_the_warm_up_of_a_camera_that_starts_slowly_begins_with_its_first_picture() -> None:
    with watching(FakeCapture(start_s=1.5), warm_up_s=1.0) as watched:
        watched.wait_for(online=True)
        started = time.monotonic()
        watched.grab()
        assert 0.7 < time.monotonic() - started < 2


@pytest.mark.slow
def test_a_look_waits_for_a_long_warm_up() -> None:
    """Else `edged look` and `edged doctor`, which open the camera for one picture, would never get it."""
    with watching(FakeCapture(), warm_up_s=6.0) as watched:
        began = time.monotonic()
        watched.grab()
        assert 5 < time.monotonic() - began < 8


def test_pictures_of_the_warm_up_are_thrown_away() -> None:
    capture = FakeCapture()
    with watching(capture, warm_up_s=0.5) as watched:
        watched.wait_for(online=True)
        opened = time.monotonic()
        watched.grab()
        assert 0.3 < time.monotonic() - opened < 2, "the brightness of the stand-in rises from picture to picture"
        began = time.monotonic()
        watched.grab()
        assert time.monotonic() - began < 0.3


def test_the_warm_up_is_over_with_a_picture_that_was_captured_after_it() -> None:
    with watching(FakeCapture(late_s=0.6), warm_up_s=0.5) as watched:
        watched.wait_for(online=True)
        opened = time.monotonic()
        watched.grab()
        assert time.monotonic() - opened > 0.9


# time stamps


def test_age_is_that_of_the_kernels_time_stamp() -> None:
    with watching(FakeCapture(late_s=0.3)) as watched:
        assert 0.3 <= watched.grab().age_s() < 1


def test_pictures_from_before_a_long_stop_of_the_process_are_passed_over() -> None:
    capture = FakeCapture()
    with watching(capture) as watched:
        watched.grab()
        capture.hangs = True
        assert capture.blocked.wait(10)
        last_old = capture.number + 4
        capture.backlog = [90.0] * 4
        capture.hangs = False
        look = threading.Timer(0.3, capture.release_grab.set)
        look.start()
        frame = watched.grab()
        assert frame.age_s() < 0.5
        assert int(frame.rgb[0, 0, 0]) > last_old, "the stand-in's pictures show their numbers"
        look.join()


# reconnects


def test_a_camera_that_is_plugged_in_again_is_back_within_two_seconds() -> None:
    captures = [FakeCapture(), FakeCapture()]
    usb = FakeUsb(*captures)
    with watching(usb=usb) as watched:
        watched.grab()
        usb.unplug(captures[0])
        watched.wait_for(online=False)
        until(lambda: usb.tried >= 4, timeout_s=15)  # the back-off has grown to its maximum
        usb.replug()
        began = time.monotonic()
        watched.wait_for(online=True, count=2)
        assert time.monotonic() - began < 1
        watched.grab()


def test_the_pause_before_the_next_attempt_ends_when_the_device_node_appears() -> None:
    usb = FakeUsb()
    usb.present = False
    camera = UsbCamera(spec("0", "usb"), lambda _: None, usb)
    plug = threading.Timer(0.3, usb.replug)
    plug.start()
    began = time.monotonic()
    camera._wait(60)
    assert 0.2 < time.monotonic() - began < 1
    plug.join()


def test_a_loose_plug_is_found_each_time_it_makes_contact() -> None:
    captures = [FakeCapture() for _ in range(5)]
    usb = FakeUsb(*captures)
    with watching(usb=usb) as watched:
        for number, capture in enumerate(captures, start=1):
            watched.wait_for(online=True, count=number)
            usb.unplug(capture)
            watched.wait_for(online=False, count=number)
            began = time.monotonic()
            usb.replug()
            if number < len(captures):
                watched.wait_for(online=True, count=number + 1)
                assert time.monotonic() - began < 1, number


@pytest.mark.slow
def test_a_stalled_camera_is_offline_after_one_time_out_and_back_with_its_next_picture() -> None:
    capture = FakeCapture()
    with watching(capture) as watched:
        watched.grab()
        capture.silent.set()
        reason = watched.wait_for(online=False).reason
        assert reason
        assert reason.startswith("no picture for 2.")
        with pytest.raises(CameraError, match=r"no picture for 2\."):
            watched.grab()
        began = time.monotonic()
        capture.silent.clear()
        watched.wait_for(online=True, count=2)
        assert time.monotonic() - began < 0.5
    assert capture.released == 1, "it was not reopened"


@pytest.mark.slow
def test_a_camera_that_stays_stalled_is_reopened() -> None:
    first, second = FakeCapture(), FakeCapture()
    with watching(first, second) as watched:
        watched.grab()
        first.silent.set()
        watched.wait_for(online=True, count=2)
        watched.grab()
    assert (first.released, second.released) == (1, 1)


@pytest.mark.slow
def test_a_camera_whose_first_picture_comes_late_is_not_reopened_meanwhile() -> None:
    capture = FakeCapture(start_s=3.5)
    with watching(capture) as watched:
        assert watched.grab().rgb.shape == (48, 64, 3)
        assert [state.online for state in watched.states] == [True]
    assert capture.released == 1


@pytest.mark.slow
def test_a_camera_without_a_picture_for_long_is_offline_but_not_reopened_yet() -> None:
    capture = FakeCapture(start_s=7.5)
    with watching(capture) as watched:
        assert watched.wait_for(online=False).reason == "no picture yet since it was opened"
        watched.wait_for(online=True)
        watched.grab()
    assert capture.released == 1


def test_a_driver_that_refuses_to_start_is_asked_why_after_the_release() -> None:
    capture = FakeCapture()
    capture.refuses_start = True
    usb = FakeUsb(capture)
    usb.start_problem = "the USB controller has not enough bandwidth left"
    released = []
    usb.on_start_question = lambda: released.append(capture.released)
    with watching(usb=usb) as watched:
        assert watched.wait_for(online=False).reason == usb.start_problem
    assert released == [1]


def test_a_device_that_edged_itself_still_holds_is_waited_for() -> None:
    usb = FakeUsb(FakeCapture())
    usb.errors = [HeldByEdged("/dev/video0 is still in use by edged itself")] * 2
    with watching(usb=usb) as watched:
        watched.grab()
        assert [state.online for state in watched.states] == [True], "a reload is no outage"


# identity


def test_another_camera_in_its_place_is_refused_until_the_old_one_is_back() -> None:
    captures = [FakeCapture() for _ in range(3)]
    usb = FakeUsb(*captures)
    usb.identity = WEBCAM
    with watching(usb=usb) as watched:
        watched.grab()
        usb.unplug(captures[0])
        watched.wait_for(online=False)
        usb.identity = OTHER_WEBCAM
        usb.replug()
        until(lambda: "another camera" in (watched.states[-1].reason or ""))
        assert watched.states[-1].reason == (
            "/dev/video0 is now another camera: HD Webcam (046d:0825, serial 99FF) at port 1-1; so far it was "
            "HD Webcam (046d:0825, serial 12AB) at port 1-1. Connect that one again, or restart edged to use this one"
        )
        with pytest.raises(CameraError, match="is now another camera"):
            watched.grab()
        assert usb.opened == 1
        usb.identity = WEBCAM
        usb.replug()
        watched.wait_for(online=True, count=2)
        watched.grab()


def test_another_camera_that_comes_while_the_device_is_opened_is_refused() -> None:
    captures = [FakeCapture() for _ in range(2)]
    usb = FakeUsb(*captures)
    usb.identity = WEBCAM
    with watching(usb=usb) as watched:
        watched.grab()
        usb.identity = OTHER_WEBCAM
        usb.on_open = usb.replug
        usb.unplug(captures[0])
        until(lambda: usb.opened == 2)
        until(lambda: "another camera" in (watched.states[-1].reason or ""), 10)
        assert captures[1].released == 1
        assert not any(state.online for state in watched.states[1:])


def test_another_camera_in_its_place_is_refused_after_a_reload_too() -> None:
    """A changed mask opens the camera again: that confirms nothing."""
    usb = FakeUsb(FakeCapture(), FakeCapture(), FakeCapture())
    usb.identity = WEBCAM
    with watching(usb=usb) as watched:
        watched.grab()
    usb.identity = OTHER_WEBCAM
    masked = watching(usb=usb, mask=(((0.0, 0.0), (0.5, 0.0), (0.5, 0.5)),))
    with masked as watched, pytest.raises(CameraError, match="is now another camera"):
        watched.grab()
    with watching(usb=usb, source="2") as watched:
        watched.grab()


def test_a_camera_that_cannot_be_identified_is_used() -> None:
    captures = [FakeCapture() for _ in range(2)]
    usb = FakeUsb(*captures)
    usb.identity = WEBCAM
    with watching(usb=usb) as watched:
        watched.grab()
        usb.unplug(captures[0])
        usb.identity = None
        usb.replug()
        watched.wait_for(online=True, count=2)
        watched.grab()


def test_unplugged_camera_is_released_and_opened_again() -> None:
    first, second = FakeCapture(), FakeCapture()
    with watching(first, second) as watched:
        watched.grab()
        first.unplugged.set()
        assert watched.wait_for(online=False).reason == "the camera was unplugged, or its driver failed"
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
