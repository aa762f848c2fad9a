"""What a POST request may carry, over the real server."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from support.broker import HOST, free_port, until

from edged.core.specs import ListenAddress, PageSpec
from edged.page import bodies
from edged.page.bodies import LARGEST, read_json
from edged.page.server import PageServer

PORT = free_port()
URL = f"http://{HOST}:{PORT}/"
JSON = {"Content-Type": "application/json"}


class Echo:
    """An app that answers with the JSON that it gets."""

    def __init__(self) -> None:
        self.asgi = Starlette(routes=[Route("/", self._answer, methods=["POST"])])

    async def close(self) -> None: ...

    async def _answer(self, request: Request) -> Response:
        return JSONResponse(await read_json(request))


@pytest.fixture(scope="module", autouse=True)
def served() -> Iterator[None]:
    server = PageServer(lambda _: Echo())
    server.follow(PageSpec(ListenAddress(HOST, PORT)))
    until(_is_serving, 20)
    yield
    server.stop()


def _is_serving() -> bool:
    with socket.socket() as tried:
        return tried.connect_ex((HOST, PORT)) == 0


def talk(*parts: bytes) -> bytes:
    """The answer to a request in these parts, after which the sender waits."""
    with socket.create_connection((HOST, PORT), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
        return connection.recv(65_536)


def head(*lines: str) -> bytes:
    return "\r\n".join(["POST / HTTP/1.1", "Host: x", "Content-Type: application/json", *lines, "", ""]).encode()


def test_a_json_object_is_read():
    content_type = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert httpx.post(URL, content='{"문": [1]}'.encode(), headers=content_type).json() == {"문": [1]}


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", None]
)
def test_what_a_form_of_another_site_can_send_is_refused(content_type: str | None):
    headers = {} if content_type is None else {"Content-Type": content_type}
    assert httpx.post(URL, content=b"{}", headers=headers).status_code == 415


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"null", b"\xff", b"[" * 60_000, b"{}{}", b"\x00"])
def test_what_is_no_json_object_is_refused(body: bytes):
    answer = httpx.post(URL, content=body, headers=JSON)
    assert (answer.status_code, answer.text) == (400, bodies.NO_OBJECT)


def test_a_body_of_the_largest_size_is_read_and_one_byte_more_is_refused():
    largest = b'{"a":"' + b"x" * (LARGEST - 8) + b'"}'
    assert httpx.post(URL, content=largest, headers=JSON).status_code == 200
    assert httpx.post(URL, content=largest + b" ", headers=JSON).status_code == 413


def test_a_body_that_is_declared_too_large_is_refused_before_it_is_sent():
    assert talk(head("Content-Length: 99999999999999999999")).startswith(b"HTTP/1.1 413 ")


def test_a_body_in_chunks_is_refused_as_soon_as_it_is_too_large():
    chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    assert talk(head("Transfer-Encoding: chunked"), chunk, chunk, b"1\r\nx\r\n").startswith(b"HTTP/1.1 413 ")


def test_a_body_that_does_not_arrive_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bodies, "LIMIT_S", 0.3)
    begun = time.monotonic()
    answer = talk(head("Content-Length: 10"), b"{")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer.lower()
    assert time.monotonic() - begun < 3


def test_a_sender_that_leaves_in_the_middle_is_no_error(caplog: pytest.LogCaptureFixture):
    with socket.create_connection((HOST, PORT), timeout=20) as connection:
        connection.sendall(head("Content-Length: 10") + b"{")
    assert httpx.post(URL, content=b"{}", headers=JSON).status_code == 200
    assert caplog.messages == []
