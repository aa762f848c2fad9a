"""Subscribes to the messages of running edged daemons. Reconnects by itself and publishes nothing."""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from edged.core.errors import EdgedError
from edged.core.json_object import json_object
from edged.core.specs import BrokerSpec
from edged.mqtt.client import (
    V311,
    ClientEvent,
    Connack,
    ConnectFailed,
    Disconnected,
    Incoming,
    PahoClient,
    ThreadDied,
)
from edged.mqtt.failure import Failure, connack_failure, without_connack
from edged.mqtt.tls import tls_context
from edged.mqtt.topics import is_picture

SLOWEST_RETRY_S = 15
CLOSE_S = 2.0
CONNECTING = "connecting"


@dataclass(frozen=True, slots=True)
class FollowedMessage:
    """A JSON message: its node, the levels of its topic after that, its payload (None: cleared).

    `retained` is true if it was published before the subscription, and the broker kept it.
    """

    node: str
    topic: tuple[str, ...]
    payload: dict[str, Any] | None
    retained: bool


class Follower:
    """Follows one node, or all under the prefix. MQTT 3.1.1, which every broker speaks.

    `failure` is why it is not connected; None while connected, and before the first try has ended.
    """

    def __init__(self, spec: BrokerSpec, node: str | None) -> None:
        self._spec = spec
        self._depth = len(spec.prefix.split("/"))
        self._filter = f"{spec.prefix}/{node or '+'}/#"
        # With the daemon's own id, the broker would disconnect the daemon.
        self._client_id = f"edged-watch-{uuid.uuid4().hex[:8]}"
        self._messages: SimpleQueue[FollowedMessage] = SimpleQueue()
        self._client: PahoClient | None = None
        self.connected = False
        self.failure: Failure | None = None

    @property
    def reason(self) -> str:
        """Why it is not connected."""
        failure = self.failure
        return CONNECTING if failure is None else failure.text

    def start(self) -> None:
        """Begin to connect; returns at once. Raises FileUnusable, and EdgedError if the spec has a `problem`."""
        if self._spec.problem is not None:
            raise EdgedError(self._spec.problem)
        self._client = PahoClient(self._spec, self._client_id, V311, tls_context(self._spec), self._record)
        self._client.begin(SLOWEST_RETRY_S)

    def next(self, timeout_s: float) -> FollowedMessage | None:
        """The next message; None if there was none in time."""
        with suppress(Empty):
            return self._messages.get(timeout=timeout_s)
        return None

    def close(self) -> None:
        """Disconnect. Bounded; paho's thread may still be in a name look-up, and ends by itself."""
        if self._client is not None:
            self._client.abandon(CLOSE_S)

    # In paho's thread

    def _record(self, event: ClientEvent) -> None:
        match event:
            case ConnectFailed(failure):
                self.failure = failure
            case Connack(reason, _) if reason.is_failure:
                self.failure = connack_failure(reason, self._client_id, anonymous=self._spec.anonymous)
            case Connack():
                self.connected, self.failure = True, None
                if self._client is not None:
                    self._client.subscribe(self._filter, qos=1)
            case Disconnected(failure) if self.connected:
                self._lost(failure)
            case Disconnected(failure) if self.failure is None:
                self.failure = without_connack(failure)
            case Incoming(topic, payload, retained):
                self._received(topic, payload, retained)
            case ThreadDied():
                self._lost(Failure("other", "unexpected error"))

    def _lost(self, failure: Failure) -> None:
        self.failure = failure  # set first, so that the reason is readable once it is not connected
        self.connected = False

    def _received(self, topic: str, payload: bytes, retained: bool) -> None:
        node, *levels = topic.split("/")[self._depth :]
        if len(levels) < 2 or is_picture(levels):
            return
        content = json_object(payload) if payload else None
        if payload and content is None:  # not published by edged
            return
        self._messages.put(FollowedMessage(node, tuple(levels), content, retained))
