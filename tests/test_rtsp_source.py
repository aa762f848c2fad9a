"""One connection to an RTSP camera: its packets, its end, and what the next connection does otherwise."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from support.broker import tls  # noqa: F401  # a fixture
from support.http import answering
from support.rtsp_script import Login, Piece, Script
from support.scripted_rtsp import ScriptedServer

from edged.cameras import rtsp
from edged.cameras.rtsp import RtspSource
from edged.core.errors import CameraError


def nothing(_: Piece) -> bool:
    """Drops every packet."""
    return True


def not_cancelled() -> bool:
    return False


def read(source: RtspSource, url: str) -> tuple[list[bool], str]:
    """Whether a packet came, for each that was awaited, and the error that ended the connection."""
    arrived = []
    try:
        with source.open(url, not_cancelled) as stream:
            for packet in stream.packets:
                arrived.append(packet is not None)
    except CameraError as error:
        return arrived, str(error)
    raise AssertionError("a stream does not end without an error")


def transports(server: ScriptedServer) -> list[str]:
    """Those of all SETUP requests so far."""
    headers = [request.headers["transport"] for request in server.requests if request.method == "SETUP"]
    return ["TCP" if "TCP" in header else "UDP" for header in headers]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtsp, "ANSWER_S", 0.5)  # an open waits so long for the first packet
    monkeypatch.setattr(rtsp, "SILENT_S", 0.4)
    monkeypatch.setattr(rtsp, "UNTRIED_S", 1.2)
    monkeypatch.setattr(rtsp, "QUIET_S", 1.2)


@pytest.mark.usefixtures("impatient")
def test_a_camera_that_sends_nothing_over_tcp_is_asked_for_udp_the_next_time() -> None:
    source = RtspSource()
    with ScriptedServer(Script(drop=nothing)) as server:
        for _ in range(2):
            arrived, error = read(source, server.url())
            assert arrived, "a look is told meanwhile that nothing arrives"
            assert not any(arrived)
            assert error.startswith("connected, but the camera sent nothing for ")
        assert transports(server) == ["TCP", "UDP"]


@pytest.mark.usefixtures("impatient")
def test_a_camera_that_worked_over_tcp_stays_there_when_it_sends_nothing() -> None:
    source = RtspSource()
    with ScriptedServer(Script(ending=(0.5, "close"))) as server:
        assert any(read(source, server.url())[0])
        server.script = Script(drop=nothing)
        assert not any(read(source, server.url())[0])
        with source.open(server.url(), not_cancelled):
            pass
        assert transports(server) == ["TCP"] * 3


@pytest.mark.usefixtures("impatient")
def test_a_camera_that_worked_over_udp_is_asked_for_tcp_when_it_sends_nothing_any_more() -> None:
    source = RtspSource()
    with ScriptedServer(Script(drop=nothing)) as server:
        assert not any(read(source, server.url())[0])
        server.script = Script(ending=(0.5, "close"))
        assert any(read(source, server.url())[0])
        server.script = Script(drop=lambda _: transports(server)[-1] == "UDP", ending=(2.0, "close"))
        assert not any(read(source, server.url())[0])
        assert any(read(source, server.url())[0])
        assert transports(server) == ["TCP", "UDP", "UDP", "TCP"]


@pytest.mark.usefixtures("impatient")
def test_a_stream_that_stops_is_lost_after_a_time_without_a_packet() -> None:
    with ScriptedServer(Script(drop=lambda piece: piece.place > 10)) as server:
        arrived, error = read(RtspSource(), server.url())
    assert any(arrived)
    assert error.startswith("no packet for ")


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (Script(ending=(0.4, "bye")), "the camera ended the stream"),
        (Script(ending=(0.4, "close")), "the camera ended the stream"),
        (Script(ending=(0.1, "close"), drop=nothing), "the stream opened, but sent no picture"),
    ],
)
def test_the_end_of_a_stream_is_told(script: Script, error: str) -> None:
    with ScriptedServer(script) as server:
        assert read(RtspSource(), server.url())[1] == error


def test_a_stream_that_the_camera_describes_and_does_not_open_is_told_so() -> None:
    source = RtspSource()
    with ScriptedServer(Script(statuses={"SETUP": 459})) as server:
        errors = {read(source, server.url())[1] for _ in range(2)}
        assert errors == {"the camera answers with status 459"}


def test_a_stream_without_a_video_is_told_so() -> None:
    with ScriptedServer(Script(sdp=lambda text: text.replace("m=video", "m=audio"))) as server:
        assert read(RtspSource(), server.url()) == ([], "the stream has no video")


def test_a_codec_that_is_not_supported_is_told_also_by_a_camera_that_worked_before() -> None:
    unknown = Script(sdp=lambda text: text.replace("H264/90000", "X-NEW/90000"))
    source = RtspSource()
    with ScriptedServer(Script(ending=(0.3, "close"))) as server:
        assert any(read(source, server.url())[0])
        server.script = unknown  # FFmpeg alone looks at it
        assert read(source, server.url()) == ([], "the stream's video codec is not supported")
        assert read(RtspSource(), server.url()) == ([], "the stream's video codec is not supported (X-NEW)")


def test_logins_that_ffmpeg_does_not_get_through_are_named() -> None:
    login = Login("me", "hunter2", ("Basic", "SHA-256"))
    with ScriptedServer(Script(login=login)) as server:
        _, error = read(RtspSource(), server.url(user="me", password="hunter2"))
    assert error == "FFmpeg supports none of the camera's logins; allow Digest with MD5, or Basic alone"


OPEN = """
import sys
from edged.cameras.rtsp import RtspSource
with RtspSource().open(sys.argv[1], lambda: False):
    pass
"""


def test_an_encrypted_stream_is_not_opened_through_the_proxy_of_the_environment(tls: Path) -> None:  # noqa: F811
    """FFmpeg would, and edged does not verify the camera's certificate, so that a proxy could read its password."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls / "server.crt", tls / "server.key")
    requests: list[bytes] = []
    proxied: list[bytes] = []

    def describe(request: bytes) -> bytes:
        requests.append(request)
        is_ours = request.startswith(b"DESCRIBE")  # FFmpeg begins with OPTIONS
        return (
            b"RTSP/1.0 200 OK\r\nContent-Length: 7\r\n\r\nm=video" if is_ours else b"RTSP/1.0 404 No\r\nCSeq: 1\r\n\r\n"
        )

    with answering(proxied.append) as proxy, answering(describe, hang_up=True, tls=context) as port:
        environment = os.environ | {"http_proxy": f"http://127.0.0.1:{proxy}", "no_proxy": ""}
        command = [sys.executable, "-c", OPEN, f"rtsps://viewer:hunter2@127.0.0.1:{port}/a"]
        opened = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert "the path does not exist on the camera (404)" in opened.stderr
    assert proxied == []
    assert [request.split()[0] for request in requests] == [b"DESCRIBE", b"OPTIONS"]
