"""RTSP cameras against a real server: fresh pictures, reasons in words, and coming back after every kind of loss."""

from __future__ import annotations

import logging
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.rtsp import Server, Watched, answering, made_ago, serving, spec, until

from edged.cameras.health import Health
from edged.cameras.preflight import describe
from edged.cameras.source import close_all
from edged.cameras.stream import GROUP_BYTES, GROUP_PACKETS, GopBuffer, LiveEdge, Packet, Snapshot, decode, rtsp_packets
from edged.core.errors import CameraError, StaleFrame, Stopped
from edged.core.types import CameraState

USER, PASSWORD = "viewer", "s3cr/t p@ss"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture(scope="module", params=["basic", "digest"])
def guarded(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serving(request.param, USER, PASSWORD) as running:
        yield running


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


# --- pictures ---


@pytest.mark.parametrize("path", ["h264", "h265", "mjpeg", "sdp"])
def test_first_look_of_a_fresh_camera_waits_for_its_first_picture(server: Server, path: str) -> None:
    with Watched(spec(server.url(path))) as watched:
        frame = watched.grab()
        assert frame.rgb.shape == (240, 320, 3)
        assert made_ago(frame) < 1.5
        assert [state.online for state in watched.states] == [True]


def test_a_picture_of_several_slices_is_whole(server: Server) -> None:
    """Half a picture decodes without a word; what is missing is grey or smeared."""
    with Watched(spec(server.url("sliced"))) as watched:
        for _ in range(25):
            frame = watched.grab()
            assert made_ago(frame) < 3
            below = frame.rgb[70:, ::8, 1].astype(int)
            assert (np.minimum(abs(below - below[:, :1]), abs(below - below[:, -1:])) < 24).all(), "damaged"
            assert np.ptp(below[:, 3]) < 24
            threading.Event().wait(0.07)  # at another place of the group of pictures


def test_picture_asked_for_after_a_pause_is_of_now(server: Server) -> None:
    with Watched(spec(server.url("h264"))) as watched:
        first = watched.grab()
        threading.Event().wait(2)
        frame = watched.grab()
        assert made_ago(frame) < 1
        assert abs(made_ago(frame) - frame.age_s()) < 0.5, "the frame's own age is true"
        assert frame.captured_mono - first.captured_mono > 1.5
        assert frame.sha256 != first.sha256


def test_mask_is_applied_before_anybody_sees_the_picture(server: Server) -> None:
    top = ((0.0, 0.0), (1.0, 0.0), (1.0, 0.25), (0.0, 0.25))
    with Watched(spec(server.url("h264"), mask=(top,))) as watched:
        frame = watched.grab()
        assert not frame.rgb[:60].any()
        assert frame.rgb[62:].any()


def test_password_is_percent_decoded_and_works_by_basic_and_digest(guarded: Server) -> None:
    with Watched(spec(guarded.url("h264"))) as watched:
        assert made_ago(watched.grab()) < 1.5


def test_a_group_beyond_its_bounds_keeps_the_keyframe_with_the_keyframes_time() -> None:
    group = GopBuffer("h264", b"sets")
    for number in range(GROUP_PACKETS + 50):
        group.add(Packet(b"p%d" % number, number == 0, number, number, None), captured=float(number))
    assert group.held() == Snapshot("h264", (b"sets", b"p0"), 0.0)
    group.add(Packet(b"key", True, 900.0, 900.0, None), captured=900.0)
    group.add(Packet(b"x" * GROUP_BYTES, False, 901.0, 901.0, None), captured=901.0)
    assert group.held() == Snapshot("h264", (b"sets", b"key"), 900.0)


IDR, SLICE, SETS = 0x65, 0x41, b"\0\0\0\1\x67set\0\0\0\1\x68set"


def slice_of(kind: int, first: bool, name: bytes, sets: bytes = b"") -> bytes:
    return sets + b"\0\0\0\1" + bytes([kind, 0x80 if first else 0x40]) + name


def test_slices_are_held_once_their_picture_is_whole() -> None:
    group = GopBuffer("h264", b"")

    def add(number: int, kind: int, first: bool) -> None:
        data = slice_of(kind, first, b"%d" % number, SETS if kind == IDR else b"")
        group.add(Packet(data, kind == IDR, number, number, None), float(number))

    key = (b"", slice_of(IDR, True, b"0", SETS), slice_of(IDR, False, b"1"))
    for number, kind, first in ((0, IDR, True), (1, IDR, False), (2, SLICE, True)):
        assert group.held().packets == (b"",)
        add(number, kind, first)
    assert group.held() == Snapshot("h264", key, 0.0)
    for number, kind, first in ((3, SLICE, False), (4, IDR, True)):
        add(number, kind, first)
    whole = (*key, slice_of(SLICE, True, b"2"), slice_of(SLICE, False, b"3"))
    assert group.held() == Snapshot("h264", whole, 2.0), "the keyframe that is coming has not pushed them out"


def test_a_picture_in_one_packet_is_held_at_once() -> None:
    group = GopBuffer("h264", b"")
    for number in range(6):
        group.add(
            Packet(slice_of(IDR if number == 0 else SLICE, True, b"%d" % number), number == 0, 0, 0, None), number
        )
    assert len(group.held().packets) == 7


@pytest.mark.parametrize("pictures", [1, 6], ids=["sure of nothing", "sure of one packet each"])
def test_a_picture_whose_slices_never_end_is_an_error_within_bounds(pictures: int) -> None:
    group = GopBuffer("h264", b"")
    for number in range(pictures):
        group.add(Packet(slice_of(IDR, True, b"k"), True, number, number, None), float(number))
    later = Packet(slice_of(SLICE, False, b"x" * 100), False, 9.0, 9.0, None)

    def add_them_all() -> None:
        for _ in range(10 * GROUP_PACKETS):
            group.add(later, 9.0)

    with pytest.raises(CameraError, match="more than 500 slices"):
        add_them_all()
    assert len(group.held().packets) <= GROUP_PACKETS + pictures + 1


def test_packets_before_the_first_keyframe_are_not_kept() -> None:
    group = GopBuffer("h264", b"")
    group.add(Packet(b"late", False, 1.0, 1.0, None), 1.0)
    assert not group.begun


class Hollow:
    """A capture whose packets hold nothing."""

    def grab(self) -> bool:
        threading.Event().wait(0.05)
        return True

    def get(self, _: int) -> float:
        return 0.0

    def retrieve(self) -> tuple[bool, None]:
        return False, None


@pytest.mark.timeout(20)
def test_packets_that_hold_nothing_are_a_silence() -> None:
    with pytest.raises(CameraError, match=r"no packet for 3\.\d s"):
        next(rtsp_packets(Hollow()))


def test_what_cannot_be_decoded_is_an_error_not_a_picture() -> None:
    with pytest.raises(CameraError, match=r"cannot be decoded \(H.264\)"):
        decode(Snapshot("h264", (b"", b"\0\0\0\1\x65garbage" * 50), 0.0))


# --- how old a packet is ---


def ages(steps: list[tuple[float, float]]) -> list[float]:
    """For (arrival, camera's stamp): how much older than its arrival each packet is taken to be."""
    edge = LiveEdge()
    return [round(at - edge.captured(Packet(b"", False, at, at, stamp)), 2) for at, stamp in steps]


def test_burst_after_a_jam_is_known_to_be_old() -> None:
    calm = [(tenth / 10, tenth / 10) for tenth in range(20)]
    jam = [(5.0 + number / 1000, 2.0 + number / 10) for number in range(31)]
    found = ages(calm + jam)
    assert found[:20] == [0.0] * 20
    assert found[20] == pytest.approx(3.0, abs=0.01)
    assert found[-1] == pytest.approx(0.0, abs=0.05)


def test_stamps_that_jump_by_hours_make_no_picture_old() -> None:
    assert max(ages([(n / 10, n / 10 + (7200 if n > 20 else 0)) for n in range(60)])) == 0
    assert max(ages([(n / 10, n / 10 - (7200 if n > 20 else 0)) for n in range(60)])) == 0


def test_stamps_of_b_frames_cost_no_more_than_their_order() -> None:
    order = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8]
    assert max(ages([(n / 25, place / 25) for n, place in enumerate(order)])) < 0.2


def test_stamps_slower_than_the_clock_do_not_make_a_camera_stale_for_ever() -> None:
    assert max(ages([(n / 10, n / 10 * 0.8) for n in range(3000)])) <= 1.01


def test_burst_after_an_open_is_waited_out() -> None:
    edge = LiveEdge()
    for number in range(20):
        edge.captured(Packet(b"", False, 9.0, 9.0 + number / 1000, number / 10))
    assert not edge.reached
    for number in range(20, 27):
        at = 9.0 + (number - 19) / 10
        edge.captured(Packet(b"", False, at, at, number / 10))
    assert edge.reached


# --- reasons ---


def reason(url: str) -> str:
    with pytest.raises(CameraError) as caught:
        describe(url, lambda: False)
    return str(caught.value)


def test_path_that_is_not_there_is_named_so(server: Server) -> None:
    assert reason(server.url("nothing")) == "the camera has no such path (404)"


def test_wrong_and_missing_passwords_are_told_apart(guarded: Server) -> None:
    assert reason(guarded.url("h264", "viewer:wrong@")) == "wrong user or password (401)"
    assert reason(guarded.url("h264", "")) == "the camera asks for a user and a password (401)"


def test_closed_port_and_unknown_host_are_told_apart() -> None:
    port = closed_port()
    assert reason(f"rtsp://127.0.0.1:{port}/a") == f"connection refused by 127.0.0.1:{port}"
    assert "camera.invalid" in reason("rtsp://camera.invalid/a")


def test_silent_camera_is_given_up_after_five_seconds() -> None:
    with answering(lambda _: None) as port:
        began = time.monotonic()
        assert reason(f"rtsp://127.0.0.1:{port}/a") == f"no answer from 127.0.0.1:{port} in 5 s"
        assert time.monotonic() - began < 7


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak RTSP"),
        (b"\x00\x01garbage\r\n\r\n", "does not speak RTSP"),
        (b"RTSP/1.0 503 Service Unavailable\r\nCSeq: 1\r\n\r\n", "busy or still starting"),
        (b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 9\r\n\r\nm=audio 0", "has no video"),
        (
            b"RTSP/1.0 302 Moved\r\nCSeq: 1\r\nLocation: rtsp://10.9.9.9/a\r\n\r\n",
            "redirects to another host, 10.9.9.9:554",
        ),
        (
            b'RTSP/1.0 401 No\r\nCSeq: 1\r\nWWW-Authenticate: Digest realm="r", nonce="n", algorithm=SHA-256\r\n\r\n',
            "offers no supported login",
        ),
        (b"RTSP/1.0 \xb2\xb2 OK\r\n\r\n", "does not speak RTSP"),
        (b"RTSP/1.0 " + b"9" * 900 + b" OK\r\n\r\n", "does not speak RTSP"),
        (b"RTSP/1.0 200 OK\r\nContent-Length: \xb2\r\n\r\nm=video", "has no video"),
        (b"RTSP/1.0 302 Go\r\nLocation: rtsp://[zz/\r\n\r\n", "the camera redirects to an address that is not valid"),
        (b'RTSP/1.0 401 No\r\nWWW-Authenticate: Digest realm, =, "\r\n\r\n', "no supported login"),
    ],
)
def test_answers_that_lead_nowhere_are_explained(said: bytes, words: str) -> None:
    with answering(lambda _: said) as port:
        assert words in reason(f"rtsp://viewer:pw@127.0.0.1:{port}/a")


def test_answer_over_tls_may_come_in_pieces_with_pauses(tmp_path: Path) -> None:
    """A wait in slices must not break a TLS connection."""
    context = self_signed(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with context.wrap_socket(listening.accept()[0], server_side=True) as connection:
                connection.recv(4096)
                for piece in (b"RTSP/1.0 200", b" OK\r\nContent-", b"Length: 7\r\n\r\nm=v", b"ideo"):
                    threading.Event().wait(0.5)
                    connection.sendall(piece)

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        describe(f"rtsps://127.0.0.1:{listening.getsockname()[1]}/a", lambda: False)
        server.join(10)


def self_signed(folder: Path) -> ssl.SSLContext:
    files = {"-keyout": folder / "key.pem", "-out": folder / "certificate.pem"}
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=camera"]
    subprocess.run([*command, *(str(part) for pair in files.items() for part in pair)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["-out"], files["-keyout"])
    return context


def test_redirect_loop_ends() -> None:
    asked: list[bytes] = []

    def redirect(request: bytes) -> bytes:
        asked.append(request)
        return b"RTSP/1.0 302 Moved\r\nCSeq: 1\r\nLocation: /again\r\n\r\n"

    with answering(redirect) as port:
        assert (
            reason(f"rtsp://127.0.0.1:{port}/a")
            == "the camera redirects in a circle or to an unsupported address (302)"
        )
    assert len(asked) < 10


@pytest.mark.parametrize("address", ["rtsp://viewer:pa/ss@host/a", "rtsp://", "rtsp://host:notaport/a"])
def test_address_that_is_no_url_is_not_repeated(address: str) -> None:
    assert reason(address) == "the address is not a valid URL (is its password percent-encoded?)"


def test_no_credential_is_in_any_log_reason_or_error(guarded: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said = []
    login = f"{USER}:s3cr%2Ft%20p%40ss"
    with answering(lambda _: b"RTSP/1.0 401 No\r\nCSeq: 1\r\nWWW-Authenticate: Basic realm=r\r\n\r\n") as port:
        for url in (
            guarded.url("nothing"),
            guarded.url("h264", f"{login}x@"),
            f"rtsp://{login}@127.0.0.1:{port}/a",
            f"rtsp://{login}@127.0.0.1:{closed_port()}/a",
            f"rtsp://{USER}:{PASSWORD}@127.0.0.1/a",
        ):
            with Watched(spec(url, shown="rtsp://camera")) as watched:
                with pytest.raises(CameraError) as caught:
                    watched.grab()
                said += [repr(caught.value), str(watched.states), repr(watched.camera)]
    everything = caplog.text + "".join(said)
    assert "camera dock: " in everything
    for secret in ("s3cr", "p@ss", "p%40ss", USER):
        assert secret not in everything


# --- loss and return ---


def test_camera_that_dies_is_offline_at_once_and_comes_back_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "edged.camera")
    with serving() as first, Watched(spec(first.url("h264"))) as watched:
        watched.grab()
        first.kill()
        lost = watched.wait_for(online=False)
        assert lost.reason
        with pytest.raises(CameraError):
            watched.grab()
        # Two tries have failed when the reason is that of the preflight.
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


def test_camera_that_stalls_is_stale_then_offline_and_fresh_again_afterwards(server: Server) -> None:
    with serving() as stalling, Watched(spec(stalling.url("h264"), max_age_s=1.0)) as watched:
        watched.grab()
        stalling.hold_still()

        def stale() -> bool:
            try:
                frame = watched.grab()
            except StaleFrame as error:
                return "max_age is 1 s" in str(error)
            assert frame.age_s() < 1.5
            return False

        until(stale, within_s=5)
        assert "no packet for" in (watched.wait_for(online=False, within_s=15).reason or "")
        with pytest.raises(CameraError):
            watched.grab()
        stalling.go_on()
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
        assert "does not open" in (dead.wait_for(online=False).reason or "")


# --- ending ---


def test_close_ends_the_wait_between_two_tries() -> None:
    watched = Watched(spec(f"rtsp://127.0.0.1:{closed_port()}/a"))
    with watched:
        watched.wait_for(online=False)
        began = time.monotonic()
    assert time.monotonic() - began < 0.5
    watched.camera.close()


def test_cameras_are_closed_side_by_side_and_it_is_said_if_one_is_still_held() -> None:
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


# --- health ---


def test_changes_are_logged_once_and_new_reasons_only_reported(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "edged.camera")
    states: list[CameraState] = []
    health = Health("dock", states.append)
    health.fails("connection refused", 1)
    health.fails("connection refused", 2)
    health.fails("no such path", 5)
    health.works("H.264")
    health.works("H.264")
    assert [(state.online, state.reason) for state in states] == [
        (False, "connection refused"),
        (False, "no such path"),
        (True, None),
    ]
    assert states[0].since == states[1].since
    assert [record.getMessage() for record in caplog.records] == [
        "camera dock: connection refused; trying again in 1 s",
        "camera dock: connected (H.264) after 0 s (3 tries)",
    ]
