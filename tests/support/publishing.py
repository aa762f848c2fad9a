"""A publisher of the node `box` for tests, and what it published, counted and logged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edged.core.answer_types import Number
from edged.core.interfaces import Store
from edged.core.memory_store import MemoryStore
from edged.core.secret import Secret
from edged.core.specs import BrokerSpec, CameraSpec, Config, ModelSpec, SourceSpec
from edged.core.types import Event
from edged.mqtt.publisher import MqttPublisher
from support.broker import HOST, Received, Subscriber, Wire, until
from support.making import question

SINCE = datetime(2026, 7, 1, 12, tzinfo=UTC)
PEOPLE = "edged/box/dock/people"
GATE = "edged/box/dock/gate_open"
EVENT = "edged/box/dock/event"
STATE = "edged/box/bridge/state"
ONLINE = {"state": "online"}
OFFLINE = {"state": "offline"}


def asking(node: str = "box", image: bool = True, **cameras: list[str]) -> Config:
    """A config with these questions at these cameras."""
    specs = [
        CameraSpec(
            name,
            SourceSpec("usb", Secret("0"), "usb:0"),
            image="each" if image else None,
            questions=tuple(question("How many?", Number(True), asked) for asked in names),
        )
        for name, names in cameras.items()
    ]
    return Config(
        node, ModelSpec(Path("m")), BrokerSpec(), tuple(specs), None, "r1", Path("edged.yaml"), homeassistant=None
    )


ALL = ["people", "gate_open", "weather"]
WHOLE = asking(dock=ALL, back=ALL, yard=ALL)


@contextmanager
def publishing(
    port: int, host: str = HOST, store: Store | None = None, config: Config | None = None, **more: Any
) -> Iterator[MqttPublisher]:
    own = {name: more.pop(name) for name in ("scale_down", "instance") if name in more}
    running = MqttPublisher(BrokerSpec(host=host, port=port, **more), "box", store, **own)
    if config:
        running.follow(config)
    running.start()
    running.online()
    try:
        yield running
    finally:
        running.close()


@pytest.fixture
def store() -> MemoryStore:
    """The store of `publisher`, for its successors."""
    return MemoryStore()


@pytest.fixture
def publisher(wire: Wire, store: MemoryStore) -> Iterator[MqttPublisher]:
    """Connected to mosquitto through the wire; `online` is published."""
    with publishing(wire.port, store=store) as running:
        until(lambda: running.figures().published >= 1)
        yield running


def an_event(name: str) -> Event:
    """The value of `people` changed from 2 to 3."""
    return Event(name, "dock", "people", "changed", 2, 3, SINCE, SINCE)


def ids(messages: list[Received]) -> list[str]:
    return [message.json["id"] for message in messages]


def online_again(messages: list[Received]) -> bool:
    return any(message.topic == STATE and message.json == ONLINE for message in messages)


def retained(port: int) -> set[str]:
    """The topics with a retained message, also if one is cleared while this looks."""
    fresh = Subscriber(port)
    fresh.close()
    newest = {message.topic: message.payload for message in fresh.messages if message.retain}
    return {topic for topic, payload in newest.items() if payload}


def logged(caplog: pytest.LogCaptureFixture, level: str = "WARNING") -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == level]


def settled(publisher: MqttPublisher) -> None:
    """Wait until every answer and event is acknowledged."""
    until(lambda: publisher.figures().connected and publisher.figures().waiting == 0, 40.0)


def disconnected(publisher: MqttPublisher) -> None:
    """Wait until the publisher has noticed the lost connection."""
    until(lambda: not publisher.figures().connected)
