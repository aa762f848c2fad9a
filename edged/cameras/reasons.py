"""Why a camera cannot be reached, in its owner's words, and never with a credential in them."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from edged.cameras.health import LoginRefused
from edged.core.errors import CameraError

ANSWER_S = 5.0  # how long a camera may take to take a connection, and to answer on it

CONTROL = re.compile("[\x00-\x1f\x7f]")

STATUS_WORDS = {
    400: "the camera does not understand the request (400 Bad Request)",
    403: "this user is not allowed to view this path (403)",
    404: "the camera has no such path (404)",
    405: "the camera does not offer this (405 Method Not Allowed)",
    410: "the camera no longer has this path (410)",
    429: "the camera gets too many requests (429)",
    453: "the camera accepts no more viewers (453 Not Enough Bandwidth)",
    454: "the camera lost the session (454)",
    500: "the camera reports an internal error (500)",
    503: "the camera is busy or still starting (503 Service Unavailable)",
}


@dataclass(frozen=True, slots=True)
class Address:
    """A URL taken apart: without its login, and the login percent-decoded."""

    url: str  # without user and password
    scheme: str
    host: str
    port: int
    user: str | None = field(repr=False)
    password: str = field(repr=False)

    @property
    def where(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(address: str) -> Address:
    """Raises CameraError if this is no URL with a host."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
        (host or "").encode("idna")  # as Python's resolver does
    except ValueError:  # UnicodeError is one
        parts, host, port = SplitResult("", "", "", "", ""), None, None
    # An @ further on means a password with a bare slash in it, of which "host" and "path" are then pieces.
    if not host or "@" in parts.path:
        raise CameraError("the address is not a valid URL (is its password percent-encoded?)")
    port = port or {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}.get(parts.scheme, 0)
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    user = None if parts.username is None else unquote(parts.username)
    password = unquote(parts.password or "")
    # A line break would end the header that the login goes into, and http.client shows the whole header in its error.
    if CONTROL.search((user or "") + password):
        raise CameraError("the user or password of the address has a control character")
    return Address(bare, parts.scheme, host, port, user, password)


def of_network(error: OSError, address: Address) -> CameraError:
    """What a failed connection means."""
    where = address.where
    if isinstance(error, ssl.SSLCertVerificationError):
        return CameraError(f"the certificate of {where} is not trusted: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        return CameraError(f"{where} does not speak TLS as expected ({error.reason or 'handshake failed'})")
    if isinstance(error, socket.gaierror):
        # EAI_AGAIN: no name server answered, which says nothing about the name.
        unknown = error.errno != socket.EAI_AGAIN
        return CameraError(
            f"host name {address.host} is unknown" if unknown else f"no name server answers for {address.host}"
        )
    if isinstance(error, TimeoutError):
        return CameraError(f"no answer from {where} in {ANSWER_S:.0f} s")
    if isinstance(error, ConnectionRefusedError):
        return CameraError(f"connection refused by {where}")
    if isinstance(error, ConnectionError):
        return CameraError(f"{where} closed the connection")
    if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN):
        return CameraError(f"{where} is unreachable")
    return CameraError(f"no connection to {where}: {error.strerror or type(error).__name__}")


def of_status(code: int, with_login: bool) -> CameraError:
    """What an HTTP or RTSP status means."""
    if code == 401:
        return LoginRefused(
            "wrong user or password (401)" if with_login else "the camera asks for a user and a password (401)"
        )
    if 300 <= code < 400:
        return CameraError(f"the camera redirects in a circle or to an unsupported address ({code})")
    return CameraError(STATUS_WORDS.get(code, f"the camera answers with status {code}"))


def whole_number(text: str) -> int | None:
    """A number as a header gives it; None if it is none, or an absurd one. `str.isdigit` admits what `int` does not."""
    return int(text) if len(text) <= 18 and text.isascii() and text.isdigit() else None
