"""paho's client as edged uses it: reports what happens, survives its own errors, and can be abandoned at any moment.

`report` is called in paho's network thread and must only record and wake: no lock of edged's may be held while paho
holds one of its own.
"""

from __future__ import annotations

import functools
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edged.core.specs import BrokerSpec
from edged.mqtt.failure import Failure, alert_failure, connect_failure, disconnect_failure
from edged.mqtt.properties import connect_properties, disconnect_properties
from edged.mqtt.tls import TlsSocket

log = logging.getLogger(__name__)

V5 = MQTTProtocolVersion.MQTTv5
V311 = MQTTProtocolVersion.MQTTv311
KEEPALIVE_S = 30
WITH_WILL = 0x04  # reason code of MQTT 5


@dataclass(frozen=True, slots=True)
class ConnectStarted:
    """Name look-up, TCP and TLS begin."""


@dataclass(frozen=True, slots=True)
class ConnectSent:
    """TCP and TLS are up; CONNACK is awaited."""


@dataclass(frozen=True, slots=True)
class ConnectFailed:
    """No connection; paho tries again by itself."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Connack:
    reason: ReasonCode
    properties: Properties | None


@dataclass(frozen=True, slots=True)
class Disconnected:
    """Also after a CONNACK that rejected the connection; paho tries again by itself."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Puback:
    mid: int
    reason: ReasonCode


@dataclass(frozen=True, slots=True)
class ThreadDied:
    """paho's network thread ended by an error; this client does nothing any more."""


@dataclass(frozen=True, slots=True)
class Suback:
    mid: int
    reasons: tuple[ReasonCode, ...]


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message of a topic that edged subscribes to, and when it arrived (monotonic).

    The last three are of MQTT 5 only. `expires_s` is what is left of the message's expiry; None: it has none.
    """

    topic: str
    payload: bytes = field(repr=False)
    retained: bool
    received_at: float
    response_topic: str | None = None
    correlation: bytes | None = None
    expires_s: int | None = None


ClientEvent = (
    ConnectStarted | ConnectSent | ConnectFailed | Connack | Disconnected | Puback | Suback | Incoming | ThreadDied
)


def _logged(callback: Callable[..., None]) -> Callable[..., None]:
    """Log an exception instead of passing it to paho, whose network thread would end."""

    @functools.wraps(callback)
    def logged(client: PahoClient, *arguments: Any) -> None:
        try:
            callback(client, *arguments)
        except Exception:
            log.exception("broker %s: unexpected error in the callback %s", client.shown, callback.__name__)

    return logged


class PahoClient(mqtt.Client):
    """One client for one broker and protocol version, with login and TLS set."""

    def __init__(
        self,
        spec: BrokerSpec,
        client_id: str,
        protocol: MQTTProtocolVersion,
        tls: ssl.SSLContext | None,
        report: Callable[[ClientEvent], None],
    ) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol)
        self._spec = spec
        self._with_properties = protocol == V5
        self._tls = tls
        self._report = report
        self._abandoned = False
        self._tls_socket: TlsSocket | None = None
        # edged limits the messages in flight itself: paho would send queued ones after a reconnect, before newer ones.
        self.max_inflight_messages_set(0)
        if spec.username is not None:
            self.username_pw_set(spec.username, None if spec.password is None else spec.password.reveal())
        if tls is not None:
            self.tls_set_context(tls)
        # Functions, which paho calls with this client: a bound method would be a cycle, in which an abandoned client
        # and its two sockets live until the garbage collector runs, which may be days later.
        self.on_connect = PahoClient._on_connack
        self.on_disconnect = PahoClient._on_lost
        self.on_publish = PahoClient._on_puback
        self.on_subscribe = PahoClient._on_suback
        self.on_message = PahoClient._on_incoming
        self.on_socket_open = PahoClient._on_open

    @property
    def shown(self) -> str:
        """The broker."""
        return self._spec.shown

    def begin(self, slowest_retry_s: int) -> None:
        """Connect, and reconnect with back-off from 1 s to `slowest_retry_s`; returns at once."""
        self.reconnect_delay_set(1, slowest_retry_s)
        if self._with_properties:
            properties = connect_properties()
            self.connect_async(self._spec.host, self._spec.port, KEEPALIVE_S, clean_start=True, properties=properties)
        else:
            self.connect_async(self._spec.host, self._spec.port, KEEPALIVE_S)
        self.loop_start()

    def abandon(self, wait_s: float = 0.0, with_will: bool = False) -> None:
        """Disconnect and end the network thread; after `wait_s`, if given, by closing the socket.

        `with_will`: the broker publishes the last will, unless another client with this id connects in time.
        """
        self._abandoned = True
        if not self._with_properties:
            if with_will:
                self._close_socket()
            self.disconnect()
        elif with_will:
            self.disconnect(ReasonCode(PacketTypes.DISCONNECT, identifier=WITH_WILL))
        else:
            self.disconnect(properties=disconnect_properties())
        # loop_stop waits for paho's thread, which may be in a connect or a name look-up for many seconds.
        stopping = threading.Thread(target=self._stop_loop, name="edged-mqtt-stop", daemon=True)
        try:
            stopping.start()
        except RuntimeError:  # no thread is left; paho's ends by itself, once the connection or this attempt has ended
            return
        if wait_s > 0:
            stopping.join(wait_s)
            if stopping.is_alive():
                self._close_socket()

    def _stop_loop(self) -> None:
        # paho's thread sets itself to None when it ends, also while it is stopped. RuntimeError: it was never started.
        with suppress(AttributeError, RuntimeError):
            self.loop_stop()

    def request(self, topic_filter: str, as_published: bool) -> int | None:
        """Subscribe with QoS 1. The message id of the SUBACK; None without a connection. See Subscriptions."""
        if self._with_properties:
            options = SubscribeOptions(qos=1, retainAsPublished=as_published)
            return self.subscribe(topic_filter, options=options)[1]
        return self.subscribe(topic_filter, qos=1)[1]

    def reconnect(self) -> MQTTErrorCode:
        if self._abandoned:
            raise ConnectionAbortedError("abandoned")
        self._report(ConnectStarted())
        try:
            result = super().reconnect()
        except Exception as error:
            self._report(ConnectFailed(connect_failure(error, tls=self._tls is not None)))
            if isinstance(error, OSError):
                raise
            # paho expects OSError only; a host name that IDNA cannot encode is a UnicodeError and would end its thread.
            raise OSError(str(error)) from error
        if self._abandoned:  # while it was connecting; CONNECT has not been written yet
            self._close_socket()
            raise ConnectionAbortedError("abandoned")
        self._report(ConnectSent())
        return result

    def loop_forever(self, timeout: float = 1.0, retry_first_connection: bool = False) -> MQTTErrorCode:
        try:
            return super().loop_forever(timeout, retry_first_connection)
        except Exception:
            log.exception("broker %s: unexpected error in paho's network thread", self._spec.shown)
            self._report(ThreadDied())
            return MQTTErrorCode.MQTT_ERR_UNKNOWN

    def _close_socket(self) -> None:
        """Close without DISCONNECT, so that paho's thread wakes from any wait on the socket."""
        connection = self.socket()
        if connection is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]  # paho's SocketLike has no shutdown
            with suppress(OSError):
                connection.close()

    @_logged
    def _on_connack(self, _u: Any, _f: Any, reason: ReasonCode, properties: Properties | None) -> None:
        if not reason.is_failure:
            # paho would now resend the messages in flight before all others. edged resends them itself, in order.
            self.drop_out_messages()
        self._report(Connack(reason, properties))

    @_logged
    def _on_open(self, _u: Any, opened: object) -> None:
        self._tls_socket = opened if isinstance(opened, TlsSocket) else None

    @_logged
    def _on_lost(self, _u: Any, flags: mqtt.DisconnectFlags, reason: ReasonCode, properties: Any) -> None:
        alert = self._tls_socket.alert if self._tls_socket is not None else None
        failure = alert_failure(alert) if alert is not None else None
        by_broker = flags.is_disconnect_packet_from_server
        self._report(Disconnected(failure or disconnect_failure(by_broker, reason, properties)))

    @_logged
    def _on_puback(self, _u: Any, mid: int, reason: ReasonCode, _p: Any) -> None:
        self._report(Puback(mid, reason))

    @_logged
    def _on_suback(self, _u: Any, mid: int, reasons: list[ReasonCode], _p: Any) -> None:
        self._report(Suback(mid, tuple(reasons)))

    @_logged
    def _on_incoming(self, _u: Any, message: mqtt.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return  # not a topic of MQTT; no filter of edged's can mean it
        self._report(
            Incoming(
                topic,
                bytes(message.payload),
                bool(message.retain),
                time.monotonic(),
                getattr(message.properties, "ResponseTopic", None),
                getattr(message.properties, "CorrelationData", None),
                getattr(message.properties, "MessageExpiryInterval", None),
            )
        )
