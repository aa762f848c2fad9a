"""Tells Home Assistant of the box and its cameras, again when it has started, and takes back what left the config."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from edged.core.interfaces import Store
from edged.core.payloads import encode
from edged.core.specs import Config, revision
from edged.core.types import Fact
from edged.mqtt.client import Incoming
from edged.mqtt.discovery import birth_topics, discovery
from edged.mqtt.retained import RetainedMessage
from edged.mqtt.send_queue import SendQueue
from edged.mqtt.topics import Message, Topics

log = logging.getLogger(__name__)

AFTER_CHANGE_S = 2.0  # in which Home Assistant changes its entities; the answers that came before are lost to it
AFTER_BIRTH_S = (0.5, 2.5)  # at random, because all boxes hear of it at once


class Announcer:
    """For any thread. Each topic has a fact: the components that were sent, and a digest of the message.

    A component that is left out of a message stays in Home Assistant. So it is first sent with nothing but its
    platform, and left out after that. The topic of a device that is gone is for the publisher to clear.
    """

    def __init__(self, store: Store, queue: SendQueue, kind: str, topics: Topics, version: str) -> None:
        self._store = store
        self._queue = queue
        self._kind = kind
        self._topics = topics
        self._version = version
        self._lock = threading.Lock()  # over all that follows
        self._wanted: dict[str, dict[str, Any]] = {}  # messages by topic
        self._births: Sequence[str] = ()  # topics
        self._changed: set[str] = set()  # topics whose message was another one before
        self._again_at = math.inf

    @property
    def filters(self) -> Sequence[str]:
        """What to subscribe to."""
        with self._lock:
            return self._births

    def messages(self, config: Config) -> dict[str, dict[str, Any]]:
        """What this config announces, by topic."""
        return discovery(config, self._topics, self._version)

    def follow(self, config: Config, messages: dict[str, dict[str, Any]]) -> None:
        """Send those of these `messages` that were not sent yet."""
        with self._lock:
            before, self._wanted = self._wanted, messages
            self._births = birth_topics(config.homeassistant.prefix) if config.homeassistant else ()
            told = self._store.facts(self._kind)
            for topic, message in messages.items():
                if before.get(topic) != message:
                    self._send(topic, message, told.get(topic))

    def withdraw(self) -> None:
        """Send nothing more. The publisher clears the topics."""
        with self._lock:
            self._wanted, self._births, self._again_at = {}, (), math.inf

    def confirm(self, facts: Sequence[Fact]) -> None:
        """Remember that the broker has the messages of these facts, unless others follow."""
        with self._lock:
            current = [fact for fact in facts if fact.name in self._wanted]
            current = [fact for fact in current if fact.value == _fact_value(self._wanted[fact.name])]
            if current:
                self._store.remember(current)
            if changed := self._changed & {fact.name for fact in current}:
                self._changed -= changed
                self._again_at = time.monotonic() + AFTER_CHANGE_S

    def forget(self, topics: Sequence[str]) -> None:
        """The broker has cleared these topics."""
        with self._lock:
            told = self._store.facts(self._kind)
            gone = [Fact(self._kind, topic, None) for topic in topics if topic in told and topic not in self._wanted]
            if gone:
                self._store.remember(gone)

    def on_message(self, incoming: Incoming) -> None:
        """A retained `online` is old, and HA is told at each connect anyway."""
        with self._lock:
            if incoming.topic in self._births and incoming.payload == b"online" and not incoming.retained:
                log.debug("Home Assistant has started")
                self._again_at = time.monotonic() + random.uniform(*AFTER_BIRTH_S)

    def tick(self) -> None:
        """Call at least once a second."""
        with self._lock:
            if time.monotonic() < self._again_at:
                return
            self._again_at = math.inf
            first = list(self._wanted)
        self._queue.send_again(first)

    def _send(self, topic: str, message: dict[str, Any], told: Any) -> None:
        value = _fact_value(message)
        before = _components(told)
        gone = {key: platform for key, platform in before.items() if value["components"].get(key) != platform}
        sent = RetainedMessage(_retained(topic, message), fact=Fact(self._kind, topic, value))
        if gone:
            reduced = {key: {"platform": platform} for key, platform in gone.items()}
            with_reduced = {**message, "components": {**message["components"], **reduced}}
            sent = RetainedMessage(_retained(topic, with_reduced), then=sent)
        if told is None or before != value["components"]:
            # Before they are sent: after a crash it is not known which of them Home Assistant has.
            both = {**value["components"], **before}
            self._store.remember([Fact(self._kind, topic, {"components": both, "rev": None})])
        self._queue.keep(sent)
        if told is not None and value != told:
            self._changed.add(topic)


def _retained(topic: str, message: Mapping[str, Any]) -> Message:
    return Message(topic, encode(dict(message)), retain=True)


def _fact_value(message: Mapping[str, Any]) -> dict[str, Any]:
    platforms = {key: component["platform"] for key, component in message["components"].items()}
    return {"components": platforms, "rev": revision(message)}


def _components(told: Any) -> dict[str, str]:
    """Of a fact, which may be damaged."""
    components = told.get("components") if isinstance(told, dict) else None
    if not isinstance(components, dict):
        return {}
    return {key: platform for key, platform in components.items() if isinstance(platform, str)}
