"""Asks an RTSP server for a stream's description, to learn why it would not open: OpenCV only returns False."""

from __future__ import annotations

import contextlib
import io
import socket
import ssl
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import urljoin

from edged.cameras.login import authorization
from edged.cameras.reasons import ANSWER_S, Address, of_network, of_status, parse_address, whole_number
from edged.cameras.wire import Ended, Patience, Wire
from edged.core.errors import CameraError

MAX_REDIRECTS = 5
MAX_HEADERS = 100
MAX_BODY = 256 * 1024


@dataclass(frozen=True, slots=True)
class Response:
    """One RTSP response. Header names are in lower case, and a name may come more than once."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]


def describe(address: str, ended: Ended) -> None:
    """Raises CameraError with the reason if the stream at this address is not available, Stopped once `ended`.

    Bounded: 5 s for each connection and each silence, 10 s for all answers. Follows redirects on the same host only,
    because FFmpeg takes the password along wherever a redirect leads.
    """
    target = parse_address(address)
    url, patience = target.url, Patience(ended)
    for _ in range(MAX_REDIRECTS):
        try:
            response, sent_login = _ask(target, url, patience)
        except OSError as error:
            raise of_network(error, target) from None
        if not 300 <= response.status < 400:
            _judge(response, sent_login)
            return
        url, target = _redirected(response, url, target)
    raise of_status(response.status, with_login=sent_login)


def _redirected(response: Response, url: str, target: Address) -> tuple[str, Address]:
    try:
        onward = parse_address(urljoin(url, next(iter(response.all("location")), "")))
    except ValueError:
        raise CameraError("the camera redirects to an address that is not valid") from None
    if onward.host != target.host:
        raise CameraError(f"the camera redirects to another host, {onward.where}: use that address if it is correct")
    return onward.url, Address(
        onward.url, onward.scheme, onward.host, onward.port, user=target.user, password=target.password
    )


def _judge(response: Response, sent_login: bool) -> None:
    if response.status != 200:
        raise of_status(response.status, sent_login)
    if b"m=video" not in response.body:
        raise CameraError("the stream has no video")


def _ask(target: Address, url: str, patience: Patience) -> tuple[Response, bool]:
    """DESCRIBE, once more with the login if the server wants one. Also says whether a login was sent."""
    with contextlib.ExitStack() as stack:
        connection: socket.socket = stack.enter_context(
            socket.create_connection((target.host, target.port), timeout=ANSWER_S)
        )
        if target.scheme == "rtsps":
            connection = stack.enter_context(_trusting_tls().wrap_socket(connection, server_hostname=target.host))
        answers = stack.enter_context(io.BufferedReader(Wire(connection, connection.makefile("rb"), patience)))
        response = _exchange(connection, answers, target, url, 1, "")
        if response.status != 401 or target.user is None:
            return response, False
        login = authorization(response.all("www-authenticate"), target, "DESCRIBE", url)
        return _exchange(connection, answers, target, url, 2, f"Authorization: {login}\r\n"), True


def _trusting_tls() -> ssl.SSLContext:
    # FFmpeg, which opens the stream afterwards, does not check certificates either; cameras sign their own.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _exchange(
    connection: socket.socket, answers: BinaryIO, target: Address, url: str, number: int, login: str
) -> Response:
    request = (
        f"DESCRIBE {url} RTSP/1.0\r\nCSeq: {number}\r\nAccept: application/sdp\r\nUser-Agent: edged\r\n{login}\r\n"
    )
    connection.settimeout(ANSWER_S)
    connection.sendall(request.encode())
    return _response(answers, target)


def _response(answers: BinaryIO, target: Address) -> Response:
    first = answers.readline(1024).decode("latin-1").split(maxsplit=2)
    if not first:
        raise ConnectionResetError
    status = whole_number(first[1]) if len(first) > 1 else None
    if not first[0].startswith("RTSP/") or status is None:
        raise CameraError(f"{target.where} does not speak RTSP (is the port right?)")
    headers = []
    for _ in range(MAX_HEADERS):
        name, _, value = answers.readline(8192).decode("latin-1").strip().partition(":")
        if not name:
            break
        headers.append((name.strip().lower(), value.strip()))
    length = whole_number(dict(headers).get("content-length", ""))
    body = answers.read(min(length, MAX_BODY)) if length else b""
    return Response(status, tuple(headers), body)
