"""The page under requests that are malformed, slow, endless or too many: it stays up, bounded, and silent."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import re
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from starlette.types import Receive, Scope, Send
from support.broker import HOST, free_port, until
from support.making import frame
from support.paging import FakeBox
from support.process import resident_bytes
from support.raw_http import exchange, get, header, status
from support.world import CONFIG

from edged.core.specs import ListenAddress, PageSpec
from edged.page import connection, feed, server, uvicorn_server
from edged.page.app import PageApp
from edged.page.connection import MOST_CONNECTIONS
from edged.page.feed import MOST_LISTENERS
from edged.page.server import PageServer

CAMERA = CONFIG.cameras[0].name


@pytest.fixture(scope="module")
def served() -> Iterator[FakeBox]:
    with FakeBox(CONFIG) as box:
        yield box


@pytest.fixture
def box(served: FakeBox, caplog: pytest.LogCaptureFixture) -> FakeBox:
    caplog.set_level(logging.DEBUG)
    for quiet in ("httpx", "httpcore"):  # this test's own client
        logging.getLogger(quiet).setLevel(logging.WARNING)
    return served


def port(box: FakeBox) -> int:
    return box.spec.listen.port


def is_held(client: socket.socket) -> bool:
    """True while a process holds the other end of this connection."""
    own, other = client.getsockname()[1], client.getpeername()[1]
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ends = f":{other:04X}", f":{own:04X}"
    return any(row[1].endswith(ends[0]) and row[2].endswith(ends[1]) and row[9] != "0" for row in rows)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def connected(box: FakeBox) -> socket.socket:
    return socket.create_connection((HOST, port(box)), timeout=20)


def is_closed(client: socket.socket) -> bool:
    """True if the server has closed this connection. Reads what has arrived."""
    client.setblocking(False)
    try:
        while client.recv(65_536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


# malformed requests

HOST_LINE = b" HTTP/1.1\r\nHost: 127.0.0.1\r\n"
CHUNKED = b"POST /api/try" + HOST_LINE + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
SHAPES = [
    b"",
    b"\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS client
    b"GET",
    b"GET /\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : 127.0.0.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n Host: 127.0.0.1\r\n\r\n",
    b"GET / HTTP/1.1\nHost: 127.0.0.1\n\n",
    b"GET /\x00 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /" + HOST_LINE + b"X: " + b"x" * 20_000 + b"\r\n\r\n",
    b"GET /" + HOST_LINE + b"X: x\r\n" * 5_000 + b"\r\n",
    b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    # two ways to tell the length of a body, which two servers in a row may take differently
    b"POST /" + HOST_LINE + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    b"POST /" + HOST_LINE + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    b"POST /" + HOST_LINE + b"Content-Length: -1\r\n\r\n",
    b"POST /" + HOST_LINE + b"Content-Length: 1e3\r\n\r\n",
    b"POST /" + HOST_LINE + b"Content-Length: " + b"9" * 5_000 + b"\r\n\r\n",
    b"POST /" + HOST_LINE + b"Transfer-Encoding: chunked, identity\r\n\r\n",
    b"POST /" + HOST_LINE + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    # chunks that are none: before, during and after the answer
    CHUNKED + b"zz\r\n",
    CHUNKED + b"-1\r\n",
    CHUNKED + b"ffffffffffffffff\r\nx",
    CHUNKED + b"5\r\nhelloX",
    CHUNKED + b"0\r\nA: \x00\r\n\r\n",
    CHUNKED.replace(b"POST /api/try", b"POST /") + b"zz\r\n",
    CHUNKED.replace(b"POST /api/try", b"GET /api/events") + b"zz\r\n",
    CHUNKED.replace(b"POST /api/try", b"GET /api/state") + b"1\r\nx\r\nzz\r\n",
    # more than one request, and garbage after the first
    get("/api/state").replace(b"Connection: close\r\n", b"") * 20,
    get("/api/state").replace(b"Connection: close\r\n", b"") + b"garbage\r\n\r\n",
    get("/api/events").replace(b"Connection: close\r\n", b"") + b"\x00\x01garbage\r\n\r\n",
    get("/", "Expect: 100-continue", "Content-Length: 5") + b"hello",
    get("/", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
    get("/", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"),
    get("/api/state", "Content-Length: 100000") + b"x" * 1000,
    get("http://evil.example/api/state"),
    get("*", method="OPTIONS"),
    get("evil.example:443", method="CONNECT"),
]  # fmt: skip


def random_request(random_: random.Random) -> bytes:
    """One of the shapes with a few bytes changed, cut or repeated, or nothing but random bytes."""
    if random_.random() < 0.1:
        return random_.randbytes(random_.randrange(300))
    request = bytearray(random_.choice(SHAPES))
    for _ in range(random_.randrange(5)):
        position = random_.randrange(len(request) + 1)
        change = random_.randrange(3)
        if change == 0:
            request[position : position + 1] = random_.randbytes(1)
        elif change == 1:
            del request[position : position + random_.randrange(8)]
        else:
            request[position:position] = random_.choice([b"\r\n", b"\x00", b":", b"%00", b"  ", b"\xff" * 8])
    return bytes(request)


def send_and_leave(box: FakeBox, request: bytes) -> None:
    """Send, read a little, and leave, as a scanner does."""
    with connected(box) as client, suppress(OSError):
        client.settimeout(0.01)
        client.sendall(request)
        client.recv(4096)


@pytest.mark.parametrize("number", range(len(SHAPES)))
def test_a_malformed_request_ends_without_a_word_in_the_log(
    box: FakeBox, caplog: pytest.LogCaptureFixture, number: int
):
    logging.getLogger("asyncio").setLevel(logging.DEBUG)
    for _ in range(2):  # a failure would be logged once, and once more when it is over
        with connected(box) as client, suppress(OSError, AssertionError):
            client.settimeout(0.3)
            client.sendall(SHAPES[number])
            until(lambda: not client.recv(65_536), 0.5)
        assert httpx.get(f"{box.url}/api/state", timeout=10).status_code == 200
    assert caplog.messages == []


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("requests", [2_000, pytest.param(10_000, marks=pytest.mark.long)])
def test_after_thousands_of_malformed_requests_nothing_is_left(
    box: FakeBox, caplog: pytest.LogCaptureFixture, requests: int
):
    random_ = random.Random(1)
    for _ in range(requests // 10):
        send_and_leave(box, random_request(random_))
    until(lambda: exchange(port(box), get("/api/state"))[:12] == b"HTTP/1.1 200", 10)
    memory, threads, before = resident_bytes(os.getpid()) // 1024, threading.active_count(), descriptors()
    for _ in range(requests):
        send_and_leave(box, random_request(random_))
    assert status(exchange(port(box), get("/api/state"))) == 200
    until(lambda: descriptors() <= before, 15)
    assert threading.active_count() <= threads
    assert resident_bytes(os.getpid()) // 1024 - memory < 10_000 + requests
    assert caplog.messages == []


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "PATCH", "PROPFIND", "get", "X" * 200])
@pytest.mark.parametrize("path", ["/", "/api/state", "/api/events", "/api/frame/nope.jpg", "/static/icon.svg"])
def test_other_methods_are_refused(box: FakeBox, method: str, path: str):
    answer = exchange(port(box), get(path, method=method))
    known = path != "/api/frame/nope.jpg"
    assert status(answer) == ((200 if known else 404) if method == "HEAD" else 405)
    assert (method == "HEAD") <= (answer.partition(b"\r\n\r\n")[2] in (b"", b"0\r\n\r\n"))


def test_http_1_0_is_answered(box: FakeBox):
    answer = exchange(port(box), b"GET /api/state HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
    assert status(answer) == 200
    assert status(exchange(port(box), b"GET /api/state HTTP/1.0\r\n\r\n")) == 421


def test_a_websocket_is_not_opened(box: FakeBox):
    lines = ("Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    request = get("/api/events", *lines).replace(b"Connection: close", b"Connection: Upgrade")
    with connected(box) as client:
        client.sendall(request)
        assert status(client.recv(4096)) == 200  # as if it had not asked for one


# too many, too slow


def test_two_hundred_event_streams_are_bounded(box: FakeBox):
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(box)) for _ in range(40)]
        for client in clients:
            client.sendall(get("/api/events"))
        statuses = [status(client.recv(4096)) for client in clients]
        assert (statuses.count(200), statuses.count(503)) == (MOST_LISTENERS, 40 - MOST_LISTENERS)
        for _ in range(160):
            assert status(exchange(port(box), get("/api/events"))) == 503
        asked = exchange(port(box), get("/api/events", method="HEAD"))  # as a page does that was refused
        assert (status(asked), header(asked, "Retry-After")) == (503, "5")
        begun = time.monotonic()
        box.looked(CAMERA, frame=frame(1))
        assert time.monotonic() - begun < 0.1
        assert status(exchange(port(box), get("/api/state"))) == 200


def test_a_listener_that_leaves_makes_room(box: FakeBox):
    def listens() -> bool:
        with connected(box) as client:
            client.sendall(get("/api/events"))
            return status(client.recv(4096)) == 200

    for _ in range(2 * MOST_LISTENERS):
        assert listens()
    until(listens, 5)


def test_users_are_served_while_a_thousand_connections_say_nothing(box: FakeBox):
    before = descriptors()
    with ExitStack() as stack:
        most = 0
        for number in range(1000):
            stack.enter_context(connected(box))
            most = max(most, descriptors() - number)
        assert status(exchange(port(box), get("/api/state"), limit_s=3)) == 200
        assert most - before < 3 * MOST_CONNECTIONS  # those of this test left out
    until(lambda: descriptors() <= before, 10)


def test_a_connection_too_many_takes_the_place_of_an_idle_one(box: FakeBox, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection, "MOST_CONNECTIONS", 3)
    with ExitStack() as stack:
        watching, idle, newer = (stack.enter_context(connected(box)) for _ in range(3))
        watching.sendall(get("/api/events"))
        assert status(watching.recv(4096)) == 200
        newest = stack.enter_context(connected(box))
        until(lambda: is_closed(idle), 5)
        newest.sendall(get("/api/state"))
        assert status(newest.recv(4096)) == 200
        assert not is_closed(watching)
        assert not is_closed(newer)


@pytest.mark.parametrize("begun", [b"", b"GET /" + HOST_LINE + b"X: "])
def test_a_head_that_does_not_end_is_given_up(box: FakeBox, monkeypatch: pytest.MonkeyPatch, begun: bytes):
    monkeypatch.setattr(connection, "HEAD_S", 0.5)
    with connected(box) as client:
        client.sendall(begun)
        _drip(client, b"x" if begun else b"", 5)


def test_a_body_that_nobody_reads_does_not_hold_a_connection(box: FakeBox, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection, "HEAD_S", 0.5)
    with connected(box) as client:
        client.sendall(b"GET /api/state HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n")
        _drip(client, b"x", 5)


def _drip(client: socket.socket, data: bytes, limit_s: float) -> None:
    """Send this again and again until the server closes the connection."""

    def closed() -> bool:
        with suppress(OSError):
            client.setblocking(False)
            client.send(data)
        return is_closed(client)

    until(closed, limit_s)


def test_a_browser_that_takes_nothing_loses_its_connection(box: FakeBox, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection, "SEND_S", 0.5)
    monkeypatch.setattr(feed, "POLL_S", 0.01)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((HOST, port(box)))
        client.sendall(get("/api/events"))
        until(lambda: is_held(client), 20)
        end = time.monotonic() + 60
        while is_held(client) and time.monotonic() < end:
            box.problems = [str(time.monotonic()) * 5_000]
            box.camera(CAMERA, reason="x" * 100_000)
            time.sleep(0.02)  # the pace of the changes
        assert not is_held(client)


@contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """This process can open so many and no more meanwhile."""
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(each.name) for each in Path("/proc/self/fd").iterdir())
    filled = [os.dup(0)]
    while filled[-1] < highest:
        filled.append(os.dup(0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(highest, filled[-1]) + 1 + count, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))
        for each in filled:
            os.close(each)


@pytest.mark.parametrize("count", range(4))
def test_a_page_that_has_too_few_descriptors_is_not_served_and_that_is_logged_once(
    count: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(server, "RETRY_S", 0.1)
    caplog.set_level(logging.INFO, "edged")
    box, tries = FakeBox(CONFIG), list[PageSpec]()

    def app(spec: PageSpec) -> PageApp:
        tries.append(spec)
        return PageApp(box.observed(), spec)

    page = PageServer(app)
    with descriptors_left(count):
        page.follow(box.spec)
        until(lambda: len(tries) > 5)
    until(box.is_serving, 20)
    page.stop()
    gc.collect()  # an error in __del__, or a coroutine that was not awaited, fails the test
    first, last = [record.getMessage() for record in caplog.records if record.name == "edged"]
    assert first == f"page {box.spec.listen.shown}: cannot listen: too many open files; trying again"
    assert re.fullmatch(rf"page {box.spec.listen.shown}: back after \S+ s \(\d+ tries\)", last)


def test_without_descriptors_no_connection_is_accepted_and_that_is_logged_once(
    box: FakeBox, caplog: pytest.LogCaptureFixture
):
    def logged() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == "edged"]

    with socket.socket() as client:
        with descriptors_left(0):
            client.connect((HOST, port(box)))
            until(logged)
        until(lambda: len(logged()) > 1)
        client.sendall(b"GET /static/icon.svg HTTP/1.0\r\n\r\n")
        assert client.recv(9) == b"HTTP/1.1 "
    assert logged()[0] == "page: no connection is accepted: too many open files"
    assert re.fullmatch(r"page: connections are accepted again after \S+ s \(\d+ tries\)", logged()[1])
    assert len(logged()) == 2
    assert not [record for record in caplog.records if record.exc_info]


class Defective:
    """An app whose requests are answered, and leave a callback in the event loop that fails."""

    @staticmethod
    async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
        asyncio.get_running_loop().call_soon(Defective.fail)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    @staticmethod
    def fail() -> None:
        raise RuntimeError("a defect")

    async def close(self) -> None: ...


def test_an_error_in_the_event_loop_is_logged_again_after_it_was_over(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(uvicorn_server, "QUIET_S", 1.5)  # longer than between two requests on a busy machine
    caplog.set_level(logging.INFO, "edged")
    spec = PageSpec(ListenAddress(HOST, free_port()))
    page = PageServer(lambda _: Defective())

    def logged() -> list[str]:
        return [message for message in caplog.messages if "unexpected error" in message]

    def fail_twice_until(count: int) -> None:
        for _ in range(2):
            httpx.get(f"http://{spec.listen.shown}/")
        until(lambda: len(logged()) == count, 20)

    page.follow(spec)
    try:
        until(lambda: len(caplog.messages) > 0, 20)
        fail_twice_until(2)
        fail_twice_until(4)
    finally:
        page.stop()
    first, over, again, _ = logged()
    assert first == again
    assert first.startswith("page: unexpected error: Exception in callback Defective.fail")
    assert re.fullmatch(r"page: no more unexpected errors after \S+ s \(2 errors\)", over)
