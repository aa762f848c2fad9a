"""The subscriber that `watch`, `doctor` and `demo` use: what it delivers, and why it is not connected."""

# ruff: noqa: F401, F811  # fixtures are imported, and then named as arguments

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.broker import HOST, Mosquitto, Subscriber, Wire, an_answer, free_port, scripted_broker, tls, until, wire
from support.publishing import logged, publishing

from edged.core.errors import EdgedError
from edged.core.secret import Secret
from edged.core.specs import BrokerSpec
from edged.mqtt import follower as follower_module
from edged.mqtt.failure import Failure
from edged.mqtt.follower import CONNECTING, Follower

SERVER_UNAVAILABLE = b"\x20\x02\x00\x03"  # CONNACK of MQTT 3.1.1


@contextmanager
def following(port: int, host: str = HOST, **more: Any) -> Iterator[Follower]:
    follower = Follower(BrokerSpec(host=host, port=port, **more), None)
    follower.start()
    try:
        yield follower
    finally:
        follower.close()


def failure_at(port: int, host: str = HOST, **more: Any) -> Failure:
    """Why a follower does not connect to this port."""
    with following(port, host, **more) as follower:
        until(lambda: follower.failure)
        failure = follower.failure
        assert failure is not None
        assert follower.reason == failure.text
        assert follower.connected is False
    return failure


def test_json_messages_of_every_node_are_delivered_and_pictures_are_not(mosquitto: Mosquitto) -> None:
    with publishing(mosquitto.port) as publisher, following(mosquitto.port) as follower:
        until(lambda: follower.connected)
        until(lambda: publisher.figures().published >= 1)
        publisher.info({"version": "0.1.0"})
        messages = [follower.next(15.0), follower.next(15.0)]
        assert follower.next(0.0) is None
    delivered = [(message.node, message.topic, message.payload) for message in messages if message]
    assert delivered == [
        ("box", ("bridge", "state"), {"state": "online"}),
        ("box", ("bridge", "info"), {"version": "0.1.0"}),
    ]


def test_a_question_or_camera_that_is_named_like_a_picture_is_delivered(mosquitto: Mosquitto) -> None:
    named = ("dock", "jpeg"), ("image", "jpeg"), ("jpeg", "people")
    with publishing(mosquitto.port) as publisher, following(mosquitto.port) as follower:
        until(lambda: follower.connected)
        for camera, question in named:
            publisher.answers([an_answer("a", camera, question)], [], b"jpeg")
            until(partial(came, follower, camera, question))


def came(follower: Follower, *levels: str) -> bool:
    message = follower.next(0.0)
    return message is not None and message.topic == levels


def test_an_error_while_a_message_is_read_is_logged_and_survived(
    mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def read(payload: bytes) -> dict[str, Any]:
        if payload == b"bad":
            raise RuntimeError("a bug")
        return {"read": True}

    monkeypatch.setattr(follower_module, "json_object", read)
    sender = Subscriber(mosquitto.port)
    with following(mosquitto.port) as follower:
        until(lambda: follower.connected)
        for number, payload in enumerate((b"bad", b"{}")):
            sender.publish(f"edged/box/dock/{number}", payload, retain=True)
        until(lambda: came(follower, "dock", "1"))
        assert follower.connected
    sender.close()
    assert len(logged(caplog, "ERROR")) == 1


def test_there_is_no_failure_while_the_first_try_runs_and_none_while_connected(mosquitto: Mosquitto) -> None:
    with socket.create_server((HOST, 0)) as silent, following(silent.getsockname()[1]) as follower:
        connection, _ = silent.accept()  # TCP is up, and CONNACK does not come
        with connection:
            assert (follower.failure, follower.reason) == (None, CONNECTING)
    with following(mosquitto.port) as follower:
        until(lambda: follower.connected)
        assert follower.failure is None


def test_a_wrong_login_is_of_kind_login(tmp_path: Path) -> None:
    with Mosquitto(tmp_path, users={"edged": "right-word"}) as broker:
        failure = failure_at(broker.port, username="edged", password=Secret("wrong-word"))
    assert failure == Failure("login", "not authorised (wrong user or password)")


def test_without_a_login_the_broker_is_said_to_require_one(tmp_path: Path) -> None:
    with Mosquitto(tmp_path, users={"edged": "right-word"}) as broker:
        assert "requires a login" in failure_at(broker.port).text


@pytest.mark.slow
def test_a_certificate_that_is_not_trusted_is_of_kind_certificate(tmp_path: Path, tls: Path) -> None:
    with Mosquitto(tmp_path, tls=tls) as broker:
        assert failure_at(broker.port, "localhost", tls=True).kind == "certificate"


@pytest.mark.slow
def test_a_port_without_tls_is_of_kind_tls(mosquitto: Mosquitto) -> None:
    assert failure_at(mosquitto.port, tls=True).kind == "tls"


@pytest.mark.slow
@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b"])
def test_a_name_that_cannot_be_resolved_is_of_kind_name(host: str) -> None:
    assert failure_at(1883, host) == Failure("name", "name cannot be resolved")


@pytest.mark.slow
def test_a_port_where_nothing_listens_is_of_kind_refused() -> None:
    assert failure_at(free_port()) == Failure("refused", "connection refused")


@pytest.mark.slow
def test_a_broker_that_closes_the_connection_is_of_kind_lost() -> None:
    with scripted_broker(lambda *_: None) as port:
        assert failure_at(port) == Failure("lost", "connection closed before CONNACK")


@pytest.mark.slow
def test_a_broker_that_rejects_the_connection_is_of_kind_other() -> None:
    with scripted_broker(lambda *_: SERVER_UNAVAILABLE) as port:
        assert failure_at(port) == Failure("other", "connection rejected: server unavailable")


@pytest.mark.slow
def test_a_lost_connection_is_of_kind_lost_and_is_over_when_it_is_back(wire: Wire) -> None:
    with following(wire.port) as follower:
        until(lambda: follower.connected)
        wire.cut()
        until(lambda: not follower.connected)
        assert follower.failure is not None
        wire.mend()
        until(lambda: follower.connected)
        assert follower.failure is None


def test_a_spec_with_a_problem_is_not_connected(mosquitto: Mosquitto) -> None:
    problem = 'the secret "mqtt-password" is missing'
    follower = Follower(BrokerSpec(host=HOST, port=mosquitto.port, problem=problem), None)
    with pytest.raises(EdgedError, match=f"^{problem}$"):
        follower.start()
    follower.close()
