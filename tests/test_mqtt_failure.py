"""The kind of each failure: other parts of edged decide by it, not by the text."""

from __future__ import annotations

import errno
import os
import socket
import ssl

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edged.mqtt.failure import Failure, FailureKind, connack_failure, connect_failure, disconnect_failure


def os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def ssl_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


def certificate_error() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "[SSL] failed")
    error.verify_message = "certificate has expired"
    return error


@pytest.mark.parametrize(
    ("error", "tls", "failure"),
    [
        (certificate_error(), True, Failure("certificate", "certificate not accepted: certificate has expired")),
        (ssl_error("WRONG_VERSION_NUMBER"), True, Failure("tls", "no TLS at this port")),
        (
            ssl_error("TLSV13_ALERT_CERTIFICATE_REQUIRED"),
            True,
            Failure("client_certificate", "the broker requires a client certificate"),
        ),
        (
            ssl_error("SSLV3_ALERT_CERTIFICATE_EXPIRED"),
            True,
            Failure("client_certificate", "client certificate not accepted: expired, or not valid yet"),
        ),
        (ssl_error("NO_SHARED_CIPHER"), True, Failure("tls", "TLS handshake failed: no shared cipher")),
        (os_error(errno.ECONNRESET), True, Failure("tls", "connection reset by peer")),
        (os_error(errno.ECONNRESET), False, Failure("lost", "connection reset by peer")),
        (socket.gaierror(-2, "Name or service not known"), False, Failure("name", "name cannot be resolved")),
        (UnicodeError("label empty or too long"), False, Failure("name", "name cannot be resolved")),
        (os_error(errno.ECONNREFUSED), False, Failure("refused", "connection refused")),
        (TimeoutError("timed out"), False, Failure("unreachable", "connection timed out")),
        (os_error(errno.EHOSTUNREACH), False, Failure("unreachable", "no route to host")),
        (os_error(errno.ENETUNREACH), False, Failure("unreachable", "network is unreachable")),
        (os_error(errno.EMFILE), False, Failure("other", "too many open files")),
        (ValueError("unexpected"), False, Failure("other", "unexpected")),
    ],
)
def test_a_failed_connect_has_a_kind(error: Exception, tls: bool, failure: Failure) -> None:
    assert connect_failure(error, tls) == failure


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        (0x86, Failure("login", "not authorised (wrong user or password)")),
        (0x87, Failure("login", "not authorised (wrong user or password)")),
        (0x85, Failure("other", 'client id "edged-box" rejected')),
        (0x88, Failure("other", "connection rejected: server unavailable")),
        (0x89, Failure("other", "connection rejected: server busy")),
        (0x95, Failure("other", "connection rejected: packet too large for the broker")),
        (0x97, Failure("other", "connection rejected: quota exceeded")),
        (0x9C, Failure("other", "connection rejected: use another server")),
    ],
)
def test_a_rejected_connection_has_a_kind(code: int, failure: Failure) -> None:
    assert connack_failure(ReasonCode(PacketTypes.CONNACK, identifier=code), "edged-box") == failure


@pytest.mark.parametrize("code", [0x86, 0x87])
def test_a_broker_that_requires_a_login_which_the_config_does_not_have_is_named_so(code: int) -> None:
    failure = connack_failure(ReasonCode(PacketTypes.CONNACK, identifier=code), "edged-box", anonymous=True)
    text = "not authorised (the broker requires a login, but mqtt.username is not set)"
    assert failure == Failure("login", text)


@pytest.mark.parametrize(
    ("code", "kind"), [(0x95, "too_large"), (0x87, "rejected"), (0x90, "rejected"), (0x98, "lost")]
)
def test_a_connection_that_the_broker_ends_because_of_a_message_has_a_kind(code: int, kind: FailureKind) -> None:
    reason = ReasonCode(PacketTypes.DISCONNECT, identifier=code)
    assert disconnect_failure(True, reason).kind == kind


@pytest.mark.parametrize(
    ("by_broker", "code", "text"),
    [
        (True, 0x8E, "disconnected by the broker: another client connected with the same client id"),
        (True, 0x8B, "disconnected by the broker: server shutting down"),
        (False, 0x8D, "connection lost (keep-alive time-out)"),
        (False, 0x80, "connection lost"),
    ],
)
def test_an_ended_connection_is_lost(by_broker: bool, code: int, text: str) -> None:
    reason = ReasonCode(PacketTypes.DISCONNECT, identifier=code)
    kind: FailureKind = "taken_over" if code == 0x8E else "lost"
    assert disconnect_failure(by_broker, reason) == Failure(kind, text)


def test_the_server_to_use_instead_is_named_and_cannot_break_the_log_line() -> None:
    properties = Properties(PacketTypes.CONNACK)
    properties.ServerReference = "b.lan:1883\n"
    reason = ReasonCode(PacketTypes.CONNACK, identifier=0x9C)
    text = r"connection rejected: use another server: 'b.lan:1883\n'"
    assert connack_failure(reason, "edged-box", properties) == Failure("other", text)
