"""The daemon's connection to the broker.

paho's callbacks, in its thread, only record what happened; `process_events` acts on it, in the thread that calls it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Protocol

from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edged.core.payloads import encode
from edged.core.specs import BrokerSpec
from edged.mqtt.acknowledgements import Outcome
from edged.mqtt.back_off import SHORT_LIMIT, STEADY_S, retry_pause_s
from edged.mqtt.broker_limits import BrokerLimits
from edged.mqtt.client import (
    V5,
    V311,
    ClientEvent,
    Connack,
    ConnectFailed,
    ConnectSent,
    ConnectStarted,
    Disconnected,
    Incoming,
    PahoClient,
    Puback,
    Suback,
    ThreadDied,
)
from edged.mqtt.clients import Clients
from edged.mqtt.failure import (
    CREDENTIALS,
    LOST,
    Failure,
    FailureKind,
    connack_failure,
    connect_failure,
    without_connack,
)
from edged.mqtt.known_broker import KnownBroker
from edged.mqtt.properties import publish_properties
from edged.mqtt.subscriptions import Subscriptions
from edged.mqtt.topics import Message, Topics, bridge_payload

log = logging.getLogger(__name__)

CONNACK_S = 10.0  # how long a broker may take to answer CONNECT
PUBACK_S = 20.0  # how long it may take to acknowledge a message, before the connection is ended and all is sent again
DISCONNECT_S = 0.5  # how long `close` waits for paho's thread after the last message
READ_AGAIN_S = 1.0  # how often the files are read again while the broker refuses the login or a certificate is refused
UNSUPPORTED_VERSION = 0x84  # reason code of MQTT 5
MOST_EVENTS = 200  # in the queue; incoming messages beyond are dropped, so that a flood does not fill the memory


class ConnectionListener(Protocol):
    """Callbacks for connection events, called in the thread that calls `process_events`."""

    def on_connected(self) -> None:
        """CONNACK received; nothing published yet."""

    def on_lost(self) -> None:
        """The connection is lost; unacknowledged messages will not be acknowledged."""

    def on_acknowledged(self, mid: int, outcome: Outcome) -> None:
        """`refused`: sending the message again would not help. `not_now`: it has to be sent again."""

    def on_message(self, incoming: Incoming) -> None:
        """A message of one of the subscriptions."""

    def on_rivals_gone(self) -> None:
        """Others that published on the topics of this edged have stopped; what they left there is retained."""


class Connection:
    """One broker, retried without end, with MQTT 5 first and MQTT 3.1.1 where MQTT 5 is not supported.

    `start`, `subscribe`, `process_events`, `publish` and `close` are for one thread; `wake` is for any.
    `subscriptions` are topic filters, whose messages are marked retained as they were published, with MQTT 5. Nothing
    is received for a time without a connection.
    """

    def __init__(
        self,
        spec: BrokerSpec,
        node: str,
        listener: ConnectionListener,
        client_type: type[PahoClient] = PahoClient,
        subscriptions: Sequence[str] = (),
        instance: str = "",
    ) -> None:
        self._spec = spec
        self._node = node
        self._instance = instance
        self._known = KnownBroker(spec, node, instance)
        self._offline = Message(Topics(spec.prefix, node).state, encode(bridge_payload(False)), retain=True)
        self._listener = listener
        self._health = Topics(spec.prefix, node).health
        self._events: SimpleQueue[tuple[int, ClientEvent] | None] = SimpleQueue()  # None is a wake
        self._woken = threading.Event()  # a wake is in the queue, and one is enough
        self._clients = Clients(spec, self._known.client_id, self._offline, self._record, client_type)
        self._protocol = V5
        self._begin_at: float | None = None
        self._connack_due: float | None = None
        self._connack_received = False  # in this try
        self._connected_at = 0.0
        self._lost_to_rival = False
        self._failure_kind: FailureKind = "other"  # of the last try
        self._read_again_at = 0.0
        self._tries = 0  # since the outage, or this connection, began
        self._subscriptions = Subscriptions(subscriptions, [self._health])
        self._offline_mid: int | None = None
        self._offline_acknowledged = False
        self._closed = False
        self.connected = False
        self.connections = 0
        self.tried = spec.problem is not None  # the first attempt to connect has ended, or none is made

    def prepare(self) -> None:
        """Read the files of the certificates. Raises FileUnusable. Later calls do nothing."""
        self._clients.prepare()

    def start(self) -> None:
        """Begin to connect; returns at once. Raises FileUnusable. With a `problem` in the spec it does not connect."""
        self.prepare()
        self._outage_begins()
        if self._spec.problem is None:
            self._begin(V5)
        else:
            failure = Failure("other", f"not connected: {self._spec.problem}")
            self._known.log.failed(failure, "after correcting it, run `edged reload`")

    def release(self) -> KnownBroker:
        """Call after `close`. What was learned about the broker, for `adopt` of the connection that follows."""
        known, self._known = self._known, KnownBroker(self._spec, self._node, self._instance)
        known.acknowledgements.connection_closed()
        return known

    def adopt(self, known: KnownBroker) -> None:
        """Call before `start`. Ignored if it is about another broker."""
        if known.follow(self._spec, self._node):
            self._known = known

    @property
    def limits(self) -> BrokerLimits:
        return self._known.limits

    def subscribe(self, topic_filter: str) -> None:
        """Receive messages of this filter too, from now on and in each later connection."""
        self._subscriptions.add(topic_filter, self._clients.current if self.connected else None)

    def wake(self) -> None:
        """End a waiting `process_events`."""
        if not self._woken.is_set():
            self._woken.set()
            self._events.put(None)

    def process_events(self, timeout_s: float) -> None:
        """Wait at most `timeout_s` for connection events or a `wake`, and act on all that have come."""
        with suppress(Empty):
            self._act_on(self._events.get(timeout=max(0.0, timeout_s)))
            while True:
                self._act_on(self._events.get_nowait())
        self._woken.clear()
        now = time.monotonic()
        if self._connack_due is not None and now >= self._connack_due:
            self._connack_due = None
            self._no_connack(Failure("unreachable", f"no CONNACK within {CONNACK_S:.0f} s"))
        if self.connected:
            self._check_connection(now)
        elif not self._closed:
            self._check_try(now)

    def _check_connection(self, now: float) -> None:
        if self._known.short.steady(now):
            self._known.log.connected(self._protocol)
        if self._known.rivals.gone(self._connected_at, now):
            self._listener.on_rivals_gone()
        if now >= self._known.acknowledgements.oldest + PUBACK_S:
            self._connection_lost(Failure("unreachable", f"a message was not acknowledged within {PUBACK_S:.0f} s"))
            self._begin_later(V5, retry_pause_s(1))

    def _check_try(self, now: float) -> None:
        if self._begin_at is not None and now >= self._begin_at:
            self._begin(self._protocol)
        if self._failure_kind in CREDENTIALS and now >= self._read_again_at:
            self._read_again_at = now + READ_AGAIN_S
            if self._clients.read_again():
                self._begin(V5)

    @property
    def pause_s(self) -> float:
        """So long nothing should be published, because the broker has refused messages for now; 0 otherwise."""
        return self._known.acknowledgements.pause_s

    def publish(self, message: Message) -> int | None:
        """Send with QoS 1. The message id of its acknowledgement; None if there is no connection, and nothing sent."""
        client = self._clients.current
        if client is None or not self.connected or not client.is_connected():
            return None
        properties = publish_properties(message) if self._protocol == V5 else None
        sent = client.publish(message.topic, message.payload, 1, message.retain, properties)
        if sent.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            return None
        self._known.acknowledgements.expect(sent.mid, message)
        return sent.mid

    def close(self, deadline: float) -> bool:
        """Publish `offline`, wait for its acknowledgement until `deadline` (monotonic), disconnect.

        True if it was acknowledged. Returns False at once without a connection. A second call does nothing.
        """
        if self._closed:
            return self._offline_acknowledged
        self._closed = True
        if self.connected:
            self._publish_offline(deadline)
        self._begin_at = None
        was_connected, self.connected = self.connected, False
        self._clients.leave(wait_s=DISCONNECT_S if was_connected else 0.0)
        return self._offline_acknowledged

    def _publish_offline(self, deadline: float) -> None:
        self._offline_mid = self.publish(self._offline)
        while self.connected and self._offline_mid is not None and time.monotonic() < deadline:
            self.process_events(min(1.0, deadline - time.monotonic()))
        if not self._offline_acknowledged:
            text = '"offline" was not acknowledged; subscribers may not have received it'
            log.warning("broker %s: %s", self._spec.shown, text)

    # Clients

    def _begin(self, protocol: MQTTProtocolVersion) -> None:
        self._protocol, self._begin_at, self._connack_due = protocol, None, None
        try:
            self._clients.begin(protocol)
        except (OSError, RuntimeError) as error:  # no descriptors left for a client, or no thread
            self._attempt()
            self._not_connected(connect_failure(error, tls=False))
            self._begin_later(V5, retry_pause_s(self._tries))

    def _begin_later(self, protocol: MQTTProtocolVersion, pause_s: float) -> None:
        self._clients.abandon()
        self._protocol, self._begin_at, self._connack_due = protocol, time.monotonic() + pause_s, None

    def _record(self, client_number: int, event: ClientEvent) -> None:
        """Called by paho's thread."""
        if isinstance(event, Incoming) and self._events.qsize() >= MOST_EVENTS:
            return
        self._events.put((client_number, event))

    # Events, in the thread that calls `process_events`

    def _act_on(self, record: tuple[int, ClientEvent] | None) -> None:
        if record is None or not self._clients.is_current(record[0]):
            return
        match record[1]:
            case ConnectStarted():
                self._attempt()
            case ConnectSent():
                self._connack_due = time.monotonic() + CONNACK_S
            case ConnectFailed(failure):
                self._not_connected(failure)
            case Connack(reason, properties):
                self._connack_due = None
                self._connack_received = True
                self._answered(reason, properties)
            case Disconnected(failure):
                self._connack_due = None
                self._disconnected(failure)
            case ThreadDied():
                self._thread_died()
            case Puback() | Suback() | Incoming() as packet:
                self._packet(packet)

    def _packet(self, packet: Puback | Suback | Incoming) -> None:
        match packet:
            case Puback(mid, reason):
                self._acknowledged(mid, reason)
            case Suback(mid, reasons):
                self._subscriptions.answered(mid, reasons, self._known.refused)
            case Incoming(topic, payload, retained, received_at) if topic == self._health:
                self._known.rivals.heard(payload, retained, received_at)
            case Incoming():
                self._listener.on_message(packet)

    def _attempt(self) -> None:
        self._connack_received = False
        if self._protocol == V5:  # an attempt with MQTT 3.1.1 belongs to the one before it
            self._tries += 1
            self._known.log.attempt()

    def _thread_died(self) -> None:
        if self.connected:
            self._connection_lost(LOST)
        self._begin_later(V5, retry_pause_s(self._tries))

    def _answered(self, reason: ReasonCode, properties: Properties | None) -> None:
        if not reason.is_failure:
            self._accepted(properties)
        elif self._protocol == V5 and reason.value == UNSUPPORTED_VERSION:
            self._begin(V311)
        else:
            self._not_connected(connack_failure(reason, self._known.client_id, properties, self._spec.anonymous))

    def _accepted(self, properties: Properties | None) -> None:
        if self.connected:  # paho has ways to lose a connection without a callback
            self._connection_lost(LOST)
        client = self._clients.current
        if client is None:
            return
        known = self._known
        known.speaks_v5 = known.speaks_v5 or self._protocol == V5
        known.limits.connected(properties)
        known.suspects.connected()
        if not (known.short.too_many or self._lost_to_rival):
            known.log.connected(self._protocol)
        self._lost_to_rival = False
        self._connected_at = time.monotonic()
        known.short.connected(self._connected_at)
        self._failure_kind = "other"
        self.connections += 1
        self.connected = True
        self._subscriptions.request(client)
        self._listener.on_connected()
        self.tried = True

    def _disconnected(self, failure: Failure) -> None:
        if self.connected:
            self._connection_lost(failure)
        elif not self._connack_received:
            self._no_connack(without_connack(failure))

    def _connection_lost(self, failure: Failure) -> None:
        self.connected = False
        known, now = self._known, time.monotonic()
        if failure.kind == "taken_over":
            known.rivals.taken_over(now)
        self._lost_to_rival = known.rivals.present and (failure.kind == "taken_over" or failure == LOST)
        if not self._lost_to_rival and known.short.lost(now):
            self._outage_begins()
        known.acknowledgements.connection_lost(failure)
        self._listener.on_lost()
        if self._lost_to_rival:
            self._begin_later(V5, known.rivals.pause_s())
            return
        if not known.short.too_many:
            self._not_connected(failure)
            return
        self._not_connected(self._cause_of_short_connections() if failure == LOST else failure)
        self._begin_later(V5, known.short.pause_s)

    def _outage_begins(self) -> None:
        self._tries = 0
        self._known.log.outage_begins()

    def _cause_of_short_connections(self) -> Failure:
        # Two clients with one id disconnect each other without end, and not every broker gives the reason.
        guess = f'another client with the client id "{self._known.client_id}"?'
        return Failure("lost", f"connection lost within {STEADY_S:.0f} s, {SHORT_LIMIT} times in a row ({guess})")

    def _no_connack(self, failure: Failure) -> None:
        # Brokers that know only MQTT 3.1.1 should reject MQTT 5 by a reason code; some just close, or wait for more.
        # One that has spoken MQTT 5 is only slow: with 3.1.1 its retained answers would not expire.
        if self._protocol == V5 and not self._known.speaks_v5 and failure.kind != "client_certificate":
            self._begin(V311)
            return
        self._not_connected(failure)
        self._begin_later(V5, retry_pause_s(self._tries))

    def _not_connected(self, failure: Failure) -> None:
        self._failure_kind = failure.kind
        if self._lost_to_rival:  # and now there is another reason
            self._lost_to_rival = False
            self._outage_begins()
        if not self._closed:
            self._known.log.failed(failure)
        self.tried = True
        if self._protocol == V311:  # the broker may be another one when it is back
            self._begin_later(V5, retry_pause_s(self._tries))

    def _acknowledged(self, mid: int, reason: ReasonCode) -> None:
        outcome = self._known.acknowledgements.received(mid, reason)
        if mid == self._offline_mid:
            self._offline_mid = None
            self._offline_acknowledged = outcome == "accepted"
        self._listener.on_acknowledged(mid, outcome)
