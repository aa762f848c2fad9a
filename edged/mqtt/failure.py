"""Why there is no connection to the broker: a kind that programs can test, and a text for the log."""

from __future__ import annotations

import errno
import socket
import ssl
from dataclasses import dataclass
from typing import Literal

from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edged.core.text import shorten, system_text
from edged.mqtt.tls import words

# login: user or password rejected. certificate: the broker's is not trusted, or of another host. client_certificate:
# edged's is missing or not accepted. tls: no TLS at this port, or the handshake failed. unreachable: no route, or no
# reply in time. name: the host name cannot be resolved. refused: nothing listens at the port. lost: the connection
# ended, before or after CONNACK. taken_over: ended by a client with the same id. protocol: what came is not MQTT.
# too_large, rejected: the broker does not accept a message because of its size, or for another reason.
FailureKind = Literal[
    "login",
    "certificate",
    "client_certificate",
    "tls",
    "unreachable",
    "name",
    "refused",
    "lost",
    "taken_over",
    "protocol",
    "too_large",
    "rejected",
    "other",
]
CREDENTIALS: tuple[FailureKind, ...] = ("login", "certificate", "client_certificate", "tls")  # new ones may help

UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN)
# Reason codes of MQTT 5; paho translates the return codes of MQTT 3.1.1 to them.
BAD_CLIENT_ID = 0x85
BAD_LOGIN = (0x86, 0x87)
TAKEN_OVER = 0x8E
TOO_LARGE = 0x95
REJECTED = (0x81, 0x82, 0x87, 0x90, 0x99, 0x9A, 0x9B)  # in a DISCONNECT
# mosquitto's message_size_limit: its PUBACK has the reason code 0x95, which paho takes for an invalid packet.
ABOUT_A_MESSAGE: tuple[FailureKind, ...] = ("protocol", "too_large", "rejected")
ELSEWHERE = (0x9C, 0x9D)
WORDS = {  # where the name in the specification says too little
    0x80: "unspecified error",
    0x83: "the broker gives no reason (implementation specific error)",
    0x87: "not authorised",
    0x88: "server unavailable",
    0x89: "server busy",
    0x8A: "banned",
    0x8C: "bad authentication method",
    0x90: "the broker does not accept this topic name",
    0x93: "too many messages without acknowledgement (receive maximum exceeded)",
    0x95: "packet too large for the broker",
    0x96: "message rate too high",
    0x97: "quota exceeded",
    0x98: "administrative action",
    0x99: "the payload is not in the format that the broker expects",
    0x9A: "the broker does not support retained messages",
    0x9B: "the broker does not support QoS 1",
    0x9C: "use another server",
    0x9D: "the broker has moved",
    0x9F: "connection rate exceeded",
    0xA0: "maximum connect time",
}
ALERTS = (  # TLS alerts about a client certificate, as OpenSSL names them
    ("CERTIFICATE_REQUIRED", "the broker requires a client certificate"),
    ("UNKNOWN_CA", "client certificate not accepted: the broker does not know its CA"),
    ("CERTIFICATE_EXPIRED", "client certificate not accepted: expired, or not valid yet"),
    ("CERTIFICATE_REVOKED", "client certificate not accepted: revoked"),
    ("UNSUPPORTED_CERTIFICATE", "client certificate not accepted: not made for clients"),
    ("CERTIFICATE_UNKNOWN", "client certificate not accepted"),
    ("BAD_CERTIFICATE", "client certificate not accepted: bad certificate"),
    ("ACCESS_DENIED", "client certificate not accepted: access denied"),
)


@dataclass(frozen=True, slots=True)
class Failure:
    kind: FailureKind
    text: str


LOST = Failure("lost", "connection lost")
NO_CONNACK = Failure("lost", "connection closed before CONNACK")


def connect_failure(error: Exception, tls: bool) -> Failure:
    """Why a TCP connection, or TLS if `tls`, could not be set up."""
    match error:
        case ssl.SSLCertVerificationError():
            return Failure("certificate", f"certificate not accepted: {error.verify_message}")
        case ssl.SSLError(reason="WRONG_VERSION_NUMBER"):
            return Failure("tls", "no TLS at this port")
        case ssl.SSLError():
            return alert_failure(error) or Failure("tls", f"TLS handshake failed: {words(error)}")
        case socket.gaierror() | UnicodeError():
            return Failure("name", "name cannot be resolved")
        case ConnectionRefusedError():
            return Failure("refused", "connection refused")
        case TimeoutError():
            return Failure("unreachable", "connection timed out")
        case ConnectionError():  # a port without TLS may close the connection on a TLS handshake
            return Failure("tls" if tls else "lost", system_text(error))
        case OSError():
            return Failure("unreachable" if error.errno in UNREACHABLE else "other", system_text(error))
    return Failure("other", str(error))


def alert_failure(error: ssl.SSLError) -> Failure | None:
    """The broker's TLS alert about our certificate, if the error is one."""
    reason = error.reason or ""
    text = next((text for name, text in ALERTS if "ALERT" in reason and reason.endswith(name)), None)
    return None if text is None else Failure("client_certificate", text)


def connack_failure(
    reason: ReasonCode, client_id: str, properties: Properties | None = None, anonymous: bool = False
) -> Failure:
    """Why the broker rejected the connection. `anonymous`: edged has no login to show."""
    if reason.value in BAD_LOGIN and anonymous:
        return Failure("login", "not authorised (the broker requires a login, but mqtt.username is not set)")
    if reason.value in BAD_LOGIN:
        return Failure("login", "not authorised (wrong user or password)")
    if reason.value == BAD_CLIENT_ID:
        return Failure("other", f'client id "{client_id}" rejected')
    return Failure("other", f"connection rejected: {in_words(reason, properties)}")


def disconnect_failure(by_broker: bool, reason: ReasonCode, properties: Properties | None = None) -> Failure:
    """Why a connection ended. `by_broker`: the broker sent DISCONNECT."""
    if by_broker and reason.value == TAKEN_OVER:
        return Failure("taken_over", "disconnected by the broker: another client connected with the same client id")
    if by_broker:
        kind: FailureKind = "lost"
        if reason.value in (TOO_LARGE, *REJECTED):
            kind = "too_large" if reason.value == TOO_LARGE else "rejected"
        return Failure(kind, f"disconnected by the broker: {in_words(reason, properties)}")
    if reason.getName() == "Keep alive timeout":
        return Failure("lost", "connection lost (keep-alive time-out)")
    if reason.getName() == "Protocol error":
        return Failure("protocol", "connection ended: invalid packet from the broker")
    return LOST


def without_connack(failure: Failure) -> Failure:
    """Why a connection ended before CONNACK: with TLS 1.3 a client certificate is refused that late."""
    return failure if failure.kind == "client_certificate" else NO_CONNACK


def in_words(reason: ReasonCode, properties: Properties | None = None) -> str:
    """A reason code of MQTT 5; with the server to use instead, where the broker names one."""
    text = WORDS.get(reason.value) or str(reason).lower()
    other = getattr(properties, "ServerReference", None) if reason.value in ELSEWHERE else None
    return f"{text}: {shorten(other)!a}" if other else text
