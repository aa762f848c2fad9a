"""What the owner of a camera reads when it does not answer."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import threading

import pytest
from support.broker import HOST

from edged.cameras.camera_url import parse_url
from edged.cameras.reasons import LoginRefused, WrongPassword, network_error, status_error
from edged.core.errors import CameraError

URL = parse_url("rtsp://viewer:hunter2@cam.example:8554/live")
NO_DNS = "host name cam.example cannot be resolved: no DNS server answers"


def system_error(code: int) -> OSError:
    """As the system reports it: Python chooses the class by the errno."""
    return OSError(code, os.strerror(code))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (socket.gaierror(socket.EAI_AGAIN, "try again"), NO_DNS),
        (socket.gaierror(socket.EAI_NONAME, "not known"), "host name cam.example is unknown"),
        (TimeoutError("timed out"), "no answer from cam.example:8554 in 5 s"),
        (system_error(errno.ETIMEDOUT), "no answer from cam.example:8554 in 5 s"),
        (system_error(errno.ECONNREFUSED), "connection refused by cam.example:8554"),
        (system_error(errno.ECONNRESET), "cam.example:8554 closed the connection"),
        (system_error(errno.EPIPE), "cam.example:8554 closed the connection"),
        (system_error(errno.EHOSTUNREACH), "cam.example:8554 is unreachable"),
        (system_error(errno.ENETUNREACH), "cam.example:8554 is unreachable"),
        (system_error(errno.EMFILE), "no connection to cam.example:8554: Too many open files"),
        (OSError("no errno"), "no connection to cam.example:8554: OSError"),
    ],
)  # fmt: skip
def test_a_network_error_is_told_in_words(error: OSError, reason: str) -> None:
    told = network_error(error, URL)
    assert type(told) is CameraError
    assert str(told) == reason


def test_a_server_that_does_not_speak_tls_is_told_with_the_reason_of_openssl() -> None:
    with socket.create_server((HOST, 0)) as listening:

        def answer() -> None:
            with listening.accept()[0] as connection:
                connection.recv(1000)
                connection.sendall(b"RTSP/1.0 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        url = parse_url(f"rtsps://{HOST}:{listening.getsockname()[1]}/")
        with socket.create_connection((HOST, url.port), timeout=10) as plain, pytest.raises(ssl.SSLError) as caught:
            ssl.create_default_context().wrap_socket(plain, server_hostname=HOST)
        thread.join(10)
    assert str(network_error(caught.value, url)) == f"{url.where} does not speak TLS as expected (WRONG_VERSION_NUMBER)"


def test_an_ipv6_address_stands_in_brackets() -> None:
    refused = system_error(errno.ECONNREFUSED)
    assert str(network_error(refused, parse_url("http://[fe80::1]/"))) == "connection refused by [fe80::1]:80"


@pytest.mark.parametrize(
    ("code", "login_sent", "kind", "reason"),
    [
        (401, True, WrongPassword, "wrong user or password (401)"),
        (401, False, LoginRefused, "the camera requires a user and a password (401)"),
        (302, False, CameraError, "the camera redirects in a loop or to an unsupported address (302)"),
        (404, False, CameraError, "the path does not exist on the camera (404)"),
        (418, False, CameraError, "the camera answers with status 418"),
    ],
)
def test_a_status_is_told_in_words(code: int, login_sent: bool, kind: type[CameraError], reason: str) -> None:
    told = status_error(code, login_sent)
    assert (type(told), str(told)) == (kind, reason)
