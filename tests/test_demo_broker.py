"""The demo's own broker, with the publisher that uses it."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from support.broker import HOST, Subscriber, Wire, an_answer, free_port, until

from edged.core.errors import EdgedError
from edged.core.pip import pip_install
from edged.core.specs import BrokerSpec
from edged.demo.broker import DemoBroker
from edged.mqtt.publisher import MqttPublisher

STATE = "edged/box/bridge/state"
PEOPLE = "edged/box/dock/people"


@pytest.fixture
def port() -> Iterator[int]:
    broker = DemoBroker()
    yield broker.start()
    broker.close()


@pytest.fixture
def subscriber(port: int) -> Iterator[Subscriber]:
    listening = Subscriber(port, version=4)
    yield listening
    listening.close()


def test_the_publisher_falls_back_to_mqtt_3_1_1(
    port: int, subscriber: Subscriber, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    publisher = MqttPublisher(BrokerSpec(host=HOST, port=port), "box")
    publisher.start()
    publisher.online()
    until(lambda: publisher.figures().connected)
    publisher.answers([an_answer("a1")], [], b"jpeg")
    assert subscriber.wait_for_topic(PEOPLE)[0].json["id"] == "a1"
    until(lambda: publisher.figures().published >= 3)
    assert publisher.close() is True
    after = Subscriber(port, version=4)
    after.close()
    kept = {message.topic: message.payload for message in after.messages if message.retain}
    assert kept[STATE] == b'{"state":"offline"}'
    assert b'"id":"a1"' in kept[PEOPLE]
    assert kept["edged/box/dock/image/jpeg"] == b"jpeg"
    connected = f"broker mqtt://{HOST}:{port}: connected (MQTT 3.1.1: the broker does not remove expired answers)"
    assert [record.getMessage() for record in caplog.records if record.name.startswith("edged")] == [connected]
    assert not [record for record in caplog.records if record.name.startswith(("amqtt", "transitions"))]


def test_last_will_and_return(port: int, subscriber: Subscriber) -> None:
    wire = Wire(port)
    publisher = MqttPublisher(BrokerSpec(host=HOST, port=wire.port), "box")
    publisher.start()
    publisher.online()
    subscriber.wait_for_topic(STATE)
    wire.cut()
    assert subscriber.wait_for_topic(STATE, 2)[1].payload == b'{"state":"offline"}'
    until(lambda: not publisher.figures().connected)
    publisher.answers([an_answer("a1")], [], None)
    publisher.answers([replace(an_answer("a2"), value=4)], [], None)
    wire.mend()
    assert subscriber.wait_for_topic(PEOPLE)[0].json["late"] is True
    assert subscriber.wait_for_topic(f"{PEOPLE}/late")[0].json["id"] == "a1"
    assert subscriber.wait_for_topic(STATE, 3)[2].payload == b'{"state":"online"}'
    publisher.close()
    wire.cut()


def test_mqtt_5_is_rejected_with_a_reason_code(port: int) -> None:
    answered = threading.Event()
    reasons = []
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5, reconnect_on_failure=False)
    client.will_set("last", b"will", 1)  # amqtt without the demo's fix never answers this

    def on_connect(_client: mqtt.Client, _: object, _flags: object, reason: object, _properties: object) -> None:
        reasons.append(str(reason))
        answered.set()

    client.on_connect = on_connect
    client.connect(HOST, port)
    client.loop_start()
    assert answered.wait(10)
    client.loop_stop()
    assert reasons == ["Unsupported protocol version"]


def test_malformed_packets_do_not_stop_it(port: int) -> None:
    for data in (b"GET / HTTP/1.1\r\n\r\n", b"\x10\xff\xff\xff\xff\xff", b"\x10", b""):
        with socket.create_connection((HOST, port)) as connection:
            connection.sendall(data)
    Subscriber(port, version=4).close()


def test_a_port_in_use_is_named() -> None:
    with socket.create_server((HOST, 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(EdgedError, match=rf"cannot listen on port {number}: Address already in use"):
            DemoBroker(number).start()


def test_without_amqtt_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "amqtt.broker", None)
    with pytest.raises(EdgedError, match=re.escape(pip_install("edged[demo]"))):
        DemoBroker().start()


@pytest.mark.slow
def test_it_stops_at_once_and_starts_again_at_its_port() -> None:
    number = free_port()
    broker = DemoBroker(number)
    broker.close()
    for _ in range(2):
        assert broker.start() == number
        listening = Subscriber(number, version=4)
        begun = time.monotonic()
        broker.close()
        broker.close()
        assert time.monotonic() - begun < 4.0
        listening.close()
    with pytest.raises(OSError, match="refused"), socket.create_connection((HOST, number)):
        pass
    assert not [thread for thread in threading.enumerate() if thread.name == "edged-broker"]


def test_a_broker_that_fails_or_hangs_while_it_starts_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow:
        def __init__(self, _config: object) -> None: ...

        async def start(self) -> None:
            await asyncio.sleep(0.3)

        async def shutdown(self) -> None: ...

    def fails(_config: object) -> None:
        raise ValueError("no such plugin")

    monkeypatch.setattr("amqtt.broker.Broker", fails)
    with pytest.raises(EdgedError, match=r"^the demo's broker failed to start: no such plugin$"):
        DemoBroker().start()
    monkeypatch.setattr("amqtt.broker.Broker", Slow)
    monkeypatch.setattr("edged.demo.broker.START_S", 0.05)
    with pytest.raises(EdgedError, match=r"^the demo's broker did not start within 0 s$"):
        DemoBroker().start()
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "edged-broker"])
