"""The Authorization header for RTSP and HTTP cameras: Digest (RFC 7616) and Basic."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Sequence
from urllib.request import parse_http_list, parse_keqv_list

from edged.cameras.camera_url import CameraUrl
from edged.cameras.reasons import LoginRefused

FFMPEG_ALGORITHMS = ("MD5", "MD5-SESS")  # all that FFmpeg supports, which opens the RTSP streams
ALGORITHMS = (*FFMPEG_ALGORITHMS, "SHA-256", "SHA-256-SESS")
TOKEN = re.compile(r"[A-Za-z0-9-]{1,20}")


def authorization(challenges: list[str], target: CameraUrl, method: str, uri: str, algorithms: Sequence[str]) -> str:
    """The answer to the WWW-Authenticate headers of a 401. Raises LoginRefused if none of them is supported.

    Takes the first Digest challenge with one of `algorithms`, as cameras list the strongest first; else Basic.
    """
    parsed = [(challenge.partition(" ")[0].lower(), _fields(challenge)) for challenge in challenges]
    for scheme, fields in parsed:
        if scheme == "digest" and "nonce" in fields and _algorithm(fields) in algorithms:
            return digest(fields, target, method, uri, secrets.token_hex(8))
    if "basic" in (scheme for scheme, _ in parsed):
        return "Basic " + base64.b64encode(f"{target.user}:{target.password}".encode()).decode()
    offered = ", ".join(sorted({_shown(scheme, fields) for scheme, fields in parsed})) or "none"
    supported = ", ".join(name for name in algorithms if not name.endswith("-SESS"))
    raise LoginRefused(
        f"the camera offers no supported login (offered: {offered}; supported: Basic, Digest with {supported})"
    )


def _fields(challenge: str) -> dict[str, str]:
    """The fields of a challenge by name in lower case; none if it is malformed."""
    pairs = [pair for pair in parse_http_list(challenge.partition(" ")[2]) if "=" in pair]
    try:
        return {name.lower(): value for name, value in parse_keqv_list(pairs).items()}
    except IndexError:  # a name without a value
        return {}


def _algorithm(fields: dict[str, str]) -> str:
    return fields.get("algorithm", "MD5").upper()


def _shown(scheme: str, fields: dict[str, str]) -> str:
    """A challenge's scheme and algorithm. The camera may send anything, so other text is left out."""
    names = (scheme.capitalize(), _algorithm(fields)) if scheme == "digest" else (scheme.capitalize(),)
    return " with ".join(name if TOKEN.fullmatch(name) else "unknown" for name in names)


def digest(fields: dict[str, str], target: CameraUrl, method: str, uri: str, cnonce: str) -> str:
    """The answer to one Digest challenge. Without `qop`, as in RFC 2069, if the camera does not offer `auth`."""
    algorithm, realm, nonce = _algorithm(fields), fields.get("realm", ""), fields["nonce"]
    has_qop = "auth" in [quality.strip() for quality in fields.get("qop", "").split(",")]
    key = _hash(algorithm, target.user or "", realm, target.password)
    if algorithm.endswith("-SESS"):
        key = _hash(algorithm, key, nonce, cnonce)
    middle = ("00000001", cnonce, "auth") if has_qop else ()
    response = _hash(algorithm, key, nonce, *middle, _hash(algorithm, method, uri))
    answer = f'Digest username="{target.user}", realm="{realm}", nonce="{nonce}", uri="{uri}", response="{response}"'
    if "algorithm" in fields:
        answer += f", algorithm={fields['algorithm']}"
    if has_qop:
        answer += ", qop=auth, nc=00000001"
    if has_qop or algorithm.endswith("-SESS"):
        answer += f', cnonce="{cnonce}"'
    return answer + (f', opaque="{fields["opaque"]}"' if "opaque" in fields else "")


def _hash(algorithm: str, *parts: str) -> str:
    data = ":".join(parts).encode()
    if algorithm.startswith("SHA-256"):
        return hashlib.sha256(data).hexdigest()
    return hashlib.md5(data, usedforsecurity=False).hexdigest()  # the camera asks for it
