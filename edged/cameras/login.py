"""The Authorization header of RTSP and HTTP cameras, in the ways that FFmpeg knows too: Digest with MD5, and Basic."""

from __future__ import annotations

import base64
import hashlib
import secrets
from urllib.request import parse_http_list, parse_keqv_list

from edged.cameras.health import LoginRefused
from edged.cameras.reasons import Address


def authorization(challenges: list[str], target: Address, method: str, uri: str) -> str:
    """The answer to the WWW-Authenticate headers of a 401, Digest before Basic. Raises LoginRefused."""
    schemes = [challenge.partition(" ")[0].lower() for challenge in challenges]
    for scheme, challenge in zip(schemes, challenges, strict=True):
        fields = _fields(challenge) if scheme == "digest" else {}
        if "nonce" in fields and fields.get("algorithm", "MD5").upper() == "MD5":
            return _digest(fields, target, method, uri)
    if "basic" in schemes:
        return "Basic " + base64.b64encode(f"{target.user}:{target.password}".encode()).decode()
    ways = ", ".join(sorted(set(schemes))) or "none"
    raise LoginRefused(f"the camera offers no supported login, Basic or Digest with MD5 (it offers: {ways})")


def _fields(challenge: str) -> dict[str, str]:
    """The fields of a challenge by name; none if it is malformed."""
    pairs = [pair for pair in parse_http_list(challenge.partition(" ")[2]) if "=" in pair]
    try:
        return {name.lower(): value for name, value in parse_keqv_list(pairs).items()}
    except IndexError:  # a name without a value
        return {}


def _digest(fields: dict[str, str], target: Address, method: str, uri: str) -> str:
    realm, nonce = fields.get("realm", ""), fields.get("nonce", "")
    who = _md5(f"{target.user}:{realm}:{target.password}")
    what = _md5(f"{method}:{uri}")
    fields_sent = f'username="{target.user}", realm="{realm}", nonce="{nonce}", uri="{uri}"'
    if "auth" in [quality.strip() for quality in fields.get("qop", "").split(",")]:
        ours = secrets.token_hex(8)
        proof = _md5(f"{who}:{nonce}:00000001:{ours}:auth:{what}")
        fields_sent += f', qop=auth, nc=00000001, cnonce="{ours}", response="{proof}"'
    else:
        fields_sent += f', response="{_md5(f"{who}:{nonce}:{what}")}"'
    return f"Digest {fields_sent}" + (f', opaque="{fields["opaque"]}"' if "opaque" in fields else "")


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()  # what the cameras speak
