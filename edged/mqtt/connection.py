"""The daemon's connection to the broker.

Everything but paho's callbacks runs in the one thread that calls `attend`; a callback only records what happened, and
`attend` acts on it. So no lock of ours is ever held while paho holds one of its own.
"""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Protocol

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edged.core.outage import REASONS_LIMIT
from edged.core.specs import BrokerSpec
from edged.core.text import counted, spoken
from edged.mqtt.tls import tls_context
from edged.mqtt.topics import JSON_TYPE, Message, Topics, bridge_payload, encode

log = logging.getLogger(__name__)

KEEPALIVE_S = 30
SLOWEST_RETRY_S = 60
GREETING_S = 10.0  # how long a broker may take to answer CONNECT
LET_GO_S = 0.5
STEADY_S = 5.0
SHORT_LIMIT = 3  # so many connections in a row that ended within STEADY_S are an outage of their own
WINDOW = 20  # messages that may be without acknowledgement at a time
REFUSED_TOPICS = 100  # refused topics that are logged by name

V5 = MQTTProtocolVersion.MQTTv5
V311 = MQTTProtocolVersion.MQTTv311
NO_SUCH_VERSION = 0x84  # reason codes of MQTT 5; paho says those of 3.1.1 in the same numbers
WRONG_CLIENT_ID = 0x85
WRONG_LOGIN = (0x86, 0x87)
NOT_AUTHORISED = 0x87
TAKEN_OVER = 0x8E
LOST = "connection lost"


class Listener(Protocol):
    """Callbacks for connection events, made in the thread that calls `attend`."""

    def on_connected(self) -> None:
        """CONNACK received; nothing published yet."""

    def on_lost(self) -> None:
        """The connection is lost; what is still unacknowledged stays so."""

    def on_acknowledged(self, mid: int, taken: bool) -> None:
        """`taken` is false if the broker refused the message; sending it again would not help."""


@dataclass(frozen=True, slots=True)
class _Heard:
    """What a callback recorded. `client` is its number, which tells one that was given up from the present one."""

    client: int | None
    what: str
    detail: Any = None


class _Client(mqtt.Client):
    """paho's client that says why a connection failed, and that its thread ended if it did."""

    def __init__(
        self, number: int, client_id: str, protocol: MQTTProtocolVersion, record: Callable[[_Heard], None]
    ) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol)
        self.number = number
        self.record = record
        self.given_up = False

    def reconnect(self) -> MQTTErrorCode:
        if self.given_up:
            raise ConnectionAbortedError("given up")
        self.record(_Heard(self.number, "try"))
        try:
            result = super().reconnect()
        except OSError as error:
            self.record(_Heard(self.number, "failed", reason_of(error)))
            raise
        except Exception as error:
            # paho expects OSError only; a host name that IDNA cannot encode is a UnicodeError and would end its thread.
            self.record(_Heard(self.number, "failed", reason_of(error)))
            raise OSError(str(error)) from error
        if self.given_up:  # while it was connecting; CONNECT has not been written yet
            self.hang_up()
            raise ConnectionAbortedError("given up")
        self.record(_Heard(self.number, "open"))
        return result

    def loop_forever(self, timeout: float = 1.0, retry_first_connection: bool = False) -> MQTTErrorCode:
        try:
            return super().loop_forever(timeout, retry_first_connection)
        except Exception:
            log.exception("paho's network thread failed; starting another")
            self.record(_Heard(self.number, "died"))
            return MQTTErrorCode.MQTT_ERR_UNKNOWN

    def hang_up(self) -> None:
        """Close the socket without a word, so that whoever waits on it wakes."""
        connection = self.socket()
        if connection is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]
            with suppress(OSError):
                connection.close()


class Connection:
    """One broker, tried for ever, with MQTT 5 first and MQTT 3.1.1 where that is all it speaks.

    `start`, `attend`, `publish` and `close` are for one thread; `wake` is for any.
    """

    def __init__(self, spec: BrokerSpec, node: str, listener: Listener) -> None:
        self._spec = spec
        self._client_id = spec.client_id or f"edged-{node}"
        self._state_topic = Topics(spec.prefix, node).state
        self._listener = listener
        self._heard: SimpleQueue[_Heard] = SimpleQueue()
        self._woken = threading.Event()  # a wake is in the queue, and one is enough
        self._prepared = False
        self._tls: ssl.SSLContext | None = None
        self._client: _Client | None = None
        self._clients = 0
        self._protocol = V5
        self._spoken = V5
        self._begin_at: float | None = None
        self._greeted_at: float | None = None
        self._answered = False  # whether this try had its CONNACK
        self._away_since = time.monotonic()
        self._tries = 0
        self._said: set[str] = set()  # reasons of this outage
        self._connected_at = 0.0
        self._short = 0  # connections in a row that ended within STEADY_S
        self._refused_topics: set[str] = set()  # those logged
        self._sent_topics: dict[int, str] = {}
        self._largest_packet: int | None = None
        self._awaited: int | None = None
        self._goodbye_taken = False
        self._closed = False
        self.connected = False
        self.connections = 0
        self.window = WINDOW

    def prepare(self) -> None:
        """Read the CA file. Raises FileUnusable. Later calls do nothing."""
        if not self._prepared:
            self._tls = tls_context(self._spec)
            self._prepared = True

    def start(self) -> None:
        """Begin to connect; returns at once. Raises FileUnusable. With a `problem` in its spec it stays unconnected."""
        self.prepare()
        if self._spec.problem is not None:
            log.warning("broker %s: %s; not connecting", self._spec.shown, self._spec.problem)
            return
        self._away_since = time.monotonic()
        self._begin(V5)

    def wake(self) -> None:
        """End a waiting `attend`."""
        if not self._woken.is_set():
            self._woken.set()
            self._heard.put(_Heard(None, "wake"))

    def attend(self, timeout_s: float) -> None:
        """Wait for connection events or a `wake`, at most so long, and act on all that have come."""
        with suppress(Empty):
            self._see_to(self._heard.get(timeout=max(0.0, timeout_s)))
            while True:
                self._see_to(self._heard.get_nowait())
        self._woken.clear()
        now = time.monotonic()
        if self._begin_at is not None and now >= self._begin_at:
            self._begin(self._protocol)
        if self.connected and self._short and now >= self._connected_at + STEADY_S:
            self._steady()
        if self._greeted_at is not None and now >= self._greeted_at + GREETING_S:
            self._greeted_at = None
            self._unanswered("no answer to CONNECT")

    def takes(self, message: Message) -> bool:
        """Whether the message is small enough for this broker; one that is not would end the connection."""
        size = len(message.payload) + len(message.topic) + 64
        if self._largest_packet is None or size <= self._largest_packet:
            return True
        self._refuse(message.topic, f"{size} bytes are too many for it, it takes {self._largest_packet}")
        return False

    def publish(self, message: Message) -> int | None:
        """Send it, QoS 1. The number its acknowledgement will have; None, and it is forgotten, without a connection."""
        client = self._client
        if client is None or not self.connected or not client.is_connected():
            return None
        sent = client.publish(message.topic, message.payload, 1, message.retain, self._properties(message))
        if sent.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            return None
        self._sent_topics[sent.mid] = message.topic
        return sent.mid

    def close(self, deadline: float) -> bool:
        """Say `offline`, wait for its acknowledgement until `deadline` (monotonic), disconnect. Whether it came.

        At once, and false, where there is no broker. A second call does nothing.
        """
        if self._closed:
            return self._goodbye_taken
        self._closed = True
        if self.connected:
            self._say_goodbye(deadline)
        self._begin_at = self._greeted_at = None
        was_connected, self.connected = self.connected, False
        self._give_up(wait_s=LET_GO_S if was_connected else 0.0)
        return self._goodbye_taken

    def _say_goodbye(self, deadline: float) -> None:
        self._awaited = self.publish(Message(self._state_topic, encode(bridge_payload(False)), retain=True))
        while self.connected and self._awaited is not None and time.monotonic() < deadline:
            self.attend(min(1.0, deadline - time.monotonic()))
        if not self._goodbye_taken:
            log.warning('broker %s: "offline" was not acknowledged', self._spec.shown)

    # The connection

    def _begin(self, protocol: MQTTProtocolVersion, after_s: float = 0.0) -> None:
        """Connect with a new client, now or later; the one before is given up."""
        self._give_up(wait_s=0.0)
        self._protocol = protocol
        self._greeted_at = None
        if after_s > 0:
            self._begin_at = time.monotonic() + after_s
            return
        self._begin_at = None
        self._client = client = self._new_client(protocol)
        if protocol == V5:
            client.connect_async(self._spec.host, self._spec.port, KEEPALIVE_S, clean_start=True)
        else:
            client.connect_async(self._spec.host, self._spec.port, KEEPALIVE_S)
        client.loop_start()

    def _new_client(self, protocol: MQTTProtocolVersion) -> _Client:
        self._clients += 1
        client = _Client(self._clients, self._client_id, protocol, self._heard.put)
        client.reconnect_delay_set(1, SLOWEST_RETRY_S)
        # The window is ours: what paho holds back it would send after a reconnect, past everything newer.
        client.max_inflight_messages_set(0)
        if self._spec.username is not None:
            password = self._spec.password
            client.username_pw_set(self._spec.username, None if password is None else password.reveal())
        if self._tls is not None:
            client.tls_set_context(self._tls)
        will = None
        if protocol == V5:
            will = _properties(PacketTypes.WILLMESSAGE)
            will.ContentType = JSON_TYPE
        client.will_set(self._state_topic, encode(bridge_payload(False)), 1, True, will)
        client.on_connect = _guarded(self._on_connect)
        client.on_disconnect = _guarded(self._on_disconnect)
        client.on_publish = _guarded(self._on_publish)
        return client

    def _give_up(self, wait_s: float) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        client.given_up = True
        client.disconnect()
        # loop_stop waits for paho's thread, which may be in a connect or a name look-up for many seconds.
        stopping = threading.Thread(target=client.loop_stop, name="edged-mqtt-stop", daemon=True)
        stopping.start()
        if wait_s > 0:
            stopping.join(wait_s)
            if stopping.is_alive():
                client.hang_up()

    # paho's callbacks, in its thread: record and wake, no more. An exception here would end that thread for good.

    def _on_connect(self, client: _Client, _: Any, flags: Any, reason: ReasonCode, properties: Properties) -> None:
        if not reason.is_failure:
            # paho would now send again, before anything else, what was in flight. We do that ourselves, in order.
            _forget_unacknowledged(client)
        self._heard.put(_Heard(client.number, "connack", (reason, properties)))

    def _on_disconnect(self, client: _Client, _: Any, flags: Any, reason: ReasonCode, properties: Any) -> None:
        self._heard.put(_Heard(client.number, "lost", _loss(flags.is_disconnect_packet_from_server, reason)))

    def _on_publish(self, client: _Client, _: Any, mid: int, reason: ReasonCode, properties: Any) -> None:
        self._heard.put(_Heard(client.number, "puback", (mid, reason)))

    # What they recorded, in ours

    def _see_to(self, heard: _Heard) -> None:
        if self._client is None or heard.client != self._client.number:
            return
        match heard.what:
            case "try":
                self._tries += self._protocol == V5  # one of MQTT 3.1.1 belongs to the one before it
                self._answered = False
            case "open":
                self._greeted_at = time.monotonic()
            case "failed":
                self._not_connected(heard.detail)
            case "connack":
                self._greeted_at = None
                self._answered = True
                self._answered_by(*heard.detail)
            case "lost":
                self._greeted_at = None
                self._connection_lost(heard.detail)
            case "puback":
                self._acknowledged(*heard.detail)
            case "died":
                if self.connected:
                    self._connection_lost(LOST)
                self._begin(V5, after_s=self._pause_s())

    def _answered_by(self, reason: ReasonCode, properties: Properties | None) -> None:
        if not reason.is_failure:
            self._connected(properties)
        elif self._protocol == V5 and reason.value == NO_SUCH_VERSION:
            self._begin(V311)
        elif reason.value in WRONG_LOGIN:
            self._not_connected("not authorised (wrong user or password)")
        elif reason.value == WRONG_CLIENT_ID:
            self._not_connected(f'client id "{self._client_id}" is not accepted')
        else:
            self._not_connected(f"it refuses us: {str(reason).lower()}")

    def _connected(self, properties: Properties | None) -> None:
        if self.connected:  # paho has ways to lose a connection without saying so
            self._connection_lost(LOST)
            if self._client is None:
                return
        self.window = min(WINDOW, getattr(properties, "ReceiveMaximum", WINDOW))
        self._largest_packet = getattr(properties, "MaximumPacketSize", None)
        if self._short < SHORT_LIMIT:
            self._say_connected()
        self.connections += 1
        self.connected = True
        self._connected_at = time.monotonic()
        self._listener.on_connected()

    def _say_connected(self) -> None:
        old = " (MQTT 3.1.1: it will not remove expired answers)" if self._protocol != self._spoken == V5 else ""
        log.info("broker %s: %s%s", self._spec.shown, self._how_connected(), old)
        self._spoken = self._protocol
        self._said.clear()

    def _steady(self) -> None:
        if self._short >= SHORT_LIMIT:
            self._say_connected()
        self._short = 0

    def _how_connected(self) -> str:
        if self.connections == 0 and not self._said:
            return "connected"
        tries = counted(self._tries, "try", "tries")
        word = "back" if self.connections else "connected"
        return f"{word} after {spoken(time.monotonic() - self._away_since)} ({tries})"

    def _connection_lost(self, reason: str) -> None:
        if self.connected:
            self.connected = False
            self._short = self._short + 1 if time.monotonic() < self._connected_at + STEADY_S else 0
            if self._short <= SHORT_LIMIT:
                self._away_since, self._tries = time.monotonic(), 0
            self._sent_topics.clear()
            self._listener.on_lost()
            self._not_connected(self._why_again(reason) if self._short >= SHORT_LIMIT else reason)
            if self._short >= SHORT_LIMIT:
                pause = 2 ** (self._short - SHORT_LIMIT + 1)
                self._begin(V5, after_s=float(min(SLOWEST_RETRY_S, pause)))
        elif not self._answered:
            self._unanswered("it closed the connection without an answer")

    def _why_again(self, reason: str) -> str:
        # Two of one id push each other off for ever, and not every broker says so.
        if reason != LOST:
            return reason
        return f'connected only for moments; does another client use our id "{self._client_id}"?'

    def _unanswered(self, reason: str) -> None:
        # Brokers that know only MQTT 3.1.1 should refuse MQTT 5 in words; some just close, or wait for more.
        if self._protocol == V5:
            self._begin(V311)
        else:
            self._not_connected(reason)

    def _not_connected(self, reason: str) -> None:
        if reason not in self._said and len(self._said) < REASONS_LIMIT and not self._closed:
            self._said.add(reason)
            log.warning("broker %s: %s; trying again", self._spec.shown, reason)
        if self._protocol == V311:  # the broker may be another one when it is back
            self._begin(V5, after_s=self._pause_s())

    def _pause_s(self) -> float:
        return float(min(SLOWEST_RETRY_S, 2 ** min(max(self._tries - 1, 0), 6)))

    def _acknowledged(self, mid: int, reason: ReasonCode) -> None:
        topic = self._sent_topics.pop(mid, None)
        if reason.is_failure and topic is not None:
            denied = "not authorised to publish to it" if reason.value == NOT_AUTHORISED else str(reason).lower()
            self._refuse(topic, denied)
        if mid == self._awaited:
            self._awaited = None
            self._goodbye_taken = not reason.is_failure
        self._listener.on_acknowledged(mid, not reason.is_failure)

    def _refuse(self, topic: str, reason: str) -> None:
        if topic in self._refused_topics or len(self._refused_topics) >= REFUSED_TOPICS:
            return
        self._refused_topics.add(topic)
        log.warning("broker %s: topic %s is refused: %s", self._spec.shown, topic, reason)
        if len(self._refused_topics) == REFUSED_TOPICS:
            log.warning("broker %s: %d topics are refused; no more are logged", self._spec.shown, REFUSED_TOPICS)

    def _properties(self, message: Message) -> Properties | None:
        if self._protocol != V5:
            return None
        properties = _properties(PacketTypes.PUBLISH)
        if message.expires_s is not None:
            properties.MessageExpiryInterval = message.expires_s
        if message.payload:
            properties.ContentType = message.content_type
            if message.content_type == JSON_TYPE:
                properties.PayloadFormatIndicator = 1
        return properties


def _forget_unacknowledged(client: mqtt.Client) -> None:
    if hasattr(client, "drop_out_messages"):
        client.drop_out_messages()
        return
    with client._out_message_mutex:  # paho 2.1 has no other way
        client._out_messages.clear()


def _properties(packet: int) -> Properties:
    return Properties(packet)  # type: ignore[no-untyped-call]


def reason_of(error: Exception) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return f"certificate not accepted: {error.verify_message}"
        case ssl.SSLError():
            if error.reason == "WRONG_VERSION_NUMBER":
                return "it does not speak TLS at this port"
            return f"TLS failed: {(error.reason or str(error)).lower().replace('_', ' ')}"
        case socket.gaierror() | UnicodeError():
            return "name cannot be resolved"
        case ConnectionRefusedError():
            return "connection refused"
        case TimeoutError():
            return "no reply"
        case OSError():
            return (error.strerror or str(error)).lower()
    return str(error)


def _loss(said_by_broker: bool, reason: ReasonCode) -> str:
    if said_by_broker:
        word = "another client uses our client id" if reason.value == TAKEN_OVER else str(reason).lower()
        return f"it ended the connection: {word}"
    if reason.getName() == "Keep alive timeout":
        return "connection lost (no sign of life)"
    return LOST


def _guarded(callback: Callable[..., None]) -> Callable[..., None]:
    def guarded(*arguments: Any) -> None:
        try:
            callback(*arguments)
        except Exception:
            log.exception("unexpected error in the callback %s", callback.__name__)

    return guarded
