"""What a request says when the broker refuses a part of it, breaks off, or does not speak MQTT as expected."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias

import paho.mqtt.client as mqtt
import pytest
from support.broker import HOST, accepting, protocol_level, scripted_broker

from edged.core.errors import EdgedError
from edged.core.specs import BrokerSpec, ClientCertificate
from edged.mqtt import caller
from edged.mqtt.caller import Caller

CONNECT, PUBLISH, SUBSCRIBE = 1, 3, 8
CONNECTED = b"\x20\x03\x00\x00\x00"  # CONNACK of MQTT 5 without properties
REJECTED = b"\x20\x03\x00\x87\x00"
SHUTTING_DOWN = b"\xe0\x02\x8b\x00"  # DISCONNECT
RESPONSE = "edged/box/bridge/response/info"

Answers: TypeAlias = Callable[[int, bytes], bytes | None]  # by packet type and body; None closes the connection


@contextmanager
def speaking(answers: Answers) -> Iterator[int]:
    """A port where every packet is answered by `answers`."""

    def serve(connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            while (packet := _packet(stream)) and (reply := answers(*packet)) is not None:
                connection.sendall(reply)

    with accepting(serve) as port:
        yield port


def _packet(stream: BinaryIO) -> tuple[int, bytes] | None:
    """The type and body of the next packet; its length takes one or two bytes."""
    head = stream.read(2)
    if len(head) < 2:
        return None
    size = head[1] if head[1] < 128 else (head[1] & 127) + (stream.read(1)[0] << 7)
    return head[0] >> 4, stream.read(size)


def suback(body: bytes, *reasons: int) -> bytes:
    return bytes([0x90, 3 + len(reasons)]) + body[:2] + b"\0" + bytes(reasons)


def error_of(port: int) -> str:
    """The error of a request, without the broker's address."""
    request = Caller(BrokerSpec(host=HOST, port=port), "box", "info", {}, 30)
    with pytest.raises(EdgedError) as caught:
        request.call(threading.Event())
    broker = f"broker mqtt://{HOST}:{port}: "
    assert str(caught.value).startswith(broker)
    return str(caught.value).removeprefix(broker)


def test_a_subscription_that_is_refused_is_named() -> None:
    def answers(kind: int, body: bytes) -> bytes:
        return CONNECTED if kind == CONNECT else suback(body, 0x87, 0x01)

    with speaking(answers) as port:
        assert error_of(port) == f"subscription to {RESPONSE} refused: not authorised"


def test_a_refused_state_is_no_obstacle_and_a_refused_request_is_named() -> None:
    def answers(kind: int, body: bytes) -> bytes:
        if kind == PUBLISH:
            mid = 2 + int.from_bytes(body[:2], "big")
            return b"\x40\x03" + body[mid : mid + 2] + b"\x90"
        return CONNECTED if kind == CONNECT else suback(body, 0x01, 0x87)

    with speaking(answers) as port:
        assert error_of(port) == (
            "topic edged/box/bridge/request/info refused: the broker does not accept this topic name"
        )


def test_a_broker_that_shuts_down_meanwhile_is_reported() -> None:
    with speaking(lambda kind, _: CONNECTED if kind == CONNECT else SHUTTING_DOWN) as port:
        assert error_of(port) == "disconnected by the broker: server shutting down"


def test_a_connection_that_is_lost_meanwhile_is_reported() -> None:
    with speaking(lambda kind, _: CONNECTED if kind == CONNECT else None) as port:
        assert error_of(port) == "connection lost"


def test_a_broker_that_closes_both_versions_is_reported_once() -> None:
    levels = []

    def answers(_: int, connect: bytes) -> None:
        levels.append(protocol_level(connect))

    with scripted_broker(answers) as port:
        assert error_of(port) == "connection closed before CONNACK"
    assert levels[:2] == [5, 4]


def test_a_broker_that_answers_neither_version_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caller, "CONNACK_S", 0.2)
    levels = []

    def answers(_: int, connect: bytes) -> bytes:
        levels.append(protocol_level(connect))
        return b""

    with scripted_broker(answers) as port:
        assert error_of(port) == "no CONNACK within 0 s"
    assert levels == [5, 4]


def test_a_broker_that_closes_mqtt_5_is_asked_by_mqtt_3_1_1() -> None:
    def answers(kind: int, body: bytes) -> bytes | None:
        if kind == CONNECT:
            return None if protocol_level(body) == 5 else b"\x20\x02\x00\x00"
        return b"\x90\x04" + body[:2] + b"\x80\x01"

    with speaking(answers) as port:
        assert error_of(port) == f"subscription to {RESPONSE} refused: unspecified error"


def test_a_rejected_connection_is_reported() -> None:
    with speaking(lambda *_: REJECTED) as port:
        assert error_of(port) == "not authorised (the broker requires a login, but mqtt.username is not set)"


def test_a_network_thread_that_dies_ends_the_request(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def dies(*_: object) -> None:
        raise RuntimeError("a defect of paho")

    monkeypatch.setattr(mqtt.Client, "loop_forever", dies)
    assert error_of(1) == "unexpected error"
    assert "unexpected error in paho's network thread" in caplog.text


def test_a_broker_with_a_problem_in_the_config_is_not_asked() -> None:
    request = Caller(BrokerSpec(host=HOST, port=1, problem='the secret "broker" is missing'), "box", "info", {}, 30)
    with pytest.raises(EdgedError, match=r'^the secret "broker" is missing$'):
        request.call(threading.Event())


def test_a_client_certificate_that_does_not_exist_is_named(tmp_path: Path) -> None:
    files = ClientCertificate(tmp_path / "client.crt", tmp_path / "client.key")
    request = Caller(BrokerSpec(host=HOST, port=1, tls=True, client_certificate=files), "box", "info", {}, 30)
    with pytest.raises(EdgedError) as caught:
        request.call(threading.Event())
    assert str(caught.value) == (
        f"mqtt: client certificate {tmp_path}/client.crt cannot be used: no such file or directory"
    )
