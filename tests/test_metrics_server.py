"""The metrics over HTTP: requests and clients of every kind, and addresses that are taken or changed."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from support.broker import HOST, free_port, until
from support.scraping import fetch, listens

from edged.core.specs import ListenAddress
from edged.service import metrics_server
from edged.service.metrics_server import MetricsServer

TYPE = "text/plain; version=0.0.4; charset=utf-8"


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    running = MetricsServer(lambda: b"edged_camera_up 1\n", TYPE)
    yield running
    running.stop()


def serve(server: MetricsServer, port: int, host: str = HOST) -> None:
    server.follow(ListenAddress(host, port))
    until(lambda: listens(port, host))


def raw(port: int, request: bytes) -> bytes:
    """The answer, until the server closes the connection."""
    with socket.create_connection((HOST, port), 5) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def metrics_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "edged-metrics"]


def test_the_metrics_are_at_their_path_with_their_type(server: MetricsServer, port: int):
    serve(server, port)
    response = fetch(port, "/metrics?x=1")
    assert (response.status, response.content_type, response.text) == (200, TYPE, "edged_camera_up 1\n")


def test_an_ipv6_address_works(server: MetricsServer, port: int):
    serve(server, port, "::1")
    assert fetch(port, host="::1").status == 200


def test_another_path_leads_to_the_metrics(server: MetricsServer, port: int):
    serve(server, port)
    assert (fetch(port, "/").status, fetch(port, "/").text) == (404, "see /metrics\n")


def test_head_has_no_body_and_other_methods_are_refused(server: MetricsServer, port: int):
    serve(server, port)
    assert raw(port, b"HEAD /metrics HTTP/1.1\r\n\r\n").endswith(b"\r\n\r\n")
    assert fetch(port, method="POST").status == 405


@pytest.mark.parametrize(
    "request_",
    [b"\r\n\r\n", b"GET /metrics\r\n\r\n", b"\x16\x03\x01\xff\x00\r\n\r\n", b"GET " + b"a" * 20_000 + b"\r\n\r\n"],
)
def test_what_is_no_request_gets_an_error(server: MetricsServer, port: int, request_: bytes):
    serve(server, port)
    with_reset = b""
    try:
        answer = raw(port, request_)
    except ConnectionResetError:  # what was not read is thrown away with the connection
        answer = with_reset
    assert answer == with_reset or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 404"))
    assert fetch(port).status == 200


def test_a_client_that_sends_nothing_delays_the_next_one_by_its_time_limit_only(
    server: MetricsServer, port: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(metrics_server, "CONNECTION_S", 0.3)
    serve(server, port)
    with socket.create_connection((HOST, port)), socket.create_connection((HOST, port)) as slow:
        slow.sendall(b"GET /metr")
        begun = time.monotonic()
        assert fetch(port).status == 200
        assert time.monotonic() - begun < 5.0


def test_an_error_is_answered_and_logged_once(port: int, caplog: pytest.LogCaptureFixture):
    fine = threading.Event()

    def text() -> bytes:
        if not fine.is_set():
            raise ValueError("broken")
        return b"x"

    server = MetricsServer(text, TYPE)
    with caplog.at_level(logging.INFO):
        serve(server, port)
        assert [fetch(port).status for _ in range(3)] == [500, 500, 500]
        fine.set()
        assert fetch(port).status == 200
        server.stop()
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert "served again after" in caplog.messages[-1]


def test_a_port_in_use_is_reported_once_and_tried_again(
    server: MetricsServer, port: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(metrics_server, "RETRY_S", 0.05)
    with caplog.at_level(logging.INFO):
        with socket.create_server((HOST, port)):
            server.follow(ListenAddress(HOST, port))
            until(lambda: caplog.messages)
            threading.Event().wait(0.3)  # several tries
        until(lambda: len(caplog.messages) > 1)
    assert caplog.messages[0] == f"metrics 127.0.0.1:{port}: cannot listen: address already in use; trying again"
    assert caplog.messages[1].startswith(f"metrics 127.0.0.1:{port}: back after ")
    assert len(caplog.messages) == 2
    assert fetch(port).status == 200


def test_an_address_of_another_machine_is_reported(server: MetricsServer, port: int, caplog: pytest.LogCaptureFixture):
    server.follow(ListenAddress("192.0.2.1", port))
    until(lambda: caplog.messages)
    assert caplog.messages == [
        f"metrics 192.0.2.1:{port}: cannot listen: cannot assign requested address; trying again"
    ]
    begun = time.monotonic()
    server.stop()
    assert time.monotonic() - begun < 1.0


def test_the_server_moves_to_another_address_and_ends_its_thread(server: MetricsServer, port: int):
    other = free_port()
    serve(server, port)
    serve(server, other)
    assert not listens(port)
    assert len(metrics_threads()) == 1
    server.follow(None)
    assert not listens(other)
    assert metrics_threads() == []


def test_the_same_address_keeps_the_thread(server: MetricsServer, port: int):
    serve(server, port)
    (thread,) = metrics_threads()
    server.follow(ListenAddress(HOST, port))
    assert metrics_threads() == [thread]


def test_a_text_that_hangs_does_not_keep_edged_from_stopping(port: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(metrics_server, "STOP_S", 0.2)
    hanging = threading.Event()
    server = MetricsServer(lambda: b"x" if hanging.wait(30) else b"", TYPE)
    serve(server, port)
    with socket.create_connection((HOST, port)) as waiting:
        waiting.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        begun = time.monotonic()
        server.stop()
        assert time.monotonic() - begun < 2.0
        hanging.set()
    until(lambda: not metrics_threads())
