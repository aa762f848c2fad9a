"""URLs of cameras and brokers. No piece of a URL that may be a login is shown in a message."""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from edged.config.phrases import shown
from edged.config.problems import wrong
from edged.core.specs import ListenAddress

SECRET_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"  # noqa: S105  # the pattern of a name, not a secret
SECRET_IN_TEXT = re.compile(rf"\{{secret:\s*({SECRET_NAME})\s*\}}")
SOURCES = "rtsp://…, rtsps://…, http(s)://…, usb:0, usb:/dev/…, or the path of a picture, a folder or a clip"
UNENCODED = "A-Z, a-z, 0-9 and . _ ~ ! $ & ' ( ) * + , ; = : -"  # as in LOGIN_CHARACTER
LOGIN_CHARACTER = r"[A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2}"
LOGIN = rf"(?P<login>(?:{LOGIN_CHARACTER}|{SECRET_IN_TEXT.pattern})*)"
HOST = r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?\])"
NO_SECRET = rf"(?!{SECRET_IN_TEXT.pattern})"  # so that there is one way to match each character
ADDRESS = re.compile(
    rf"(?P<scheme>[A-Za-z]+)://(?:{LOGIN}@)?{HOST}(?::(?P<port>[0-9]{{1,5}}))?"
    rf"(?P<path>/(?:{SECRET_IN_TEXT.pattern}|{NO_SECRET}[^\s?#@])*)?"
    rf"(?:\?(?P<query>(?:{SECRET_IN_TEXT.pattern}|{NO_SECRET}[^\s#@])*))?"
)
# The same parts as they are meant, valid or not: the login ends at the last @ before the path.
MEANT = re.compile(r"(?s)(?:(?P<login>[^/?#]*)@)?(?P<host>[^/?#]*?)(?P<port>:[^/?#:\]]*)?(?P<rest>[/?#].*)?\Z")
IN_A_FILE = " (or put the password into a file: {secret:NAME})"
CAMERA_SCHEMES = ("rtsp", "rtsps", "http", "https")
CONTROL_CODE = re.compile("%[01][0-9A-Fa-f]|%7[Ff]")
LISTEN = re.compile(r"(?P<host>[0-9.]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})")
PORT_ONLY = re.compile(r"(?:localhost|\*)?:?([0-9]{1,5})")
PASSWORD_IN_PATH = re.compile(r"(?i)(?<![a-z])(pass[a-z]*|pwd|psw|pw|token|key|auth|user[a-z]*|usr|login|secret)[=:].*")


@dataclass(frozen=True, slots=True)
class Url:
    """The parts of a URL, still percent-encoded; secrets are still `{secret:NAME}`."""

    scheme: str
    login: str | None
    host: str
    port: int | None
    path: str
    query: str | None

    @property
    def place(self) -> str:
        return self.host if self.port is None else f"{self.host}:{self.port}"

    @property
    def shown(self) -> str:
        """Without login and query, and without anything in the path that looks like a password."""
        path = PASSWORD_IN_PATH.sub(r"\1=***", SECRET_IN_TEXT.sub("***", self.path))
        return f"{self.scheme}://{self.place}{path}{'' if self.query is None else '?…'}"


def address(text: str) -> Url | None:
    """None if the text is ambiguous: then any piece of it may belong to a password."""
    match = ADDRESS.fullmatch(text)
    if not match or not _valid_host(match["host"]) or (match["port"] and not _valid_port(match["port"])):
        return None
    port = int(match["port"]) if match["port"] else None
    return Url(match["scheme"].lower(), match["login"], match["host"], port, match["path"] or "", match["query"])


def _valid_host(host: str) -> bool:
    if not host.startswith("["):
        # Python's resolver raises UnicodeError for a longer name, where its callers expect OSError.
        return len(host) <= 253 and all(0 < len(label) <= 63 for label in host.removesuffix(".").split("."))
    try:
        ipaddress.IPv6Address(host[1:-1])
    except ValueError:
        return False
    return True


def _valid_port(port: str) -> bool:
    return bool(re.fullmatch("[0-9]{1,5}", port)) and 0 < int(port) < 65536


def source(value: Any) -> Any:
    """A camera's source, or a problem."""
    if not isinstance(value, str):
        return value
    if re.match(r"(?i)(rtsps?|https?):", value):
        if why := address_problem(value):
            raise wrong(why)
    elif value.startswith("usb:"):
        if not re.fullmatch(r"usb:([0-9]{1,4}|/dev/[^\s@]+)", value):
            raise wrong("is not a USB camera: write usb: and a number, or usb: and a path in /dev, without a space")
    elif not value or "://" in value or "{secret:" in value or _looks_like_a_login(value):
        raise wrong(f"must be {SOURCES}")
    return value


def _looks_like_a_login(text: str) -> bool:
    """`me:password@host/x` without its scheme, or `me@host`, which would be shown as the path of a file."""
    return "@" in text and (":" in text.rpartition("@")[0] or "/" not in text.partition("@")[0])


def address_problem(text: str) -> str | None:
    """Why this is not a camera's address: the end of a sentence that contains no piece of the text."""
    scheme, separator, rest = text.partition("://")
    if not separator or scheme.lower() not in CAMERA_SCHEMES:
        return f"must begin with {', '.join(f'{scheme}://' for scheme in CAMERA_SCHEMES[:-1])} or https://"
    if "{secret:" in SECRET_IN_TEXT.sub("", text):
        return "contains an invalid secret; write {secret:NAME}, where NAME is a file name without a folder"
    parts = address(text)
    if parts is None:
        return _invalid_part(rest)
    return "has a control character in its user or password" if CONTROL_CODE.search(parts.login or "") else None


def _invalid_part(text: str) -> str:
    """What is wrong with the first invalid part of what follows `://`."""
    login, host, port, rest = MEANT.findall(text)[0]
    before_at = text.rpartition("@")[0]  # the password, if there is one, is in it
    in_a_file = IN_A_FILE if ":" in before_at else ""
    if "#" in text:
        return f"has a #, which must be percent-encoded: write %23 for it{in_a_file if '#' in before_at else ''}"
    if "@" in rest:
        return (
            "has an @ after a / or ?: in the path and the query write %40 for @, in the user and the password %2F for "
            f"/ and %3F for ?{in_a_file}"
        )
    if not re.fullmatch(LOGIN, login):
        return (
            "has a character in its user or password that must be percent-encoded, such as %20 for a space, %25 for %, "
            f"%40 for @; only {UNENCODED} need no encoding{in_a_file}"
        )
    if not host:
        return "has no host (write it like rtsp://10.0.0.9/stream1)"
    if not (re.fullmatch(HOST, host) and _valid_host(host)):
        return "has an invalid host: it is a name or an IP address, IPv6 in [], without a space"
    if port and not _valid_port(port[1:]):
        return "has an invalid port: it is a number from 1 to 65535"
    return "has a space in its path or query: write %20 for it"


def broker_url(value: Any) -> Any:
    """A broker's URL, or a problem."""
    parts = address(value) if isinstance(value, str) else None
    if isinstance(value, str) and "@" in value:
        raise wrong("must not contain a user or password: write them as username: and password: {secret: NAME}")
    valid = parts and parts.scheme in ("mqtt", "mqtts") and parts.path in ("", "/") and parts.query is None
    if not valid:
        raise wrong("is not the address of a broker (mqtt://host:1883, or mqtts://host:8883 for TLS)")
    return value


def listen(value: Any, example: str) -> ListenAddress:
    """An IP address of this machine and a port, or a problem that shows the example."""
    match = LISTEN.fullmatch(value) if isinstance(value, str) else None
    try:
        parsed = (
            ListenAddress(str(ipaddress.ip_address(match["host"].strip("[]"))), int(match["port"])) if match else None
        )
    except ValueError:
        parsed = None
    if parsed and 0 < parsed.port < 65536:
        return parsed
    port = PORT_ONLY.fullmatch(str(value))
    hint = f"; write 127.0.0.1:{port[1]}" if port and _valid_port(port[1]) else ""
    raise wrong(f"must be an IP address and a port such as {example}, not {shown(value)}{hint}")


def host_name(value: Any) -> Any:
    """A host's name in lower case, or its IP address in the usual form and without brackets; or a problem."""
    text = value.lower() if isinstance(value, str) else ""
    if match := re.fullmatch(r"\[([0-9a-f:.]+)\]|([0-9a-f:.]*:[0-9a-f:.]*)", text):
        with suppress(ValueError):
            return str(ipaddress.IPv6Address(match[1] or match[2]))
    if not re.fullmatch("[a-z0-9._-]+", text) or not _valid_host(text):
        raise wrong(f"must be the name or IP address of a host, without a port or zone, not {shown(value)}")
    return text


def password(value: Any) -> Any:
    """A password as text or `{secret: NAME}`, or a problem."""
    return _text_or_secret(value, "text")


def key_file(value: Any) -> Any:
    """The path of a private key or `{secret: NAME}`, or a problem."""
    if isinstance(value, str) and "-----BEGIN" in value:
        raise wrong("must be the path of a file or {secret: NAME}, not the key itself")
    return _text_or_secret(value, "the path of a file")


def _text_or_secret(value: Any, text: str) -> Any:
    if isinstance(value, dict):
        name = value.get("secret")
        if value.keys() == {"secret"} and isinstance(name, str) and re.fullmatch(SECRET_NAME, name):
            return value
        if any(str(key).startswith("secret:") for key in value):
            raise wrong("must be {secret: NAME}, with a space after the colon")
        raise wrong("must be {secret: NAME}, where NAME is a file name without a folder")
    if not isinstance(value, str):
        raise wrong(f"must be {text} or {{secret: NAME}}")
    if value.startswith("{secret:"):
        raise wrong("must be {secret: NAME}, without quotes and with a space after the colon")
    if not value:
        raise wrong("is empty")
    return value
