"""Logins at HTTP and RTSP cameras: Basic, and Digest as RFC 7616 describes it."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable

import pytest
from support.http import LOGIN, PASSWORD, USER, DigestCamera, answering, jpeg

from edged.cameras.camera_url import parse_url
from edged.cameras.login import digest
from edged.cameras.preflight import describe
from edged.cameras.source import fetch_picture
from edged.core.errors import CameraError

NEVER = threading.Event()


@pytest.mark.parametrize("qop", ["", "auth", "auth,auth-int"])
@pytest.mark.parametrize("algorithm", ["", "MD5", "MD5-sess", "SHA-256", "SHA-256-sess"])
def test_http_camera_is_logged_in_with_the_digest_algorithm_it_asks_for(algorithm: str, qop: str) -> None:
    with answering(DigestCamera(algorithm, qop, jpeg(77)), hang_up=True) as port:
        assert round(fetch_picture(f"http://{LOGIN}127.0.0.1:{port}/a?b=c", NEVER).rgb.mean()) == 77


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_digest_answer_is_that_of_the_example_in_rfc_7616(algorithm: str, response: str) -> None:
    fields = {
        "realm": "http-auth@example.org",
        "qop": "auth, auth-int",
        "algorithm": algorithm,
        "nonce": "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        "opaque": "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS",
    }
    target = parse_url("http://Mufasa:Circle%20of%20Life@www.example.org/dir/index.html")
    cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
    answer = digest(fields, target, "GET", "/dir/index.html", cnonce)
    assert f'response="{response}"' in answer
    assert f"algorithm={algorithm}, qop=auth, nc=00000001" in answer


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_wrong_digest_password_is_named_as_such(algorithm: str) -> None:
    with (
        answering(DigestCamera(algorithm, "auth", jpeg(77)), hang_up=True) as port,
        pytest.raises(CameraError, match=r"^wrong user or password \(401\)$"),
    ):
        fetch_picture(f"http://viewer:wrong@127.0.0.1:{port}/a", NEVER)


@pytest.mark.parametrize("algorithm", ["", "MD5", "MD5-sess"])
def test_rtsp_camera_is_logged_in_with_the_algorithms_that_ffmpeg_knows(algorithm: str) -> None:
    camera = DigestCamera(algorithm, "auth", b"m=video", "RTSP/1.0")
    with answering(camera) as port:
        describe(f"rtsp://{LOGIN}127.0.0.1:{port}/a", lambda: False)


def refusal(scheme: str, *challenges: str) -> str:
    """The error of a camera that makes these challenges."""
    lines = "".join(f"WWW-Authenticate: {challenge}\r\n" for challenge in challenges)
    protocol = "RTSP/1.0" if scheme == "rtsp" else "HTTP/1.1"
    answer = f"{protocol} 401 No\r\n{lines}Content-Length: 0\r\n\r\n".encode()
    with answering(lambda _: answer, hang_up=scheme == "http") as port, pytest.raises(CameraError) as caught:
        connect(f"{scheme}://{LOGIN}127.0.0.1:{port}/a")
    return str(caught.value)


def connect(url: str) -> None:
    if url.startswith("rtsp"):
        describe(url, lambda: False)
    else:
        fetch_picture(url, NEVER)


def test_unsupported_logins_are_named_with_what_is_supported() -> None:
    assert refusal("http", 'Digest realm="r", nonce="n", algorithm=SHA-512-256', "Negotiate") == (
        "the camera offers no supported login (offered: Digest with SHA-512-256, Negotiate; "
        "supported: Basic, Digest with MD5, SHA-256)"
    )


def test_rtsp_camera_with_sha_256_only_is_refused_because_ffmpeg_cannot_open_it() -> None:
    assert refusal("rtsp", 'Digest realm="r", nonce="n", algorithm=SHA-256') == (
        "the camera offers no supported login (offered: Digest with SHA-256; supported: Basic, Digest with MD5)"
    )


def test_arbitrary_text_in_a_challenge_is_not_repeated() -> None:
    assert "(offered: Digest with unknown; " in refusal("http", 'Digest realm="r", nonce="n", algorithm="a b <script>"')


def test_login_is_not_sent_to_another_host_after_a_redirect() -> None:
    requests: list[bytes] = []

    def reply(request: bytes) -> bytes:
        requests.append(request)
        if b"Host: 127.0.0.1" in request:
            return f"HTTP/1.1 302 Go\r\nLocation: http://localhost:{port}/b\r\nContent-Length: 0\r\n\r\n".encode()
        return b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=r\r\nContent-Length: 0\r\n\r\n"

    with answering(reply, hang_up=True) as port, pytest.raises(CameraError, match="requires a user and a password"):
        fetch_picture(f"http://{LOGIN}127.0.0.1:{port}/a", NEVER)
    assert [b"/b" in request for request in requests] == [False, True]
    assert b"authorization" not in b"".join(requests).lower()


def test_login_is_for_the_path_that_the_same_host_redirects_to() -> None:
    camera = DigestCamera("SHA-256", "auth", jpeg(77))

    def reply(request: bytes) -> bytes:
        if request.startswith(b"GET /a "):
            return b"HTTP/1.1 302 Go\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n"
        return camera(request)

    with answering(reply, hang_up=True) as port:
        assert round(fetch_picture(f"http://{LOGIN}127.0.0.1:{port}/a", NEVER).rgb.mean()) == 77


BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


def basic_camera(request: bytes) -> bytes:
    if f"Authorization: {BASIC}\r\n".encode() in request:
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(jpeg(77)), jpeg(77))
    return b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=r\r\nContent-Length: 0\r\n\r\n"


def redirect(address: str) -> bytes:
    return f"HTTP/1.1 302 Go\r\nLocation: {address}\r\nContent-Length: 0\r\n\r\n".encode()


class Redirecting:
    """A camera that requires a login for each path and, once it has it for /snap, redirects to `address`."""

    def __init__(self, camera: Callable[[bytes], bytes], address: str) -> None:
        self.camera, self.address = camera, address
        self.requests: list[bytes] = []

    def __call__(self, request: bytes) -> bytes:
        self.requests.append(request)
        answer = self.camera(request)
        return redirect(self.address) if request.startswith(b"GET /snap ") and b" 200 " in answer else answer

    def logins(self) -> list[str]:
        """The paths for which a login was sent."""
        return [request.split()[1].decode() for request in self.requests if b"Authorization: " in request]


@pytest.mark.parametrize("camera", [basic_camera, DigestCamera("MD5", "auth", jpeg(77))], ids=["Basic", "Digest"])
def test_a_redirect_after_the_login_to_a_path_that_requires_it_too_is_followed(
    camera: Callable[[bytes], bytes],
) -> None:
    redirecting = Redirecting(camera, "/img/1.jpg")
    with answering(redirecting, hang_up=True) as port:
        assert round(fetch_picture(f"http://{LOGIN}127.0.0.1:{port}/snap", NEVER).rgb.mean()) == 77
    assert redirecting.logins() == ["/snap", "/img/1.jpg"]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"], ids=["another host", "another port"])
def test_a_redirect_after_the_login_takes_it_nowhere_else(host: str) -> None:
    elsewhere = Redirecting(basic_camera, "/")
    with answering(elsewhere, hang_up=True) as other_port:
        redirecting = Redirecting(basic_camera, f"http://{host}:{other_port}/img/1.jpg")
        with answering(redirecting, hang_up=True) as port, pytest.raises(CameraError) as caught:
            fetch_picture(f"http://{LOGIN}127.0.0.1:{port}/snap", NEVER)
    assert str(caught.value) == "the camera requires a user and a password (401)"
    assert len(elsewhere.requests) == 1
    assert b"authorization" not in elsewhere.requests[0].lower()


def test_redirects_that_each_require_a_login_end() -> None:
    requests: list[bytes] = []

    def reply(request: bytes) -> bytes:
        requests.append(request)
        is_right = b" 200 " in basic_camera(request)
        return redirect(f"/{len(requests)}") if is_right else basic_camera(request)

    with answering(reply, hang_up=True) as port, pytest.raises(CameraError, match="redirects in a loop"):
        fetch_picture(f"http://{LOGIN}127.0.0.1:{port}/snap", NEVER)
    assert len(requests) < 20


def test_a_password_that_only_the_second_path_refuses_is_named_as_wrong() -> None:
    def reply(request: bytes) -> bytes:
        if request.startswith(b"GET /snap "):
            return redirect("/b") if b" 200 " in basic_camera(request) else basic_camera(request)
        return basic_camera(b"")

    with answering(reply, hang_up=True) as port, pytest.raises(CameraError, match="wrong user or password"):
        fetch_picture(f"http://{LOGIN}127.0.0.1:{port}/snap", NEVER)
