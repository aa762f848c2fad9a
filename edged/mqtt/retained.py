"""Retained messages: the newest of each topic, kept so that it can be sent again after a reconnect. Not thread-safe."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from edged.core.types import Fact
from edged.mqtt.expiry import seconds_until
from edged.mqtt.topics import JSON_TYPE, Message

CLEARED_S = 3600.0  # mosquitto writes its retained messages to disk every 30 minutes, unless it is told otherwise


@dataclass(frozen=True, slots=True, eq=False)
class RetainedMessage:
    """A message and when it expires. An empty payload clears the topic.

    `fact` is to be remembered once the broker has accepted it; `then` is sent after that, in place of it. A picture was
    taken with `settings`.
    """

    content: Message
    until: float = math.inf  # monotonic
    fact: Fact | None = None
    then: RetainedMessage | None = None
    settings: str | None = None

    @property
    def topic(self) -> str:
        return self.content.topic

    @property
    def clears(self) -> bool:
        return not self.content.payload

    @property
    def expired(self) -> bool:
        return self.until <= time.monotonic()

    def message(self) -> Message:
        """The content, with the time that remains to it."""
        return replace(self.content, expires_s=seconds_until(self.until))


def clearing(topic: str, content_type: str = JSON_TYPE) -> RetainedMessage:
    return RetainedMessage(Message(topic, b"", retain=True, content_type=content_type))


class RetainedTopics:
    """The newest message of each topic, and which of them have yet to be sent.

    A topic whose message has expired is cleared: not every broker does that by itself, and none tells its subscribers.
    A cleared topic is dropped once the broker has acknowledged the clearing. A broker that is killed may forget it: the
    topic is cleared again at each connect, for `cleared_s` or until it is used.
    """

    def __init__(self, cleared_s: float = CLEARED_S) -> None:
        self._cleared_s = cleared_s
        self._newest: dict[str, RetainedMessage] = {}
        self._cleared: dict[str, RetainedMessage] = {}  # clearings that the broker has answered; each expires
        self._unsent: dict[str, None] = {}  # topics, in order

    @property
    def unsent(self) -> int:
        return len(self._unsent)

    def __contains__(self, topic: str) -> bool:
        return topic in self._newest and topic not in self._cleared

    def newest(self, topics: Iterable[str]) -> list[RetainedMessage]:
        """The messages of these topics, clearings included."""
        return [self._newest[topic] for topic in topics if topic in self._newest]

    def send(self, message: RetainedMessage) -> None:
        """Send it next in turn, in place of an older one of its topic."""
        self._cleared.pop(message.topic, None)
        self._newest[message.topic] = message
        self._unsent[message.topic] = None

    def remember(self, message: RetainedMessage) -> None:
        """The broker has it; it is sent again after the next connect."""
        self._cleared.pop(message.topic, None)
        self._newest[message.topic] = message

    def drop(self, topic: str) -> None:
        for topics in (self._newest, self._unsent, self._cleared):
            topics.pop(topic, None)

    def send_all(self, first: Iterable[str] = ()) -> None:
        """Send everything again; the topics in `first` before the others."""
        self._cleared = {topic: message for topic, message in self._cleared.items() if not message.expired}
        for topic, message in self._cleared.items():
            self._newest.setdefault(topic, clearing(topic, message.content.content_type))
        self._unsent = dict.fromkeys([*(topic for topic in first if topic in self._newest), *self._newest])

    def expire(self) -> None:
        """Clear the topics whose message has expired."""
        for message in [message for message in self._newest.values() if message.expired]:
            self.send(clearing(message.topic, message.content.content_type))

    def take(self) -> RetainedMessage | None:
        """The next to send."""
        if not self._unsent:
            return None
        topic = next(iter(self._unsent))
        del self._unsent[topic]
        message = self._newest[topic]
        if message.expired:
            message = self._newest[topic] = clearing(topic, message.content.content_type)
        return message

    def put_back(self, message: RetainedMessage) -> None:
        """Put a message back that was taken and not sent."""
        if self._newest.get(message.topic) is message:
            self._unsent[message.topic] = None

    def settle(self, message: RetainedMessage) -> bool:
        """The broker has accepted or refused it. False if there is a newer one of its topic."""
        if self._newest.get(message.topic) is not message:
            return False
        if message.clears:
            until = time.monotonic() + self._cleared_s
            kept = self._cleared.get(message.topic, replace(message, until=until))
            self.drop(message.topic)
            self._cleared[message.topic] = kept
        if message.then is not None:
            self.send(message.then)
        return True
