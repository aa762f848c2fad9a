"""A client that sends requests and receives the responses, and a handler that records requests."""

from __future__ import annotations

import json
import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edged.core.requests import Received, Response
from edged.core.specs import BrokerSpec
from edged.mqtt.publisher import MqttPublisher
from support.broker import HOST, WITHIN_S, Mosquitto, until

BRIDGE = "edged/box/bridge"


@dataclass(frozen=True)
class Arrived:
    topic: str
    payload: bytes
    correlation: bytes | None
    content_type: str | None
    retain: bool
    qos: int

    @property
    def json(self) -> Any:
        return json.loads(self.payload)


class Caller:
    """Sends requests to the node `box`; what it subscribes to is in `arrived`."""

    def __init__(self, port: int, version: int = 5, topics: tuple[str, ...] = (f"{BRIDGE}/response/#",)) -> None:
        self.arrived: queue.Queue[Arrived] = queue.Queue()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5 if version == 5 else mqtt.MQTTv311)
        self._version = version
        granted: queue.Queue[None] = queue.Queue()
        self._client.on_subscribe = lambda *_: granted.put(None)
        self._client.on_message = self._on_message
        self._client.connect(HOST, port)
        self._client.loop_start()
        for topic in topics:
            self._client.subscribe(topic, qos=1)
            granted.get(timeout=10)

    def send(self, what: str, payload: object, retain: bool = False, **properties: Any) -> None:
        """`payload` as JSON, unless it is bytes. Returns when the broker has it. `properties` are of MQTT 5."""
        of = None
        if self._version == 5:
            of = Properties(PacketTypes.PUBLISH)
            for name, value in properties.items():
                setattr(of, name, value)
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self._client.publish(f"{BRIDGE}/request/{what}", data, 1, retain, of).wait_for_publish(10)

    def response(self, timeout_s: float = WITHIN_S) -> Arrived:
        return self.arrived.get(timeout=timeout_s)

    def call(self, what: str, payload: object, **properties: Any) -> Any:
        """The payload of the response."""
        self.send(what, payload, **properties)
        return self.response().json

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, _client: Any, _: Any, message: mqtt.MQTTMessage) -> None:
        properties = message.properties
        self.arrived.put(
            Arrived(
                message.topic,
                bytes(message.payload),
                getattr(properties, "CorrelationData", None),
                getattr(properties, "ContentType", None),
                message.retain,
                message.qos,
            )
        )


@contextmanager
def calling(port: int, **more: Any) -> Iterator[Caller]:
    caller = Caller(port, **more)
    try:
        yield caller
    finally:
        caller.close()


class Handler:
    """Responds to each request with `reply(request)`, at once; without `reply` it only records it."""

    def __init__(self, reply: Callable[[Any], Response] | None = None) -> None:
        self.received: list[Received] = []
        self._reply = reply

    def __call__(self, received: Received) -> None:
        self.received.append(received)
        if self._reply is not None:
            received.respond(self._reply(received.request))


@contextmanager
def serving_requests(
    broker: Mosquitto, handler: Callable[[Received], None], port: int | None = None, **more: Any
) -> Iterator[MqttPublisher]:
    """A publisher of the node `box` whose requests go to the handler. It is subscribed before this returns."""
    spec = BrokerSpec(host=HOST, port=port or broker.port, **more)
    publisher = MqttPublisher(spec, "box", requested=handler)
    client_id = spec.client_id or "edged-box"
    granted = broker.log().count(f"Sending SUBACK to {client_id}")
    publisher.start()
    publisher.online()
    try:
        until(lambda: broker.log().count(f"Sending SUBACK to {client_id}") > granted)
        yield publisher
    finally:
        publisher.close()
