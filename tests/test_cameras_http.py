"""HTTP cameras: snapshots, MJPEG streams, and what goes wrong with them."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from support import jpegs
from support.broker import tls, until  # noqa: F401  # a fixture
from support.cameras import Watched, spec
from support.http import LOGIN, Reply, Site, answering, jpeg, serving_site

from edged.cameras import multipart
from edged.cameras.bounded import BoundedStream, Budget
from edged.cameras.http_camera import open_mjpeg
from edged.cameras.http_client import request
from edged.cameras.source import close_all
from edged.core.errors import CameraError, StaleFrame, Stopped
from edged.core.specs import CameraSpec, SourceKind


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with serving_site() as address:
        yield address


@pytest.fixture
def silent_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def shade(watched: Watched) -> int:
    return int(watched.grab().rgb.mean().round())


def shows(watched: Watched, expected: int) -> bool:
    """False also while there is no picture."""
    try:
        return shade(watched) == expected
    except CameraError:
        return False


def web(url: str, **more: Any) -> Watched:
    return Watched(spec(url, "http", **more))


# --- snapshots ---


def test_snapshot_is_fetched_at_each_look(site: str) -> None:
    with web(f"http://{site}/jpeg") as watched:
        Site.shade = 100
        assert shade(watched) == 100
        Site.shade = 140
        assert shade(watched) == 140
        assert [state.online for state in watched.states] == [True]


def test_snapshot_with_basic_login(site: str) -> None:
    Site.shade = 100
    with web(f"http://{LOGIN}{site}/basic") as watched:
        assert shade(watched) == 100


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("viewer:wrong@{}/basic", "wrong user or password (401)"),
        ("{}/basic", "the camera requires a user and a password (401)"),
        ("{}/nothing", "the path does not exist on the camera (404)"),
        ("{}/loop", "the camera redirects in a loop or to an unsupported address (302)"),
        ("{}/huge", "the picture is larger than 32 MiB"),
        ("{}/endless", "the picture is larger than 32 MiB"),
        ("{}/cut", "the connection ended in the middle of the picture"),
        ("{}/html", "the data is not a picture in a supported format, such as JPEG or PNG"),
        ("viewer:pa/ss@{}/jpeg", "the address is not a valid URL (is its password percent-encoded?)"),
    ],
)
def test_snapshot_that_fails_is_an_error_with_the_reason(site: str, address: str, reason: str) -> None:
    with web("http://" + address.format(site)) as watched:
        with pytest.raises(CameraError) as caught:
            watched.grab()
        assert str(caught.value) == reason == watched.states[0].reason


NO_HTTP = "does not speak HTTP as expected"
DIGEST = b'HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm="r", nonce="n"\r\nContent-Length: 0\r\n\r\n'


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 302 Go\r\nLocation: http://a..b/\r\n\r\n", NO_HTTP),
        (b"HTTP/1.1 302 Go\r\nLocation: http://" + b"a" * 64 + b"/\r\n\r\n", NO_HTTP),
        (b"HTTP/1.1 302 Go\r\nLocation: http://[zz/\r\n\r\n", NO_HTTP),
        (b"HTTP/1.1 302 Go\r\nLocation: file:///etc/passwd\r\n\r\n", "redirects in a loop or to an unsupported"),
        (b'HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm, =, "\r\nContent-Length: 0\r\n\r\n', "no supported login"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\nno picture", "not a picture"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nno picture", "not a picture"),
    ],
)
def test_malformed_answer_is_an_error_with_the_reason(answer: bytes, reason: str) -> None:
    with answering(lambda _: answer, hang_up=True) as port, web(f"http://{LOGIN}127.0.0.1:{port}/a") as watched:
        with pytest.raises(CameraError, match=reason):
            watched.grab()
        assert reason in (watched.states[-1].reason or "")


@pytest.mark.parametrize(
    "part", [b"Content-Length: " + b"9" * 5000, b"Content-Length: \xb2", b"Content-Length: " + b"9" * 17]
)
def test_malformed_part_of_a_stream_is_an_expected_error(part: bytes, caplog: pytest.LogCaptureFixture) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=b\r\n\r\n--b\r\n"
    with (
        answering(lambda _: head + part + b"\r\n\r\nx\r\n", hang_up=True) as port,
        web(f"http://127.0.0.1:{port}/a") as watched,
    ):
        with pytest.raises(CameraError):
            watched.grab()
        watched.wait_for(online=False)
    assert "unexpected" not in caplog.text


def test_boundary_outside_latin_1_is_an_expected_error(caplog: pytest.LogCaptureFixture) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary*=utf-8''%EA%B0%80\r\n\r\n"
    with answering(lambda _: head, hang_up=True) as port, web(f"http://127.0.0.1:{port}/a") as watched:
        with pytest.raises(CameraError):
            watched.grab()
        assert "declares no boundary" in (watched.wait_for(online=False).reason or "")
    assert "unexpected" not in caplog.text


def why(watched: Watched) -> str:
    with pytest.raises(CameraError) as caught:
        watched.grab()
    return str(caught.value)


def test_a_login_with_a_control_character_is_refused_and_not_repeated() -> None:
    """http.client would put the header into its error."""
    with answering(lambda _: DIGEST) as port, web(f"http://view%0Aer:hunter2@127.0.0.1:{port}/a") as watched:
        assert why(watched) == "the user or password of the address has a control character"


def test_a_login_in_korean_is_sent_as_utf_8() -> None:
    requests: list[bytes] = []

    def answer(request: bytes) -> bytes:
        requests.append(request)
        return DIGEST

    with answering(answer) as port, web(f"http://%EA%B9%80:pw@127.0.0.1:{port}/a") as watched:
        assert why(watched) == "wrong user or password (401)"
    assert 'username="김"'.encode() in requests[-1]


def refused(requests: list[bytes]) -> Callable[[bytes], Reply]:
    """A camera that refuses every login."""

    def answer(request: bytes) -> bytes:
        requests.append(request)
        return b'HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm="r"\r\nContent-Length: 0\r\n\r\n'

    return answer


def logins(requests: list[bytes]) -> int:
    return sum(b"Authorization: " in request for request in requests)


def test_a_wrong_password_is_not_sent_again_at_the_next_looks() -> None:
    """Many cameras lock an account after a few failures."""
    requests: list[bytes] = []
    with answering(refused(requests)) as port, web(f"http://{LOGIN}127.0.0.1:{port}/a") as watched:
        assert [why(watched) for _ in range(3)] == ["wrong user or password (401)"] * 3
        assert (len(requests), logins(requests)) == (2, 1)
        assert [state.reason for state in watched.states] == ["wrong user or password (401)"]


def test_a_wrong_password_is_tried_again_after_a_pause(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edged.cameras.http_camera.LOGIN_PAUSE_S", 0.1)
    requests: list[bytes] = []
    with answering(refused(requests)) as port, web(f"http://{LOGIN}127.0.0.1:{port}/a") as watched:
        why(watched)
        threading.Event().wait(0.2)
        why(watched)
    assert logins(requests) == 2


def test_a_camera_that_lacks_a_login_is_asked_at_each_look() -> None:
    requests: list[bytes] = []
    with answering(refused(requests)) as port, web(f"http://127.0.0.1:{port}/a") as watched:
        assert [why(watched) for _ in range(2)] == ["the camera requires a user and a password (401)"] * 2
    assert (len(requests), logins(requests)) == (2, 0)


@pytest.mark.slow
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


def test_proxies_from_the_environment_are_not_used(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cameras are on the local network, and a proxy would see their passwords."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("http_proxy", nowhere)
    monkeypatch.setenv("no_proxy", "")
    with web(f"http://{site}/jpeg") as watched:
        assert watched.outcome(10) == "a picture of 64 columns"


def test_no_credential_is_in_any_log_reason_or_error(site: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    texts = []
    for path in ("nothing", "loop", "html", "huge", "cut"):
        with web(f"http://{LOGIN}{site}/{path}", shown=f"http://{site}") as watched:
            with pytest.raises(CameraError) as caught:
                watched.grab()
            texts += [repr(caught.value), repr(caught.value.__cause__), str(watched.states)]
    everything = caplog.text + "".join(texts)
    assert "camera dock" in everything
    for secret in ("s3cr", "p@ss", "p%40ss", "viewer"):
        assert secret not in everything


# --- streams ---


@pytest.mark.slow
@pytest.mark.parametrize("path", ["stream", "bare", "dashes"])
def test_content_type_makes_it_a_stream_and_its_newest_picture_is_taken(site: str, path: str) -> None:
    Site.shade = 30
    with web(f"http://{site}/{path}") as watched:
        assert shade(watched) == 30
        Site.shade = 80
        threading.Event().wait(0.5)  # the stream goes on between two looks
        frame = watched.grab()
        assert round(frame.rgb.mean()) == 80
        assert frame.age_s() < 1
        assert [state.online for state in watched.states] == [True]


@pytest.mark.slow
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


@pytest.mark.slow
def test_two_first_looks_at_once_start_one_stream(site: str) -> None:
    Site.meeting = threading.Barrier(2)
    with web(f"http://{site}/meeting") as watched:
        looks = [threading.Thread(target=watched.grab, daemon=True) for _ in range(2)]
        for look in looks:
            look.start()
        for look in looks:
            look.join(15)
        assert [thread.name for thread in threading.enumerate()].count("camera-dock") == 1
    until(lambda: close_all([]), timeout_s=2)


def test_camera_closed_before_its_stream_starts_leaves_no_thread(site: str) -> None:
    Site.meeting = threading.Barrier(2)
    with web(f"http://{site}/meeting") as watched:
        looking = threading.Thread(target=lambda: watched.outcome(5), daemon=True)
        looking.start()
        until(lambda: Site.meeting.n_waiting == 1)
        watched.camera.close()
        looking.join(5)
        until(lambda: close_all([]), timeout_s=2)
    assert watched.states == []


@pytest.mark.parametrize("kind", ["jpeg", "stream"])
def test_no_frame_is_held_after_its_look(site: str, kind: str) -> None:
    gc.disable()
    try:
        with web(f"http://{site}/{kind}") as watched:
            for _ in range(2):
                frame = weakref.ref(watched.grab().rgb)
                assert frame() is None
    finally:
        gc.enable()


# --- damaged pictures, and cameras that change their answer ---


def one_picture(data: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data)


def damaged() -> bytes:
    whole = jpegs.encoded(jpegs.scene(1, 320, 240))
    return whole[: len(whole) // 2] + jpegs.END


def test_damaged_snapshot_is_fetched_again_and_counted() -> None:
    answers = [one_picture(damaged()), one_picture(jpeg(90))]
    with answering(lambda _: answers.pop(0), hang_up=True) as port, web(f"http://127.0.0.1:{port}/a") as watched:
        assert shade(watched) == 90
        assert (watched.camera.figures().damaged, [state.online for state in watched.states]) == (1, [True])


def test_camera_with_only_damaged_snapshots_is_offline_with_the_reason() -> None:
    requests: list[bytes] = []

    def answer(request: bytes) -> bytes:
        requests.append(request)
        return one_picture(damaged())

    with answering(answer, hang_up=True) as port, web(f"http://127.0.0.1:{port}/a") as watched:
        assert why(watched) == "the JPEG is damaged (premature end of data segment)" == watched.states[0].reason
        assert [state.online for state in watched.states] == [False]
        assert (len(requests), watched.camera.figures().damaged) == (2, 2)


class Changing:
    """A camera that answers with a stream of grey 80 while `streams` is set, else with single pictures of grey 90."""

    def __init__(self) -> None:
        self.streams = threading.Event()
        self.streams.set()

    def __call__(self, request: bytes) -> Reply:
        return self.stream() if self.streams.is_set() else one_picture(jpeg(90))

    def stream(self) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=b\r\n\r\n"
        while self.streams.is_set():
            yield b"--b\r\nContent-Length: %d\r\n\r\n%b\r\n" % (len(jpeg(80)), jpeg(80))
            threading.Event().wait(0.02)


@pytest.mark.slow
def test_camera_that_changes_between_stream_and_snapshots_is_followed_both_ways() -> None:
    changing = Changing()
    with answering(changing, hang_up=True) as port, web(f"http://127.0.0.1:{port}/a") as watched:
        assert shade(watched) == 80
        changing.streams.clear()
        until(lambda: shows(watched, 90), timeout_s=10)
        assert [thread.name for thread in threading.enumerate()].count("camera-dock") == 0, "no stream is left"
        changing.streams.set()
        until(lambda: shows(watched, 80), timeout_s=10)
        assert [state.online for state in watched.states][-1]
    until(lambda: close_all([]), timeout_s=2)


NO_PICTURE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nboot\n"


@pytest.mark.parametrize(
    ("before", "outcome"),
    [(NO_PICTURE, "not a picture"), (one_picture(jpeg(90)), "64 columns")],
    ids=["offline", "online"],
)
def test_a_look_that_finds_a_stream_waits_for_it_whatever_the_camera_sent_before(before: bytes, outcome: str) -> None:
    changing, answers = Changing(), [before]

    def answer(request: bytes) -> Reply:
        return answers.pop() if answers else changing(request)

    with answering(answer, hang_up=True) as port, web(f"http://127.0.0.1:{port}/a") as watched:
        assert outcome in watched.outcome()
        assert shade(watched) == 80


def test_a_stream_that_was_back_after_one_other_answer_is_kept() -> None:
    changing, requests = Changing(), list[bytes]()

    def answer(request: bytes) -> Reply:
        requests.append(request)
        is_page = not changing.streams.is_set()
        changing.streams.set()
        return NO_PICTURE if is_page else changing(request)

    with answering(answer, hang_up=True) as port, web(f"http://127.0.0.1:{port}/a") as watched:
        assert shade(watched) == 80
        changing.streams.clear()
        watched.wait_for(online=True, count=2)
        known = len(requests)
        assert shade(watched) == 80
        assert len(requests) == known
        assert [state.reason for state in watched.states if not state.online] == [
            "the camera ended the stream",
            "the camera now sends text/html instead of a stream",
        ]


def slowly(seconds: float, share: float = 0.5) -> Iterator[bytes]:
    """A picture of which the rest comes so long after this share of its answer."""
    answer = one_picture(jpeg(90))
    first = int(len(answer) * share) + 1
    yield answer[:first]
    threading.Event().wait(seconds)
    yield answer[first:]


@pytest.mark.parametrize("share", [0.5, 0.0], ids=["picture", "headers"])
def test_snapshot_that_arrives_slowly_has_the_age_of_the_begin_of_its_answer(share: float) -> None:
    with answering(lambda _: slowly(1.0, share)) as port, web(f"http://127.0.0.1:{port}/a") as watched:
        assert 0.7 <= watched.grab().age_s() < 2.0  # the answer may have begun a little before it was read


def test_snapshot_that_arrives_too_slowly_is_stale() -> None:
    with answering(lambda _: slowly(0.5)) as port, web(f"http://127.0.0.1:{port}/a", max_age_s=0.3) as watched:
        with pytest.raises(StaleFrame):
            watched.grab()
        assert [state.online for state in watched.states] == [True]


# --- a missing secret ---


def without_secret(kind: SourceKind, port: int, problem: str) -> CameraSpec:
    complete = spec(f"{kind}://viewer:@127.0.0.1:{port}/a", kind)
    return replace(complete, source=replace(complete.source, problem=problem))


@pytest.mark.parametrize("kind", ["http", "rtsp"])
def test_camera_with_a_missing_secret_reports_it_and_sends_nothing(
    kind: SourceKind, caplog: pytest.LogCaptureFixture
) -> None:
    reason = "the secret dock is missing: /etc/edged/credentials/dock does not exist"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.5)
        with Watched(without_secret(kind, listening.getsockname()[1], reason)) as watched:
            for _ in range(2):
                with pytest.raises(CameraError) as caught:
                    watched.grab()
                assert str(caught.value) == reason
            with pytest.raises(TimeoutError):
                listening.accept()
    assert [(state.online, state.reason) for state in watched.states] == [(False, reason)]
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", f"camera dock: {reason}")
    ]


# --- a reader that was held up ---


@contextmanager
def clock_stream(pictures: int, every_s: float = 0.05) -> Iterator[str]:
    """The address of a stream whose "pictures" are the times (monotonic) at which they were sent."""

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(65536)
            head = "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
            connection.sendall(head.encode())
            for _ in range(pictures):
                body = f"{time.monotonic():.6f}".encode()
                part = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n"
                connection.sendall(part.encode() + body + b"\r\n")
                time.sleep(every_s)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = threading.Thread(target=serve)
        server.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        server.join(30)


def test_pictures_that_waited_for_the_reader_do_not_look_new():
    """As after a pause of this process: they are in the socket's buffer."""
    with clock_stream(80) as address, open_mjpeg(address, lambda: False) as stream:
        packets = []
        for number, packet in enumerate(islice(stream.packets, 80)):
            assert packet
            packets.append(packet)
            if number == 19:
                time.sleep(2)  # about 40 pictures arrive meanwhile
    sent = [float(packet.data) for packet in packets]
    assert max(packet.since - at for packet, at in zip(packets, sent, strict=True)) < 0.1
    ages = [packet.arrived - packet.since for packet in packets]
    assert max(ages[20:40]) > 1
    assert max(ages[70:]) < 0.5  # they are read as they come again


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n"
PART = b"Content-Type: image/jpeg\r\nContent-Length: 8\r\n\r\n"


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.mark.parametrize(
    ("head", "first", "halves"),
    [
        (HEAD + b"\r\n", b"--frame\r\n" + PART + b"picture1\r\n", (b"--frame\r\n" + PART + b"pict", b"ure2\r\n")),
        (HEAD + b"\r\n--frame\r\n", PART + b"picture1\r\n--frame\r\n", (PART + b"pict", b"ure2\r\n--frame\r\n")),
        (
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
            chunked(b"--frame\r\n" + PART + b"picture1\r\n"),
            (chunked(b"--frame\r\n" + PART + b"pict"), chunked(b"ure2\r\n")),
        ),
    ],
    ids=["boundary before", "boundary behind", "chunked"],
)
def test_a_picture_of_a_stream_is_as_old_as_its_own_first_byte(
    head: bytes, first: bytes, halves: tuple[bytes, bytes]
) -> None:
    """Not as the picture before it, and not as its last byte."""
    parts, sent, read = SimpleQueue[bytes](), SimpleQueue[float](), SimpleQueue[tuple[float, bytes]]()

    def reply(_: bytes) -> Iterator[bytes]:
        while part := parts.get(timeout=30):
            yield part
            sent.put(time.monotonic())

    with answering(reply, hang_up=True) as port:
        parts.put(head)
        with request(f"http://127.0.0.1:{port}/", lambda: False) as response:

            def read_all() -> None:
                for picture in multipart.pictures(response):
                    read.put(picture)

            reader = threading.Thread(target=read_all)
            reader.start()
            sent.get(timeout=30)
            parts.put(first)
            assert read.get(timeout=30)[1] == b"picture1"
            before = max(time.monotonic(), sent.get(timeout=30))
            until(lambda: response.budget.waited_at > before)
            parts.put(halves[0])
            begun = sent.get(timeout=30)
            until(lambda: response.budget.waited_at > begun)
            parts.put(halves[1])
            since, picture = read.get(timeout=30)
            parts.put(b"")
            reader.join(30)
    assert picture == b"picture2"
    assert before < since < begun


class Contended(socket.socket):
    """Each read takes 20 ms although its data is there: other threads of a busy process run first."""

    def recv_into(self, *arguments: Any) -> int:
        try:
            return super().recv_into(*arguments)
        finally:
            time.sleep(0.02)


def test_a_read_that_is_slow_without_a_wait_does_not_make_what_it_reads_look_new():
    near, far = socket.socketpair()
    budget = Budget(lambda: False)
    with (
        far,
        Contended(fileno=near.detach()) as connection,
        BoundedStream(connection, connection.makefile("rb"), budget) as stream,
    ):
        far.sendall(b"picture")
        sent = time.monotonic()
        time.sleep(0.1)
        assert stream.readinto(bytearray(7)) == 7
        assert budget.waited_at <= sent
        threading.Timer(0.1, far.sendall, [b"picture"]).start()
        assert stream.readinto(bytearray(7)) == 7
        assert sent < budget.waited_at < time.monotonic()


class TlsCamera:
    """A camera's end of a TLS connection; what it encrypts is sent by the test, in pieces of any size."""

    def __init__(self, connection: socket.socket, folder: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.crt", folder / "server.key")
        self._connection = connection
        self._received, self._to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._received, self._to_send, server_side=True)

    def shake_hands(self) -> bytes:
        """The session tickets, not sent yet."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._connection.sendall(self._to_send.read())
                self._received.write(self._connection.recv(65536))
            else:
                return self._to_send.read()

    def encrypted(self, data: bytes) -> bytes:
        self._tls.write(data)
        return self._to_send.read()


@contextmanager
def tls_camera(folder: Path) -> Iterator[tuple[socket.socket, TlsCamera, bytes, ssl.SSLSocket]]:
    """The camera's socket and its TLS, the session tickets that it has yet to send, and the socket of the other end."""
    near, far = socket.socketpair()
    with near, far, ThreadPoolExecutor(1) as pool:
        camera = TlsCamera(far, folder)
        tickets = pool.submit(camera.shake_hands)
        client = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        with client.wrap_socket(near, server_hostname="localhost") as connection:
            yield far, camera, tickets.result(30), connection


def until_waiting(budget: Budget, after: float) -> None:
    until(lambda: budget.waited_at > after, 10)


def test_over_tls_what_is_read_is_as_old_as_the_first_byte_of_its_record(tls: Path) -> None:  # noqa: F811
    checks: list[float] = []

    def note_check() -> bool:
        checks.append(time.monotonic())
        return False

    budget = Budget(note_check)
    with (
        tls_camera(tls) as (far, camera, tickets, connection),
        BoundedStream(connection, connection.makefile("rb"), budget) as stream,
        ThreadPoolExecutor(1) as pool,
    ):

        def halves_of(data: bytes) -> tuple[float, float, float]:
            """When a read began to wait, when the record had begun to arrive, and when edged had noticed that."""
            count = pool.submit(stream.readinto, bytearray(100))
            begun = time.monotonic()
            until_waiting(budget, begun)
            record = camera.encrypted(data)
            far.sendall(record[:50])
            sent = time.monotonic()
            until(lambda: len([at for at in checks if at > sent]) > 2, 10)
            noticed = time.monotonic()
            far.sendall(record[50:])
            assert count.result(30) == 100
            assert begun < budget.waited_at < sent
            return begun, sent, noticed

        far.sendall(tickets)
        begun, _, noticed = halves_of(b"x" * 100)
        assert stream.began_at is not None
        assert begun < stream.began_at < noticed
        halves_of(b"y" * 100)


def test_session_tickets_of_tls_are_no_part_of_the_answer(tls: Path) -> None:  # noqa: F811
    budget = Budget(lambda: False)
    with (
        tls_camera(tls) as (far, camera, tickets, connection),
        BoundedStream(connection, connection.makefile("rb"), budget) as stream,
        ThreadPoolExecutor(1) as pool,
    ):
        count = pool.submit(stream.readinto, bytearray(100))
        first = 5 + int.from_bytes(tickets[3:5])  # the length of a record is at the end of its head
        for ticket in (tickets[:first], tickets[first:]):
            assert ticket
            far.sendall(ticket)
            sent = time.monotonic()
            until_waiting(budget, sent)
        far.sendall(camera.encrypted(b"x" * 100))
        assert count.result(30) == 100
        assert stream.began_at is not None
        assert stream.began_at > sent


AGE = """
import sys
from support.cameras import Watched, spec
with Watched(spec(sys.argv[1], "http", max_age_s=60)) as watched:
    print(watched.grab().age_s())
"""


def stopped_meanwhile(seconds: float, process: Callable[[], subprocess.Popen[str]]) -> Iterator[bytes]:
    """A picture that is sent while the process that waits for it is stopped, for so long."""
    waiting = process()
    time.sleep(0.1)
    os.kill(waiting.pid, signal.SIGSTOP)
    until(lambda: " T " in Path(f"/proc/{waiting.pid}/stat").read_text(), 5)
    yield one_picture(jpeg(90))
    time.sleep(seconds)
    os.kill(waiting.pid, signal.SIGCONT)


def test_a_snapshot_that_waited_for_this_process_does_not_look_new():
    started: list[subprocess.Popen[str]] = []
    command = [sys.executable, "-c", AGE]
    with answering(lambda _: stopped_meanwhile(1.5, lambda: started[0])) as port:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        address = f"http://127.0.0.1:{port}/a"
        started.append(subprocess.Popen([*command, address], stdout=subprocess.PIPE, text=True, env=environment))
        assert 1.5 <= float(started[0].communicate(timeout=30)[0]) < 5


def test_cameras_are_closed_also_if_no_thread_is_left(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with web(f"http://{site}/jpeg") as watched:
        monkeypatch.setattr(threading.Thread, "start", refuses)
        close_all([watched.camera])
        monkeypatch.undo()
        with pytest.raises(CameraError, match="is closed"):
            watched.grab()
