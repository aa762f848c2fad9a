"""Files, folders, clips, and HTTP cameras of both kinds."""

from __future__ import annotations

import base64
import gc
import hashlib
import logging
import os
import socket
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import parse_keqv_list

import cv2
import numpy as np
import pytest
from support.rtsp import Watched, answering, spec, until

from edged.cameras.health import UNEXPECTED
from edged.cameras.source import close_all, fetch_picture
from edged.cameras.still import PathCamera
from edged.core.errors import CameraError, Stopped
from edged.core.specs import CameraSpec

NEVER = threading.Event()

PASSWORD = "s3cr/t p@ss"
LOGIN = "viewer:s3cr%2Ft%20p%40ss@"


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


@cache
def jpeg(shade: int) -> bytes:
    return cv2.imencode(".jpg", np.full((48, 64, 3), shade, np.uint8))[1].tobytes()


class Site(BaseHTTPRequestHandler):
    """An HTTP camera with every habit; `shade` is what its pictures show now."""

    shade = 100
    meeting = threading.Barrier(2)
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        handle = getattr(self, "on_" + self.path.strip("/").partition("?")[0], None)
        self.close_connection = True
        if handle is None:
            self.say(404)
        else:
            with suppress(ConnectionError):  # the test has seen enough
                handle()

    def say(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def on_jpeg(self) -> None:
        self.say(200, jpeg(Site.shade), Content_Type="image/jpeg")

    def on_html(self) -> None:
        self.say(200, b"<html>log in</html>", Content_Type="text/html")

    def on_basic(self) -> None:
        right = "Basic " + base64.b64encode(f"viewer:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") == right:
            self.on_jpeg()
        else:
            self.say(401, WWW_Authenticate='Basic realm="cam"')

    def on_digest(self) -> None:
        said = self.headers.get("Authorization", "").removeprefix("Digest ")
        fields = parse_keqv_list(said.split(", ")) if said else {}
        right = md5(f"{md5(f'viewer:cam:{PASSWORD}')}:n0nce:{md5('GET:/digest')}")
        if fields.get("response") == right:
            self.on_jpeg()
        else:
            self.say(401, WWW_Authenticate='Digest realm="cam", nonce="n0nce"')

    def on_quality(self) -> None:
        said = self.headers.get("Authorization", "").removeprefix("Digest ")
        fields = parse_keqv_list(said.split(", ")) if said else {}
        proof = f"n0nce:00000001:{fields.get('cnonce')}:auth:{md5('GET:/quality')}"
        if fields.get("response") == md5(f"{md5(f'viewer:cam:{PASSWORD}')}:{proof}") and fields["opaque"] == "o":
            self.on_jpeg()
        else:
            self.say(401, WWW_Authenticate='Digest realm="cam", nonce="n0nce", qop="auth,auth-int", opaque="o"')

    def on_loop(self) -> None:
        self.say(302, Location="/loop")

    def on_huge(self) -> None:
        self.say(200, b"", Content_Length=str(10**9), Content_Type="image/jpeg")

    def on_endless(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "image/jpeg")
        self.end_headers()
        for _ in range(40):
            self.wfile.write(b"\0" * 1024 * 1024)

    def on_cut(self) -> None:
        self.say(200, jpeg(10)[:200], Content_Length=str(len(jpeg(10))), Content_Type="image/jpeg")

    def on_meeting(self) -> None:
        """A stream; an answer waits up to 1 s for a second one who asks."""
        with suppress(threading.BrokenBarrierError):
            Site.meeting.wait(1)
        self.on_stream()

    def on_stream(self, with_length: bool = True, boundary: str = "frame", count: int = 10**6) -> None:
        self.send_response(200)
        self.send_header("Content-Type", f'multipart/x-mixed-replace; boundary="{boundary}"')
        self.end_headers()
        for _ in range(count):
            length = f"Content-Length: {len(jpeg(Site.shade))}\r\n" if with_length else ""
            head = f"\r\n--{boundary.removeprefix('--')}\r\nContent-Type: image/jpeg\r\n{length}\r\n"
            self.wfile.write(head.encode() + jpeg(Site.shade))
            threading.Event().wait(0.04)

    def on_bare(self) -> None:
        self.on_stream(with_length=False, boundary="--odd")

    def on_dashes(self) -> None:
        self.on_stream(boundary="-----odd")

    def on_short(self) -> None:
        self.on_stream(count=20)


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def silent_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def write(path: Path, shade: int) -> Path:
    path.write_bytes(jpeg(shade))
    return path


def clip(path: Path) -> Path:
    """A second, of 20 pictures that get brighter."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20, (64, 48))
    for number in range(20):
        writer.write(np.full((48, 64, 3), number * 10, np.uint8))
    writer.release()
    return path


def shade(watched: Watched) -> int:
    return int(watched.grab().rgb.mean().round())


def at(path: Path) -> Watched:
    return Watched(spec(str(path), "path"))


def web(url: str, **more: object) -> Watched:
    return Watched(spec(url, "http", **more))


# --- files ---


def test_picture_file_is_captured_when_it_is_read(tmp_path: Path) -> None:
    with at(write(tmp_path / "a.jpg", 50)) as watched:
        assert shade(watched) == 50
        write(tmp_path / "a.jpg", 90)
        frame = watched.grab()
        assert round(frame.rgb.mean()) == 90
        assert frame.age_s() < 1
        assert [state.online for state in watched.states] == [True]


def test_folder_gives_its_pictures_by_name_over_and_over_and_is_listed_again_each_time_round(tmp_path: Path) -> None:
    write(tmp_path / "b.jpg", 20)
    write(tmp_path / "a.JPG", 10)
    (tmp_path / "notes.txt").write_text("no picture")
    with at(tmp_path) as watched:
        assert [shade(watched)] == [10]
        write(tmp_path / "aa.jpg", 15)
        assert [shade(watched) for _ in range(4)] == [20, 10, 15, 20]


def test_unreadable_picture_of_a_folder_is_named_and_the_next_look_goes_on(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg(10)[:100])
    write(tmp_path / "b.jpg", 20)
    with at(tmp_path) as watched:
        with pytest.raises(CameraError, match=r"a\.jpg: the JPEG is cut short"):
            watched.grab()
        assert shade(watched) == 20
        assert [state.online for state in watched.states] == [False, True]


def test_what_is_missing_is_said_and_found_when_it_comes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "edged.camera")
    path = tmp_path / "a.jpg"
    with at(path) as watched:
        for _ in range(3):
            with pytest.raises(CameraError, match="cannot be read: No such file"):
                watched.grab()
        write(path, 70)
        assert shade(watched) == 70
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", f"camera dock: {path} cannot be read: No such file or directory"),
        ("INFO", "camera dock: connected (picture file, 64x48) after 0 s (3 tries)"),
    ]


@pytest.mark.parametrize(("name", "words"), [("empty", "contains no picture"), ("none.mp4", "does not exist")])
def test_source_without_pictures_says_so(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "empty").mkdir()
    with at(tmp_path / name) as watched, pytest.raises(CameraError, match=words):
        watched.grab()


def test_clip_advances_with_the_time_and_begins_anew(tmp_path: Path) -> None:
    with at(clip(tmp_path / "clip.avi")) as watched:
        began, seen = time.monotonic(), []
        while time.monotonic() - began < 1.3:
            seen.append((time.monotonic() - began, shade(watched) / 10))
            threading.Event().wait(0.1)
    for moment, number in seen:
        behind = (moment * 20 - number + 1) % 20
        assert behind < 9, f"picture {number} at {moment:.2f} s"
    assert len({round(number) for _, number in seen}) > 3


def test_file_that_is_neither_picture_nor_clip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("no clip")
    with at(tmp_path / "a.mp4") as watched, pytest.raises(CameraError, match="neither a picture nor a clip"):
        watched.grab()


def fifo(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


def device(path: Path) -> None:
    path.symlink_to("/dev/null")


def in_time(watched: Watched, within_s: float = 3.0) -> str:
    """What a look comes to, or that it hangs."""
    outcome = ["the look hangs"]

    def look() -> None:
        try:
            outcome[0] = f"a picture of {watched.grab().rgb.shape[1]} columns"
        except CameraError as error:
            outcome[0] = str(error)

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    looking.join(within_s)
    return outcome[0]


@pytest.mark.parametrize("name", ["a.jpg", "a.mp4"])
@pytest.mark.parametrize("make", [fifo, unix_socket, device])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, make, name: str) -> None:
    make(tmp_path / name)
    with at(tmp_path / name) as watched:
        assert in_time(watched) == f"{tmp_path / name} is not a regular file" == watched.states[0].reason


def test_fifo_in_a_folder_is_named_and_the_next_look_goes_on(tmp_path: Path) -> None:
    fifo(tmp_path / "a.jpg")
    write(tmp_path / "b.jpg", 20)
    with at(tmp_path) as watched:
        assert in_time(watched) == f"{tmp_path / 'a.jpg'} is not a regular file"
        assert in_time(watched) == "a picture of 64 columns"


def test_picture_file_beyond_64_mib_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "a.jpg").open("wb") as file:
        file.write(jpeg(10))
        file.truncate(64 * 1024 * 1024 + 1)
    with at(tmp_path / "a.jpg") as watched:
        assert in_time(watched) == f"{tmp_path / 'a.jpg'} is larger than 64 MiB"


def test_first_picture_of_a_file_is_no_news(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "edged.camera")
    with at(write(tmp_path / "a.jpg", 50)) as watched:
        watched.grab()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("DEBUG", "camera dock: connected (picture file, 64x48)")
    ]


# --- reads that hang ---


class FakeRead:
    """A network share: reads wait while it hangs. Remembers which pictures it gave, and how many read at once."""

    def __init__(self) -> None:
        self.works, self.asked = threading.Event(), threading.Event()
        self.works.set()
        self.reads = 0
        self.pictures: list[weakref.ref[np.ndarray]] = []
        self.error: Exception | None = None
        self.done = 0

    def __call__(self, path: Path) -> np.ndarray:
        self.reads += 1
        picture = np.full((48, 64, 3), self.reads, np.uint8)
        self.pictures.append(weakref.ref(picture))
        self.asked.set()
        self.works.wait(20)
        self.done += 1
        if self.error:
            raise self.error
        return picture

    def held(self) -> int:
        return sum(picture() is not None for picture in self.pictures)


def sharing(read: FakeRead, tmp_path: Path, limit_s: float = 0.3) -> Watched:
    return Watched(spec(str(tmp_path / "a.jpg"), "path"), PathCamera, read=read, limit_s=limit_s)


def test_read_that_hangs_is_a_lost_camera_until_it_comes_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "edged.camera")
    read = FakeRead()
    with sharing(read, tmp_path) as watched:
        assert shade(watched) == 1
        read.works.clear()
        words = f"{tmp_path / 'a.jpg'} did not answer within 0.3 s"
        for longest_s in (2.0, 0.2, 0.2):
            began = time.monotonic()
            with pytest.raises(CameraError) as caught:
                watched.grab()
            assert str(caught.value) == words
            assert time.monotonic() - began < longest_s
        assert read.reads == 2, "nothing piles up behind it"
        assert [thread.name for thread in threading.enumerate()].count("camera-dock") == 1
        read.works.set()
        until(lambda: read.done == 2)
        until(lambda: "camera-dock" not in {thread.name for thread in threading.enumerate()})
        assert shade(watched) == 3, "what came too late is not passed as fresh"
    assert [(state.online, state.reason) for state in watched.states] == [(True, None), (False, words), (True, None)]
    assert [record.getMessage().partition(" after")[0] for record in caplog.records] == [
        f"camera dock: {words}",
        "camera dock: back",
    ]


def test_look_at_a_share_that_hangs_ends_when_edged_stops(tmp_path: Path) -> None:
    read = FakeRead()
    read.works.clear()
    with sharing(read, tmp_path, 20) as watched:
        threading.Timer(0.2, watched.stop.set).start()
        began = time.monotonic()
        with pytest.raises(Stopped):
            watched.grab()
        assert time.monotonic() - began < 1
        read.works.set()


def test_close_takes_a_second_at_most_and_ends_the_look(tmp_path: Path) -> None:
    read = FakeRead()
    read.works.clear()
    with sharing(read, tmp_path, 20) as watched:
        threading.Timer(0.2, watched.camera.close).start()
        began = time.monotonic()
        with pytest.raises(CameraError, match="closed"):
            watched.grab()
        assert time.monotonic() - began < 1
        began = time.monotonic()
        assert not close_all([watched.camera])
        assert time.monotonic() - began < 1.5
    read.works.set()
    until(lambda: close_all([]))
    assert watched.states == []


def test_two_looks_at_once_read_one_after_the_other(tmp_path: Path) -> None:
    read = FakeRead()
    read.works.clear()
    seen: list[int] = []
    with sharing(read, tmp_path, 10) as watched:
        looks = [threading.Thread(target=lambda: seen.append(shade(watched)), daemon=True) for _ in range(2)]
        for look in looks:
            look.start()
        assert read.asked.wait(10)
        looks[0].join(0.2)
        assert read.reads == 1
        read.works.set()
        for look in looks:
            look.join(10)
    assert sorted(seen) == [1, 2]


def test_unexpected_error_of_a_read_reaches_the_look_and_the_camera_goes_on(tmp_path: Path) -> None:
    read = FakeRead()
    with sharing(read, tmp_path) as watched:
        read.error = ZeroDivisionError("in the reader")
        with pytest.raises(ZeroDivisionError, match="in the reader"):
            watched.grab()
        read.error = None
        assert shade(watched) == 2


@pytest.mark.parametrize("error", [None, CameraError("damaged"), ZeroDivisionError("in the reader")])
def test_no_pixels_are_held_after_a_look(tmp_path: Path, error: Exception | None) -> None:
    read = FakeRead()
    gc.disable()
    try:
        with sharing(read, tmp_path) as watched:
            frame = weakref.ref(watched.grab().rgb)
            read.error = error
            for _ in range(3):
                with suppress(CameraError, ZeroDivisionError):
                    watched.grab()
            read.error = None
            if error:
                error.__traceback__ = None  # this test holds the error; it holds the frames of its stack
                error.__context__ = None
            until(lambda: not read.held() and frame() is None, within_s=2)
    finally:
        gc.enable()


def test_no_pixels_of_a_read_that_came_too_late_are_held(tmp_path: Path) -> None:
    read = FakeRead()
    with sharing(read, tmp_path) as watched:
        read.works.clear()
        with pytest.raises(CameraError):
            watched.grab()
        read.works.set()
        until(lambda: read.done == 1 and not read.held(), within_s=2)


# --- HTTP snapshots ---


def test_snapshot_is_fetched_anew_at_each_look(site: str) -> None:
    with web(f"http://{site}/jpeg") as watched:
        Site.shade = 100
        assert shade(watched) == 100
        Site.shade = 140
        assert shade(watched) == 140
        assert [state.online for state in watched.states] == [True]


@pytest.mark.parametrize("way", ["basic", "digest", "quality"])
def test_snapshot_with_login(site: str, way: str) -> None:
    Site.shade = 100
    with web(f"http://{LOGIN}{site}/{way}") as watched:
        assert shade(watched) == 100


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("viewer:wrong@{}/basic", "wrong user or password (401)"),
        ("viewer:wrong@{}/digest", "wrong user or password (401)"),
        ("{}/basic", "the camera asks for a user and a password (401)"),
        ("{}/nothing", "the camera has no such path (404)"),
        ("{}/loop", "the camera redirects in a circle or to an unsupported address (302)"),
        ("{}/huge", "the picture is larger than 32 MiB"),
        ("{}/endless", "the picture is larger than 32 MiB"),
        ("{}/cut", "the connection ended in the middle of the picture"),
        ("{}/html", "the data is not a picture that can be decoded (JPEG and PNG can)"),
        ("viewer:pa/ss@{}/jpeg", "the address is not a valid URL (is its password percent-encoded?)"),
    ],
)
def test_snapshot_that_fails_says_why(site: str, address: str, words: str) -> None:
    with web("http://" + address.format(site)) as watched:
        with pytest.raises(CameraError) as caught:
            watched.grab()
        assert str(caught.value) == words == watched.states[0].reason


NO_HTTP = "does not speak HTTP as expected"
DIGEST = b'HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm="r", nonce="n"\r\nContent-Length: 0\r\n\r\n'


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 302 Go\r\nLocation: http://a..b/\r\n\r\n", NO_HTTP),
        (b"HTTP/1.1 302 Go\r\nLocation: http://" + b"a" * 64 + b"/\r\n\r\n", NO_HTTP),
        (b"HTTP/1.1 302 Go\r\nLocation: http://[zz/\r\n\r\n", NO_HTTP),
        (b"HTTP/1.1 302 Go\r\nLocation: file:///etc/passwd\r\n\r\n", "redirects in a circle or to an unsupported"),
        (b'HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm, =, "\r\nContent-Length: 0\r\n\r\n', "no supported login"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\nno picture", "not a picture"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nno picture", "not a picture"),
    ],
)
def test_a_malformed_answer_is_a_reason_and_the_camera_is_offline(answer: bytes, words: str) -> None:
    with answering(lambda _: answer, hang_up=True) as port, web(f"http://{LOGIN}127.0.0.1:{port}/a") as watched:
        with pytest.raises(CameraError, match=words):
            watched.grab()
        assert words in (watched.states[-1].reason or "")


@pytest.mark.parametrize(
    "part", [b"Content-Length: " + b"9" * 5000, b"Content-Length: \xb2", b"Content-Length: " + b"9" * 17]
)
def test_a_malformed_part_of_a_stream_is_no_unexpected_error(part: bytes, caplog: pytest.LogCaptureFixture) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=b\r\n\r\n--b\r\n"
    with (
        answering(lambda _: head + part + b"\r\n\r\nx\r\n", hang_up=True) as port,
        web(f"http://127.0.0.1:{port}/a") as watched,
    ):
        with pytest.raises(CameraError):
            watched.grab()
        watched.wait_for(online=False)
    assert "unexpected" not in caplog.text


def test_a_boundary_outside_latin_1_is_no_unexpected_error(caplog: pytest.LogCaptureFixture) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary*=utf-8''%EA%B0%80\r\n\r\n"
    with answering(lambda _: head, hang_up=True) as port, web(f"http://127.0.0.1:{port}/a") as watched:
        with pytest.raises(CameraError):
            watched.grab()
        assert "does not announce the boundary" in (watched.wait_for(online=False).reason or "")
    assert "unexpected" not in caplog.text


def why(watched: Watched) -> str:
    with pytest.raises(CameraError) as caught:
        watched.grab()
    return str(caught.value)


def test_a_login_with_a_control_character_is_refused_and_not_repeated() -> None:
    """http.client would put the whole header into its error."""
    with answering(lambda _: DIGEST) as port, web(f"http://view%0Aer:hunter2@127.0.0.1:{port}/a") as watched:
        assert why(watched) == "the user or password of the address has a control character"


def test_a_login_in_korean_is_sent_as_utf_8() -> None:
    heard: list[bytes] = []

    def answer(request: bytes) -> bytes:
        heard.append(request)
        return DIGEST

    with answering(answer) as port, web(f"http://%EA%B9%80:pw@127.0.0.1:{port}/a") as watched:
        assert why(watched) == "wrong user or password (401)"
    assert 'username="김"'.encode() in heard[-1]


def test_a_camera_whose_look_fails_unexpectedly_is_offline(tmp_path: Path) -> None:
    def read(path: Path) -> np.ndarray:
        raise ZeroDivisionError

    with Watched(spec(str(tmp_path / "a.jpg"), "path"), PathCamera, read=read) as watched:
        with pytest.raises(ZeroDivisionError):
            watched.grab()
        assert [(state.online, state.reason) for state in watched.states] == [(False, UNEXPECTED)]


def test_silent_web_camera_is_given_up_after_five_seconds(silent_port: int) -> None:
    with web(f"http://127.0.0.1:{silent_port}/") as watched, pytest.raises(CameraError, match=r"no answer .* in 5 s"):
        watched.grab()


def test_look_at_a_silent_web_camera_ends_when_edged_stops(silent_port: int) -> None:
    with web(f"http://127.0.0.1:{silent_port}/") as watched:
        threading.Timer(0.2, watched.stop.set).start()
        began = time.monotonic()
        with pytest.raises(Stopped):
            watched.grab()
        assert time.monotonic() - began < 1


def test_close_ends_a_look_at_a_silent_web_camera(silent_port: int) -> None:
    with web(f"http://127.0.0.1:{silent_port}/") as watched:
        threading.Timer(0.2, watched.camera.close).start()
        began = time.monotonic()
        with pytest.raises(CameraError, match="closed"):
            watched.grab()
        assert time.monotonic() - began < 1
    assert watched.states == []


def test_proxy_of_the_environment_is_not_asked(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cameras are on the local network, and their passwords are nobody else's."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("http_proxy", nowhere)
    monkeypatch.setenv("no_proxy", "")
    with web(f"http://{site}/jpeg") as watched:
        assert in_time(watched, 10) == "a picture of 64 columns"


def test_no_credential_is_in_any_log_reason_or_error(site: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said = []
    for path in ("nothing", "loop", "html", "huge", "cut"):
        with web(f"http://{LOGIN}{site}/{path}", shown=f"http://{site}") as watched:
            with pytest.raises(CameraError) as caught:
                watched.grab()
            said += [repr(caught.value), repr(caught.value.__cause__), str(watched.states)]
    everything = caplog.text + "".join(said)
    assert "camera dock" in everything
    for secret in ("s3cr", "p@ss", "p%40ss", "viewer"):
        assert secret not in everything


# --- HTTP streams ---


@pytest.mark.parametrize("path", ["stream", "bare", "dashes"])
def test_content_type_makes_it_a_stream_and_its_newest_picture_is_taken(site: str, path: str) -> None:
    Site.shade = 30
    with web(f"http://{site}/{path}") as watched:
        assert shade(watched) == 30
        Site.shade = 80
        threading.Event().wait(0.5)  # a look that comes later, as looks do
        frame = watched.grab()
        assert round(frame.rgb.mean()) == 80
        assert frame.age_s() < 1
        assert [state.online for state in watched.states] == [True]


def test_stream_that_ends_is_opened_again(site: str) -> None:
    with web(f"http://{site}/short") as watched:
        watched.grab()
        assert watched.wait_for(online=False).reason == "the camera ended the stream"
        watched.wait_for(online=True, count=2)
        watched.grab()


def test_first_look_at_a_stream_ends_when_edged_stops(site: str) -> None:
    with web(f"http://{site}/stream") as watched:
        watched.stop.set()
        with pytest.raises(Stopped):
            watched.grab()


def test_two_first_looks_at_once_start_one_stream(site: str) -> None:
    Site.meeting = threading.Barrier(2)
    with web(f"http://{site}/meeting") as watched:
        looks = [threading.Thread(target=watched.grab, daemon=True) for _ in range(2)]
        for look in looks:
            look.start()
        for look in looks:
            look.join(15)
        assert [thread.name for thread in threading.enumerate()].count("camera-dock") == 1
    until(lambda: close_all([]), within_s=2)


def test_camera_closed_before_its_stream_starts_leaves_no_thread(site: str) -> None:
    Site.meeting = threading.Barrier(2)
    with web(f"http://{site}/meeting") as watched:
        looking = threading.Thread(target=lambda: in_time(watched, 5), daemon=True)
        looking.start()
        until(lambda: Site.meeting.n_waiting == 1)
        watched.camera.close()
        looking.join(5)
        until(lambda: close_all([]), within_s=2)
    assert watched.states == []


# --- memory ---


@pytest.mark.parametrize("kind", ["clip", "folder", "jpeg", "stream"])
def test_no_frame_is_held_after_its_look(site: str, tmp_path: Path, kind: str) -> None:
    write(tmp_path / "a.jpg", 10)
    sources = {"clip": lambda: at(clip(tmp_path / "clip.avi")), "folder": lambda: at(tmp_path)}
    gc.disable()
    try:
        with sources.get(kind, lambda: web(f"http://{site}/{kind}"))() as watched:
            for _ in range(2):
                frame = weakref.ref(watched.grab().rgb)
                assert frame() is None
    finally:
        gc.enable()


# --- a source that cannot be opened ---


def without_secret(kind: str, port: int, problem: str) -> CameraSpec:
    whole = spec(f"{kind}://viewer:@127.0.0.1:{port}/a", kind)
    return replace(whole, source=replace(whole.source, problem=problem))


@pytest.mark.parametrize("kind", ["http", "rtsp"])
def test_camera_whose_secret_is_missing_says_so_and_sends_nothing(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    words = "the secret dock is missing: /etc/edged/credentials/dock does not exist"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.5)
        with Watched(without_secret(kind, listening.getsockname()[1], words)) as watched:
            for _ in range(2):
                with pytest.raises(CameraError) as caught:
                    watched.grab()
                assert str(caught.value) == words
            with pytest.raises(TimeoutError):
                listening.accept()
    assert [(state.online, state.reason) for state in watched.states] == [(False, words)]
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", f"camera dock: {words}")
    ]


# --- one picture ---


def test_one_picture_from_a_file_or_an_address(site: str, tmp_path: Path) -> None:
    Site.shade = 60
    png = tmp_path / "a.png"
    cv2.imwrite(str(png), np.full((8, 8, 3), 33, np.uint8))
    assert fetch_picture(str(png), NEVER).rgb.mean() == 33
    assert round(fetch_picture(f"http://{site}/jpeg", NEVER).rgb.mean()) == 60
    assert round(fetch_picture(f"http://{LOGIN}{site}/basic", NEVER).rgb.mean()) == 60
    assert round(fetch_picture(f"http://{site}/stream", NEVER).rgb.mean()) == 60


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("/nowhere/a.jpg", "/nowhere/a.jpg cannot be read: No such file or directory"),
        ("/tmp", "/tmp cannot be read: Is a directory"),
        ("rtsp://viewer:pw@host/a", "a picture is a file or an http(s) address, not rtsp://"),
    ],
)
def test_one_picture_that_cannot_be_had_says_why(source: str, words: str) -> None:
    with pytest.raises(CameraError) as caught:
        fetch_picture(source, NEVER)
    assert str(caught.value) == words


def test_one_picture_from_a_fifo_is_refused(tmp_path: Path) -> None:
    fifo(tmp_path / "a.jpg")
    with pytest.raises(CameraError, match="is not a regular file"):
        fetch_picture(str(tmp_path / "a.jpg"), NEVER)
