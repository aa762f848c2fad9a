"""Asks an RTSP server to describe a stream before FFmpeg does, for the reason of a failure and for redirects."""

from __future__ import annotations

import contextlib
import io
import re
import socket
import ssl
from dataclasses import dataclass, replace
from typing import BinaryIO
from urllib.parse import urljoin

from edged.cameras.bounded import ANSWER_S, BoundedStream, Budget, Cancelled, header_number
from edged.cameras.camera_url import CameraUrl, parse_url
from edged.cameras.login import FFMPEG_ALGORITHMS, authorization
from edged.cameras.reasons import network_error, status_error
from edged.core.errors import CameraError

CODECS = ("H264", "H265", "JPEG")
ENCODING = re.compile(r"a=rtpmap:\d+ +([\w.-]+)/")
MAX_REDIRECTS = 5
MAX_HEADERS = 100
MAX_BODY = 256 * 1024


@dataclass(frozen=True, slots=True)
class RtspResponse:
    """Header names are in lower case; a name may occur more than once."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]


def describe(address: str, cancelled: Cancelled) -> None:
    """Raises CameraError with the reason if the stream at this address is not available, Stopped once cancelled.

    Bounded: 5 s for each connection and each silence, 10 s for all answers. Follows redirects on the same host only,
    because FFmpeg sends the password along wherever a redirect leads.
    """
    target = parse_url(address)
    url, budget = target.url, Budget(cancelled)
    for _ in range(MAX_REDIRECTS):
        try:
            response, login_sent = _ask(target, url, budget)
        except OSError as error:
            raise network_error(error, target) from None
        if not 300 <= response.status < 400:
            _require_video(response, login_sent)
            return
        target = _redirected(response, url, target)
        url = target.url
    raise status_error(response.status, login_sent)


def _redirected(response: RtspResponse, url: str, target: CameraUrl) -> CameraUrl:
    try:
        redirected = parse_url(urljoin(url, next(iter(response.all("location")), "")))
    except ValueError:
        raise CameraError("the camera redirects to an address that is not valid") from None
    if redirected.host != target.host:
        raise CameraError(
            f"the camera redirects to another host, {redirected.where}: use that address if it is correct"
        )
    return replace(redirected, user=target.user, password=target.password)


def _require_video(response: RtspResponse, login_sent: bool) -> None:
    if response.status != 200:
        raise status_error(response.status, login_sent)
    description = response.body.decode("latin-1")
    _, found, video = description.partition("m=video")
    if not found:
        raise CameraError("the stream has no video")
    encoding = ENCODING.search(video.partition("\nm=")[0])
    if encoding and encoding[1].upper() not in CODECS:
        raise CameraError(f"the stream's video codec is not supported ({encoding[1][:40]})")


def _ask(target: CameraUrl, url: str, budget: Budget) -> tuple[RtspResponse, bool]:
    """DESCRIBE, a second time with the login if the server requires one. Also returns True if a login was sent."""
    with contextlib.ExitStack() as stack:
        connection: socket.socket = stack.enter_context(
            socket.create_connection((target.host, target.port), timeout=ANSWER_S)
        )
        if target.scheme == "rtsps":
            connection = stack.enter_context(_unverified_tls().wrap_socket(connection, server_hostname=target.host))
        answers = stack.enter_context(io.BufferedReader(BoundedStream(connection, connection.makefile("rb"), budget)))
        response = _exchange(connection, answers, target, url)
        if response.status != 401 or target.user is None:
            return response, False
        challenges = response.all("www-authenticate")
        login = authorization(challenges, target, "DESCRIBE", url, FFMPEG_ALGORITHMS)
        return _exchange(connection, answers, target, url, login), True


def _unverified_tls() -> ssl.SSLContext:
    # FFmpeg, which opens the stream afterwards, does not verify certificates either; cameras sign their own.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _exchange(
    connection: socket.socket, answers: BinaryIO, target: CameraUrl, url: str, login: str | None = None
) -> RtspResponse:
    authorization_line = f"Authorization: {login}\r\n" if login else ""
    request = (
        f"DESCRIBE {url} RTSP/1.0\r\nCSeq: {2 if login else 1}\r\nAccept: application/sdp\r\nUser-Agent: edged\r\n"
        f"{authorization_line}\r\n"
    )
    connection.settimeout(ANSWER_S)
    connection.sendall(request.encode())
    return _response(answers, target)


def _response(answers: BinaryIO, target: CameraUrl) -> RtspResponse:
    status_line = answers.readline(1024).decode("latin-1").split(maxsplit=2)
    if not status_line:
        raise ConnectionResetError
    status = header_number(status_line[1]) if len(status_line) > 1 else None
    if not status_line[0].startswith("RTSP/") or status is None:
        raise CameraError(f"{target.where} does not speak RTSP (is the port right?)")
    headers = _headers(answers)
    length = header_number(dict(headers).get("content-length", ""))
    body = answers.read(min(length, MAX_BODY)) if length else b""
    return RtspResponse(status, tuple(headers), body)


def _headers(answers: BinaryIO) -> list[tuple[str, str]]:
    headers = []
    for _ in range(MAX_HEADERS):
        name, _, value = answers.readline(8192).decode("latin-1").strip().partition(":")
        if not name:
            break
        headers.append((name.strip().lower(), value.strip()))
    return headers
