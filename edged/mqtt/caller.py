"""Sends one request to a running edged, through its broker, and waits for the response."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event as StopSignal
from typing import Any

from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from edged.core.errors import EdgedError, Stopped
from edged.core.json_object import json_object
from edged.core.payloads import encode
from edged.core.specs import BrokerSpec
from edged.core.text import printable, spoken
from edged.mqtt.client import (
    V5,
    V311,
    ClientEvent,
    Connack,
    ConnectFailed,
    Disconnected,
    Incoming,
    PahoClient,
    Puback,
    Suback,
    ThreadDied,
)
from edged.mqtt.connection import CONNACK_S, UNSUPPORTED_VERSION
from edged.mqtt.failure import Failure, connack_failure, in_words, without_connack
from edged.mqtt.properties import request_properties
from edged.mqtt.tls import tls_context
from edged.mqtt.topics import Topics

NO_SUBSCRIBERS = 0x10  # reason code of MQTT 5
POLL_S = 0.25  # how soon a stop signal is noticed
CLOSE_S = 2.0
OFFLINE_S = 5.0  # for an edged that went offline, which it does briefly when `mqtt:` was changed, to come back
RETRY_S = 60  # paho's; the first failure ends the call


class Caller:
    """One request `what` with these keys. MQTT 5 first, and MQTT 3.1.1 where that is not supported.

    After `limit_s` seconds there is no response; a broker that speaks MQTT 5 does not deliver the request after that.
    """

    def __init__(self, spec: BrokerSpec, node: str, what: str, keys: Mapping[str, Any], limit_s: float) -> None:
        self._spec = spec
        self._node = node
        self._topics = Topics(spec.prefix, node)
        self._what = what
        self._keys = keys
        self._limit_s = limit_s
        self._deadline = 0.0
        self._transaction = uuid.uuid4().hex
        self._client_id = f"edged-{what}-{self._transaction[:8]}"
        self._events: SimpleQueue[tuple[MQTTProtocolVersion, ClientEvent]] = SimpleQueue()
        self._client: PahoClient | None = None
        self._protocol = V5
        self._connack_due = 0.0
        self._connected = False
        self._online_seen = False
        self._offline_due = math.inf

    def call(self, stop: StopSignal) -> Any:
        """Send the request; the `data` of its response. Raises EdgedError if there is none, or an error; Stopped."""
        if self._spec.problem is not None:
            raise EdgedError(self._spec.problem)
        self._deadline = time.monotonic() + self._limit_s
        try:
            self._begin(V5)
            while (response := self._next_response()) is None:
                if stop.is_set():
                    raise Stopped
            return _data(response)
        finally:
            self._abandon()

    def _next_response(self) -> dict[str, Any] | None:
        """Act on the next event, if one comes within POLL_S."""
        now = time.monotonic()
        if now >= self._deadline:
            raise self._failed(Failure("other", self._no_response()))
        if now >= self._offline_due:
            raise self._failed(Failure("lost", f'edged on node "{self._node}" went offline before it responded'))
        if not self._connected and now >= self._connack_due:
            self._no_connack(Failure("unreachable", f"no CONNACK within {CONNACK_S:.0f} s"))
        with suppress(Empty):
            protocol, event = self._events.get(timeout=min(POLL_S, self._deadline - now))
            if protocol == self._protocol:  # not of the client before the fallback to MQTT 3.1.1
                return self._act_on(event)
        return None

    # Clients

    def _begin(self, protocol: MQTTProtocolVersion) -> None:
        self._abandon()
        self._protocol, self._connack_due = protocol, time.monotonic() + CONNACK_S
        record = partial(self._record, protocol)
        self._client = PahoClient(self._spec, self._client_id, protocol, tls_context(self._spec), record)
        self._client.begin(RETRY_S)

    def _abandon(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.abandon(CLOSE_S)

    def _record(self, protocol: MQTTProtocolVersion, event: ClientEvent) -> None:
        """Called by paho's thread."""
        self._events.put((protocol, event))

    # Events

    def _act_on(self, event: ClientEvent) -> dict[str, Any] | None:
        match event:
            case ConnectFailed(failure):
                raise self._failed(failure)
            case Connack(reason, _):
                self._answered(reason)
            case Suback(_, reasons):
                self._subscribed(reasons)
                self._send()
            case Puback(_, reason):
                self._accepted(reason)
            case Incoming() as incoming:
                return self._received(incoming)
            case Disconnected(failure) if self._connected:
                raise self._failed(failure)
            case Disconnected(failure):
                self._no_connack(without_connack(failure))
            case ThreadDied():
                raise self._failed(Failure("other", "unexpected error"))
        return None

    def _answered(self, reason: ReasonCode) -> None:
        if reason.is_failure and self._protocol == V5 and reason.value == UNSUPPORTED_VERSION:
            self._begin(V311)
        elif reason.is_failure:
            raise self._failed(connack_failure(reason, self._client_id, anonymous=self._spec.anonymous))
        else:
            assert self._client
            self._connected = True
            self._client.subscribe([(self._topics.response(self._what), 1), (self._topics.state, 1)])

    def _no_connack(self, failure: Failure) -> None:
        """Brokers that know only MQTT 3.1.1 should reject MQTT 5 by a reason code; some just close, or wait."""
        if self._protocol != V5:
            raise self._failed(failure)
        self._begin(V311)

    def _subscribed(self, reasons: tuple[ReasonCode, ...]) -> None:
        if reasons and reasons[0].is_failure:
            topic = self._topics.response(self._what)
            raise self._failed(Failure("other", f"subscription to {topic} refused: {in_words(reasons[0])}"))

    def _send(self) -> None:
        properties = None
        if self._protocol == V5:
            expires_s = max(1, round(self._deadline - time.monotonic()))
            correlation = self._transaction.encode()
            properties = request_properties(self._topics.response(self._what), correlation, expires_s)
        payload = encode({**self._keys, "transaction": self._transaction})
        assert self._client
        self._client.publish(self._topics.request(self._what), payload, 1, False, properties)

    def _accepted(self, reason: ReasonCode) -> None:
        if reason.is_failure:
            topic = self._topics.request(self._what)
            raise self._failed(Failure("other", f"topic {topic} refused: {in_words(reason)}"))
        if reason.value == NO_SUBSCRIBERS and self._protocol == V5:
            raise self._failed(Failure("other", f'no edged with the node "{self._node}" is connected'))

    def _received(self, incoming: Incoming) -> dict[str, Any] | None:
        payload = json_object(incoming.payload) or {}
        if incoming.topic == self._topics.state:
            self._state_changed(payload.get("state"))
            return None
        return payload if payload.get("transaction") == self._transaction else None

    def _state_changed(self, state: object) -> None:
        if state == "offline" and not self._online_seen:
            raise self._failed(Failure("other", f'edged on node "{self._node}" is offline, or still starting'))
        self._offline_due = time.monotonic() + OFFLINE_S if state == "offline" else math.inf
        self._online_seen = True

    # Errors

    def _failed(self, failure: Failure) -> EdgedError:
        return EdgedError(f"broker {self._spec.shown}: {failure.text}")

    def _no_response(self) -> str:
        if not self._online_seen:
            return f'no response within {spoken(self._limit_s)}; no edged with the node "{self._node}" is online there'
        return f"no response from edged within {spoken(self._limit_s)}"


def _data(response: Mapping[str, Any]) -> Any:
    """Raises EdgedError with the response's error, without characters that a terminal could take for a command."""
    if response.get("status") != "ok":
        error = str(response.get("error"))
        raise EdgedError("\n".join(printable(line) for line in error.split("\n")))
    return response.get("data")
