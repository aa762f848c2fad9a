"""RTSP cameras against a real server: fresh pictures, error reasons, and reconnection after every kind of loss."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from support.broker import free_port, until
from support.cameras import Watched, spec
from support.http import answering
from support.rtsp import Server, made_ago, serving

from edged.cameras.source import close_all
from edged.core.errors import CameraError, StaleFrame, Stopped

USER, PASSWORD = "viewer", "s3cr/t p@ss"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture(scope="module", params=["basic", "digest"])
def guarded(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serving(request.param, USER, PASSWORD) as running:
        yield running


# --- pictures ---


@pytest.mark.slow
@pytest.mark.parametrize("path", ["h264", "h265", "mjpeg", "sdp"])
def test_first_look_of_a_fresh_camera_waits_for_its_first_picture(server: Server, path: str) -> None:
    with Watched(spec(server.url(path))) as watched:
        frame = watched.grab()
        assert frame.rgb.shape == (240, 320, 3)
        assert made_ago(frame) < 1.5
        assert [state.online for state in watched.states] == [True]


@pytest.mark.slow
def test_picture_of_several_slices_is_complete(server: Server) -> None:
    """Half a picture decodes without an error; the rest is grey or smeared."""
    with Watched(spec(server.url("sliced"))) as watched:
        for _ in range(25):
            frame = watched.grab()
            assert made_ago(frame) < 3
            below = frame.rgb[70:, ::8, 1].astype(int)
            assert (np.minimum(abs(below - below[:, :1]), abs(below - below[:, -1:])) < 24).all(), "damaged"
            assert np.ptp(below[:, 3]) < 24
            threading.Event().wait(0.07)  # at another position in the GOP


@pytest.mark.slow
def test_picture_after_a_pause_is_fresh(server: Server) -> None:
    with Watched(spec(server.url("h264"))) as watched:
        first = watched.grab()
        threading.Event().wait(2)
        frame = watched.grab()
        assert made_ago(frame) < 1
        assert abs(made_ago(frame) - frame.age_s()) < 0.5, "the frame's own age is true"
        assert frame.captured_mono - first.captured_mono > 1.5
        assert frame.sha256 != first.sha256


def test_mask_is_applied_to_the_frame(server: Server) -> None:
    top = ((0.0, 0.0), (1.0, 0.0), (1.0, 0.25), (0.0, 0.25))
    with Watched(spec(server.url("h264"), mask=(top,))) as watched:
        frame = watched.grab()
        assert not frame.rgb[:60].any()
        assert frame.rgb[62:].any()


@pytest.mark.slow
def test_password_is_percent_decoded_and_works_by_basic_and_digest(guarded: Server) -> None:
    with Watched(spec(guarded.url("h264"))) as watched:
        assert made_ago(watched.grab()) < 1.5


# --- loss and return ---


@pytest.mark.slow
def test_loss_and_return_of_a_camera_are_logged_once_each(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "edged.camera")
    with serving() as first, Watched(spec(first.url("h264"))) as watched:
        watched.grab()
        first.kill()
        lost = watched.wait_for(online=False)
        assert lost.reason
        with pytest.raises(CameraError):
            watched.grab()
        # The preflight's reason comes with the second failed attempt.
        until(lambda: "refused" in (watched.states[-1].reason or ""))
        with serving(port=first.port):
            back = watched.wait_for(online=True, count=2)
            assert back.reason is None
            assert made_ago(watched.grab()) < 1.5
            messages = [record.getMessage() for record in caplog.records]
    assert messages[0] == "camera dock: connected (H.264, 320x240)"
    assert messages[1] == "camera dock: the camera ended the stream; reconnecting in 1 s"
    assert messages[2].startswith("camera dock: back after ")
    assert len(messages) == 3


@pytest.mark.slow
def test_camera_that_stalls_is_stale_then_offline_and_fresh_again_afterwards(server: Server) -> None:
    with serving() as stalling, Watched(spec(stalling.url("h264"), max_age_s=1.0)) as watched:
        watched.grab()
        stalling.pause()

        def stale() -> bool:
            try:
                frame = watched.grab()
            except StaleFrame as error:
                return "max_age is 1 s" in str(error)
            assert frame.age_s() < 1.5
            return False

        until(stale, timeout_s=5)
        assert "no packet for" in (watched.wait_for(online=False, within_s=15).reason or "")
        with pytest.raises(CameraError):
            watched.grab()
        stalling.resume()
        watched.wait_for(online=True, count=2)
        assert made_ago(watched.grab()) < 1.5


class DescribesOnly:
    """Answers the preflight, and falls silent when FFmpeg asks."""

    def __init__(self) -> None:
        self.opened = threading.Event()

    def __call__(self, request: bytes) -> bytes | None:
        if request.startswith(b"DESCRIBE") and b"edged" in request:
            description = b"v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:x\r\n"
            head = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: %d\r\n\r\n"
            return head % len(description) + description
        self.opened.set()
        return None


@pytest.mark.slow
def test_dead_camera_does_not_hold_up_a_healthy_one(server: Server) -> None:
    answers = DescribesOnly()
    with (
        answering(answers) as port,
        Watched(spec(f"rtsp://127.0.0.1:{port}/a")) as dead,
        Watched(spec(server.url("h264"))) as healthy,
    ):
        assert answers.opened.wait(10), "FFmpeg waits for the dead one now"
        healthy.grab()
        assert not dead.states
        assert "no answer from" in (dead.wait_for(online=False).reason or "")


# --- ending ---


def test_close_ends_the_wait_between_two_attempts() -> None:
    watched = Watched(spec(f"rtsp://127.0.0.1:{free_port()}/a"))
    with watched:
        watched.wait_for(online=False)
        began = time.monotonic()
    assert time.monotonic() - began < 0.5
    watched.camera.close()


@pytest.mark.slow
def test_cameras_are_closed_concurrently_and_close_all_tells_if_a_thread_remains() -> None:
    answers = DescribesOnly()
    with answering(answers) as port:
        watched = [Watched(spec(f"rtsp://127.0.0.1:{port}/a")) for _ in range(4)]
        for each in watched:
            each.camera.start()
        assert answers.opened.wait(10), "a thread is inside FFmpeg"
        began = time.monotonic()
        assert not close_all(each.camera for each in watched)
        assert time.monotonic() - began < 3
    until(lambda: close_all([]))


def test_first_look_ends_when_edged_stops() -> None:
    with answering(lambda _: None) as port, Watched(spec(f"rtsp://127.0.0.1:{port}/a")) as watched:
        threading.Timer(0.2, watched.stop.set).start()
        began = time.monotonic()
        with pytest.raises(Stopped):
            watched.grab()
        assert time.monotonic() - began < 2
