"""Why there is no connection to the broker: a kind that programs can test, and a text for the log."""

from __future__ import annotations

import errno
import socket
import ssl
from dataclasses import dataclass
from typing import Literal

from paho.mqtt.reasoncodes import ReasonCode

from edged.core.text import system_text

# login: user or password rejected. certificate: not trusted, or of another host. tls: no TLS at this port, or the
# handshake failed. unreachable: no route, or no reply in time. name: the host name cannot be resolved. refused: nothing
# listens at the port. lost: the connection ended, before or after CONNACK.
FailureKind = Literal["login", "certificate", "tls", "unreachable", "name", "refused", "lost", "other"]

UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN)
# Reason codes of MQTT 5; paho translates the return codes of MQTT 3.1.1 to them.
BAD_CLIENT_ID = 0x85
BAD_LOGIN = (0x86, 0x87)
TAKEN_OVER = 0x8E


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
            return Failure("tls", f"TLS handshake failed: {(error.reason or str(error)).lower().replace('_', ' ')}")
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


def connack_failure(reason: ReasonCode, client_id: str) -> Failure:
    if reason.value in BAD_LOGIN:
        return Failure("login", "not authorised (wrong user or password)")
    if reason.value == BAD_CLIENT_ID:
        return Failure("other", f'client id "{client_id}" rejected')
    return Failure("other", f"connection rejected: {str(reason).lower()}")


def disconnect_failure(by_broker: bool, reason: ReasonCode) -> Failure:
    """Why a connection ended. `by_broker`: the broker sent DISCONNECT."""
    if by_broker and reason.value == TAKEN_OVER:
        return Failure("lost", "disconnected by the broker: another client connected with the same client id")
    if by_broker:
        return Failure("lost", f"disconnected by the broker: {str(reason).lower()}")
    if reason.getName() == "Keep alive timeout":
        return Failure("lost", "connection lost (keep-alive time-out)")
    return LOST
