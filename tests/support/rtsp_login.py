"""The scripted RTSP server's side of a Basic or Digest login."""

from __future__ import annotations

import base64
import hashlib
import re

from support.rtsp_script import Login

NONCE = "n0nce"


def challenges(login: Login) -> list[str]:
    """The values of the WWW-Authenticate headers."""
    return [
        'Basic realm="cam"' if each == "Basic" else f'Digest realm="cam", nonce="{NONCE}", algorithm={each}, qop="auth"'
        for each in login.challenges
    ]


def is_admitted(login: Login, method: str, authorization: str) -> bool:
    scheme, _, credentials = authorization.partition(" ")
    if scheme == "Basic":
        expected = base64.b64encode(f"{login.user}:{login.password}".encode()).decode()
        return "Basic" in login.challenges and credentials == expected
    fields = {
        name: quoted or plain for name, quoted, plain in re.findall(r'(\w+)=(?:"([^"]*)"|([^",\s]+))', credentials)
    }
    algorithm = fields.get("algorithm", "MD5")
    return algorithm in login.challenges and fields.get("response") == _response(login, method, algorithm, fields)


def _response(login: Login, method: str, algorithm: str, fields: dict[str, str]) -> str:
    digest = hashlib.sha256 if algorithm == "SHA-256" else hashlib.md5

    def hashed(*parts: str) -> str:
        return digest(":".join(parts).encode()).hexdigest()

    secret, request = hashed(login.user, "cam", login.password), hashed(method, fields.get("uri", ""))
    middle = [fields["nc"], fields["cnonce"], fields["qop"]] if fields.keys() >= {"nc", "cnonce", "qop"} else []
    return hashed(secret, NONCE, *middle, request)
