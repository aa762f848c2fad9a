"""Cameras that send a byte at a time and never a whole answer: each wait is bounded, and close() ends it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from support.broker import until
from support.cameras import Watched, spec
from support.http import answering, trickle

from edged.cameras.path_camera import PathCamera
from edged.cameras.source import fetch_picture
from edged.core.errors import CameraError
from edged.core.specs import SourceKind

NEVER = threading.Event()

MULTIPART = b'HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary="frame"\r\n\r\n'
HTTP_HEADERS = (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x")
RTSP_HEADERS = (b"RTSP/1.0 200 OK\r\nX-Long: ", b"x")
PICTURE = (b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n\xff\xd8\xff", b"x")
PART = (MULTIPART + b"--frame\r\nContent-Length: 5000\r\n\r\n\xff\xd8\xff", b"x")
PART_HEADERS = (MULTIPART + b"--frame\r\nX-Long: ", b"x")
OTHER_BOUNDARY = (MULTIPART, b"--other\r\n\r\n\xff\xd8\xff no boundary of ours \xff\xd9\r\n")


def failing(scheme: SourceKind, sent: tuple[bytes, bytes]) -> str:
    """The reason that a camera which sends this reports first."""
    with (
        answering(lambda _: trickle(*sent)) as port,
        Watched(spec(f"{scheme}://127.0.0.1:{port}/a", scheme)) as watched,
    ):
        if scheme == "http":
            with pytest.raises(CameraError):
                watched.grab()
        return watched.wait_for(online=False, within_s=20).reason or ""


def hanging() -> str:
    works = threading.Event()

    def read(path: Path) -> np.ndarray:
        assert works.wait(20)
        return np.zeros((8, 8, 3), np.uint8)

    with Watched(spec("/mnt/share/a.jpg", "path"), PathCamera, read=read) as watched:
        with pytest.raises(CameraError) as caught:
            watched.grab()
        works.set()
        return str(caught.value)


def look_at(watched: Watched) -> None:
    with suppress(CameraError):
        watched.grab()


def fetching(sent: tuple[bytes, bytes]) -> str:
    with answering(lambda _: trickle(*sent)) as port, pytest.raises(CameraError) as caught:
        fetch_picture(f"http://127.0.0.1:{port}/a", NEVER)
    return str(caught.value)


@pytest.mark.slow
def test_answer_that_trickles_is_given_up_after_ten_seconds_with_the_reason() -> None:
    late = "the picture did not arrive in 10 s"
    no_answer = "the camera's answer did not arrive in 10 s"
    no_boundary = "the stream does not contain the boundary that its header declares"
    expected: list[tuple[Callable[[], str], str]] = [
        (lambda: failing("http", HTTP_HEADERS), no_answer),
        (lambda: failing("rtsp", RTSP_HEADERS), no_answer),
        (lambda: failing("http", PICTURE), late),
        (lambda: failing("http", PART), late),
        (lambda: failing("http", PART_HEADERS), late),
        (lambda: failing("http", OTHER_BOUNDARY), no_boundary),
        (lambda: fetching(OTHER_BOUNDARY), no_boundary),
        (lambda: fetching(HTTP_HEADERS), no_answer),
        (hanging, "/mnt/share/a.jpg did not answer within 10 s"),
    ]
    reasons = [""] * len(expected)

    def ask(number: int) -> None:
        reasons[number] = expected[number][0]()

    began = time.monotonic()
    threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(len(expected))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, began + 25 - time.monotonic()))
    assert reasons == [reason for _, reason in expected]


@pytest.mark.parametrize(
    ("scheme", "sent"),
    [
        ("http", HTTP_HEADERS),
        ("rtsp", RTSP_HEADERS),
        ("http", PICTURE),
        ("http", PART),
        ("http", PART_HEADERS),
        ("http", OTHER_BOUNDARY),
    ],
    ids=["headers", "rtsp headers", "picture", "part", "part headers", "other boundary"],
)
def test_close_ends_the_thread_of_a_camera_that_trickles(scheme: SourceKind, sent: tuple[bytes, bytes]) -> None:
    trickling = threading.Event()

    def reply(_request: bytes) -> Iterator[bytes]:
        chunks = trickle(*sent)
        yield next(chunks)
        yield next(chunks)
        trickling.set()
        yield from chunks

    with answering(reply) as port:
        watched = Watched(spec(f"{scheme}://127.0.0.1:{port}/a", scheme))
        with watched:
            look = threading.Thread(target=look_at, args=(watched,), daemon=True)
            look.start()
            assert trickling.wait(10)
            began = time.monotonic()
        assert time.monotonic() - began < 1.2
        until(lambda: not look.is_alive() and "camera-dock" not in {each.name for each in threading.enumerate()}, 1)
        assert watched.states == []


def test_missing_boundary_in_a_flood_of_data_is_limited_by_size() -> None:
    began = time.monotonic()
    head, chunk = OTHER_BOUNDARY
    flood = chunk + b"\0" * 2**20 + b"\r\n"
    with answering(lambda _: trickle(head, flood, 0)) as port, pytest.raises(CameraError) as caught:
        fetch_picture(f"http://127.0.0.1:{port}/a", NEVER)
    assert str(caught.value) == "the stream does not contain the boundary that its header declares"
    assert time.monotonic() - began < 8


def test_redirect_with_an_endless_body_is_not_kept_in_memory() -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: /b\r\n\r\n"
    with (
        answering(lambda _: trickle(head, b"\0" * 2**18, 0)) as port,
        pytest.raises(CameraError, match="answer is larger than"),
    ):
        fetch_picture(f"http://127.0.0.1:{port}/a", NEVER)
