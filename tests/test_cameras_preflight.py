"""Why an RTSP stream is not available: the reasons of the preflight, and its bounds."""

from __future__ import annotations

import logging
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.broker import free_port
from support.cameras import Watched, spec
from support.http import answering
from support.rtsp import Server, serving

from edged.cameras.preflight import describe
from edged.core.errors import CameraError

USER, PASSWORD = "viewer", "s3cr/t p@ss"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture(scope="module", params=["basic", "digest"])
def guarded(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serving(request.param, USER, PASSWORD) as running:
        yield running


def reason(url: str) -> str:
    with pytest.raises(CameraError) as caught:
        describe(url, lambda: False)
    return str(caught.value)


def test_path_that_does_not_exist_is_the_reason(server: Server) -> None:
    assert reason(server.url("nothing")) == "the path does not exist on the camera (404)"


def test_wrong_and_missing_passwords_are_told_apart(guarded: Server) -> None:
    assert reason(guarded.url("h264", "viewer:wrong@")) == "wrong user or password (401)"
    assert reason(guarded.url("h264", "")) == "the camera requires a user and a password (401)"


def test_closed_port_and_unknown_host_are_told_apart() -> None:
    port = free_port()
    assert reason(f"rtsp://127.0.0.1:{port}/a") == f"connection refused by 127.0.0.1:{port}"
    assert "camera.invalid" in reason("rtsp://camera.invalid/a")


@pytest.mark.slow
def test_silent_camera_is_given_up_after_five_seconds() -> None:
    with answering(lambda _: None) as port:
        began = time.monotonic()
        assert reason(f"rtsp://127.0.0.1:{port}/a") == f"no answer from 127.0.0.1:{port} in 5 s"
        assert time.monotonic() - began < 7


@pytest.mark.parametrize(
    ("answer", "expected"),
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
def test_answer_without_a_stream_is_an_error_with_the_reason(answer: bytes, expected: str) -> None:
    with answering(lambda _: answer) as port:
        assert expected in reason(f"rtsp://viewer:pw@127.0.0.1:{port}/a")


@pytest.mark.slow
def test_answer_over_tls_may_come_in_pieces_with_pauses(tmp_path: Path) -> None:
    """Polling for cancellation must not break a TLS connection."""
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
    requests: list[bytes] = []

    def redirect(request: bytes) -> bytes:
        requests.append(request)
        return b"RTSP/1.0 302 Moved\r\nCSeq: 1\r\nLocation: /again\r\n\r\n"

    with answering(redirect) as port:
        assert (
            reason(f"rtsp://127.0.0.1:{port}/a") == "the camera redirects in a loop or to an unsupported address (302)"
        )
    assert len(requests) < 10


@pytest.mark.parametrize("address", ["rtsp://viewer:pa/ss@host/a", "rtsp://", "rtsp://host:notaport/a"])
def test_address_that_is_not_a_url_is_not_repeated(address: str) -> None:
    assert reason(address) == "the address is not a valid URL (is its password percent-encoded?)"


def test_no_credential_is_in_any_log_reason_or_error(guarded: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    texts = []
    login = f"{USER}:s3cr%2Ft%20p%40ss"
    with answering(lambda _: b"RTSP/1.0 401 No\r\nCSeq: 1\r\nWWW-Authenticate: Basic realm=r\r\n\r\n") as port:
        for url in (
            guarded.url("nothing"),
            guarded.url("h264", f"{login}x@"),
            f"rtsp://{login}@127.0.0.1:{port}/a",
            f"rtsp://{login}@127.0.0.1:{free_port()}/a",
            f"rtsp://{USER}:{PASSWORD}@127.0.0.1/a",
        ):
            with Watched(spec(url, shown="rtsp://camera")) as watched:
                with pytest.raises(CameraError) as caught:
                    watched.grab()
                texts += [repr(caught.value), str(watched.states), repr(watched.camera)]
    everything = caplog.text + "".join(texts)
    assert "camera dock: " in everything
    for secret in ("s3cr", "p@ss", "p%40ss", USER):
        assert secret not in everything
