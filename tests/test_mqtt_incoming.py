"""Messages that edged receives: subscriptions, MQTT 5 properties, refusals, floods."""

# ruff: noqa: F401, F811  # fixtures are imported, and then named as arguments

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from support.broker import HOST, Mosquitto, Wire, mosquitto, until, wire
from support.publishing import logged

from edged.core.specs import BrokerSpec
from edged.mqtt.client import Incoming
from edged.mqtt.connection import MOST_EVENTS, Connection
from edged.mqtt.properties import LARGEST_INCOMING
from edged.mqtt.refused_topics import RefusedTopics
from edged.mqtt.subscriptions import Subscriptions

FILTER = "edged/box/bridge/request/+"


class Listener:
    def __init__(self) -> None:
        self.received: list[Incoming] = []

    def on_connected(self) -> None: ...

    def on_lost(self) -> None: ...

    def on_acknowledged(self, mid: int, outcome: str) -> None: ...

    def on_rivals_gone(self) -> None: ...

    def on_message(self, incoming: Incoming) -> None:
        self.received.append(incoming)


@contextmanager
def listening(port: int) -> Iterator[tuple[Connection, Listener]]:
    listener = Listener()
    connection = Connection(BrokerSpec(host=HOST, port=port), "box", listener, subscriptions=[FILTER])
    connection.start()
    try:
        yield connection, listener
    finally:
        connection.close(0.0)


@contextmanager
def sending(port: int) -> Iterator[Callable[..., None]]:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.connect(HOST, port)
    client.loop_start()

    def send(payload: bytes, retain: bool = False, **properties: Any) -> None:
        of = Properties(PacketTypes.PUBLISH)
        for name, value in properties.items():
            setattr(of, name, value)
        client.publish("edged/box/bridge/request/ask", payload, 1, retain, of).wait_for_publish(10)

    try:
        yield send
    finally:
        client.disconnect()
        client.loop_stop()


def processed_until(connection: Connection, condition: Callable[[], Any], timeout_s: float = 15.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        connection.process_events(0.05)


def subscribed(connection: Connection, broker: Mosquitto, times: int = 1) -> None:
    """mosquitto's log has a line for each filter."""
    granted = f"edged-box 1 {FILTER}"
    processed_until(connection, lambda: broker.log().count(granted) >= times)


def test_a_message_arrives_with_its_properties_of_mqtt_5(mosquitto: Mosquitto) -> None:
    with listening(mosquitto.port) as (connection, listener), sending(mosquitto.port) as send:
        subscribed(connection, mosquitto)
        send(b"{}", ResponseTopic="answers/here", CorrelationData=b"\x00\xff", MessageExpiryInterval=30)
        processed_until(connection, lambda: listener.received)
    [incoming] = listener.received
    assert (incoming.topic, incoming.payload, incoming.retained) == ("edged/box/bridge/request/ask", b"{}", False)
    assert (incoming.response_topic, incoming.correlation) == ("answers/here", b"\x00\xff")
    assert incoming.expires_s == 30
    assert 0 <= time.monotonic() - incoming.received_at < 15


def test_a_retained_message_is_marked_as_such(mosquitto: Mosquitto) -> None:
    with sending(mosquitto.port) as send:
        send(b"{}", retain=True)
        with listening(mosquitto.port) as (connection, listener):
            processed_until(connection, lambda: listener.received)
    assert listener.received[0].retained


def test_a_message_that_is_retained_while_edged_is_connected_is_marked_as_such(mosquitto: Mosquitto) -> None:
    with listening(mosquitto.port) as (connection, listener), sending(mosquitto.port) as send:
        subscribed(connection, mosquitto)
        send(b"retained", retain=True)
        send(b"not retained")
        processed_until(connection, lambda: len(listener.received) == 2)
    assert [incoming.retained for incoming in listener.received] == [True, False]


def test_subscriptions_are_renewed_after_a_reconnect(mosquitto: Mosquitto, wire: Wire) -> None:
    with listening(wire.port) as (connection, listener), sending(mosquitto.port) as send:
        subscribed(connection, mosquitto)
        wire.cut()
        processed_until(connection, lambda: not connection.connected)
        send(b"while away")
        wire.mend()
        subscribed(connection, mosquitto, times=2)
        send(b"back")
        processed_until(connection, lambda: listener.received)
    assert [incoming.payload for incoming in listener.received] == [b"back"]


def test_a_broker_does_not_deliver_a_message_that_is_too_large(mosquitto: Mosquitto) -> None:
    with listening(mosquitto.port) as (connection, listener), sending(mosquitto.port) as send:
        subscribed(connection, mosquitto)
        send(b"x" * LARGEST_INCOMING)
        send(b"small")
        processed_until(connection, lambda: listener.received)
        assert connection.connections == 1
    assert [incoming.payload for incoming in listener.received] == [b"small"]


class GrantingNothing:
    """Stands in for a client: mosquitto grants every subscription, and filters what it delivers."""

    def __init__(self) -> None:
        self.mid = 0

    def request(self, _: str, as_published: bool) -> int:
        assert as_published
        self.mid += 1
        return self.mid


def test_a_refused_subscription_is_logged_once_until_it_is_granted(caplog: pytest.LogCaptureFixture) -> None:
    subscriptions, client = Subscriptions([FILTER]), GrantingNothing()
    refusals = RefusedTopics("mqtt://broker")
    granted, denied = (ReasonCode(PacketTypes.SUBACK, identifier=code) for code in (0x01, 0x87))
    caplog.set_level("INFO")
    for reason in (granted, denied, denied, granted, granted, denied):
        subscriptions.request(client)  # type: ignore[arg-type]
        subscriptions.answered(client.mid, [reason], refusals)
    refused = f"broker mqtt://broker: subscription to {FILTER} refused: not authorised; requests are not received"
    assert logged(caplog) == [refused, refused]
    assert logged(caplog, "INFO") == [f"broker mqtt://broker: subscription to {FILTER} granted"]


def test_a_flood_is_dropped_before_it_fills_the_memory(mosquitto: Mosquitto) -> None:
    with listening(mosquitto.port) as (connection, listener), sending(mosquitto.port) as send:
        subscribed(connection, mosquitto)
        for number in range(2 * MOST_EVENTS):  # nothing is processed meanwhile
            send(b"%d" % number)
        processed_until(connection, lambda: listener.received)
        assert len(listener.received) <= MOST_EVENTS
        assert connection.connected
