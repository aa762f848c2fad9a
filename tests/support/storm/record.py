"""What a subscriber received during a storm, with the times of arrival, over restarts of the broker."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.subscribeoptions import SubscribeOptions

from support.broker import HOST

CONNECTED_S = 60.0
KEEPALIVE_S = 900  # a broker that is stopped for 90 s must not lose its subscriber
MARKER = "marker"
REQUESTS = "/bridge/request/"  # not from edged


@dataclass(frozen=True, slots=True)
class Message:
    """`at` is monotonic; `look` is shared by the messages of one look."""

    at: float
    topic: str
    payload: bytes
    retain: bool
    look: str | None

    @property
    def json(self) -> Any:
        return json.loads(self.payload)


class Record:
    """Connects to the broker's own port, not through the proxy. Retained messages of the past are not received."""

    def __init__(self, port: int, user: str, password: str) -> None:
        self.messages: list[Message] = []
        self._port, self._login = port, (user, password)
        self._changed = threading.Condition()
        self._markers = 0
        self._client: mqtt.Client | None = None
        self.connect()

    def connect(self) -> None:
        """Connect to a broker that was started. Returns once everything that is published now will be received."""
        self.close()
        client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        client.username_pw_set(*self._login)
        client.on_message = self._on_message
        subscribed = threading.Event()
        client.on_subscribe = lambda *_: subscribed.set()
        options = SubscribeOptions(qos=1, retainAsPublished=True, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
        client.on_connect = lambda connected, *_: connected.subscribe("#", options=options)
        client.connect(HOST, self._port, KEEPALIVE_S)
        client.loop_start()
        self._client = client
        assert subscribed.wait(CONNECTED_S), "the storm's subscriber was not connected"

    def catch_up(self) -> None:
        """Wait until everything has been received that the broker had when this was called."""
        assert self._client
        with self._changed:
            wanted = self._markers + 1
        self._client.publish(MARKER, b"", 1)
        with self._changed:
            assert self._changed.wait_for(lambda: self._markers >= wanted, CONNECTED_S), "the broker is silent"

    def wait_for(self, holds: Callable[[Sequence[Message]], Any], timeout_s: float) -> bool:
        """False if it does not hold in time. `holds` is called with all messages so far."""
        with self._changed:
            return bool(self._changed.wait_for(lambda: holds(self.messages), timeout_s))

    def publish(self, topic: str, payload: bytes) -> None:
        """Once, and not at all if the broker is away."""
        client = self._client
        if client and client.is_connected():
            client.publish(topic, payload, 0)

    def close(self) -> None:
        if self._client:
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None

    def _on_message(self, _client: Any, _: Any, message: mqtt.MQTTMessage) -> None:
        look = dict(getattr(message.properties, "UserProperty", ())).get("look")
        with self._changed:
            if message.topic == MARKER:
                self._markers += 1
            elif REQUESTS not in message.topic:
                arrived = Message(time.monotonic(), message.topic, bytes(message.payload), message.retain, look)
                self.messages.append(arrived)
            self._changed.notify_all()
