"""A camera's URL with its login taken out."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from edged.core.errors import CameraError
from edged.core.text import host_port

DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
CONTROL = re.compile("[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class CameraUrl:
    """`url` has no user or password; `user` and `password` are percent-decoded."""

    url: str
    scheme: str
    host: str
    port: int
    user: str | None = field(repr=False)
    password: str = field(repr=False)

    @property
    def where(self) -> str:
        return host_port(self.host, self.port)


def parse_url(text: str) -> CameraUrl:
    """Raises CameraError if this is not a URL with a host."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
        (host or "").encode("idna")  # as Python's resolver does
    except ValueError:  # also UnicodeError
        parts, host, port = SplitResult("", "", "", "", ""), None, None
    # An @ in the path comes from an unencoded slash in the password: "host" and "path" are then parts of the login.
    if not host or "@" in parts.path:
        raise CameraError("the address is not a valid URL (is its password percent-encoded?)")
    user = None if parts.username is None else unquote(parts.username)
    password = unquote(parts.password or "")
    # A line break would end the Authorization header, and http.client shows the whole header in its error.
    if CONTROL.search((user or "") + password):
        raise CameraError("the user or password of the address has a control character")
    without_login = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    port = port or DEFAULT_PORTS.get(parts.scheme, 0)
    return CameraUrl(without_login, parts.scheme, host, port, user, password)
