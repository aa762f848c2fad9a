"""The password and the certificates for the broker, read again when their files have changed."""

from __future__ import annotations

import hashlib
import logging
import ssl
from dataclasses import dataclass, replace
from pathlib import Path

from edged.config.credentials import SecretUnavailable, read_secret
from edged.config.document import read_bytes
from edged.core.errors import FileUnusable
from edged.core.secret import Secret
from edged.core.specs import BrokerSpec
from edged.mqtt.tls import tls_context

log = logging.getLogger(__name__)

NONE = Secret("")


@dataclass(frozen=True, slots=True)
class Login:
    """What a client needs to connect. The spec has the newest password."""

    spec: BrokerSpec
    tls: ssl.SSLContext | None


class LoginFiles:
    """For one thread. A password that is written in the config does not change here."""

    def __init__(self, spec: BrokerSpec) -> None:
        self._spec = spec
        self._seen = b""
        self._logged = ""

    def read(self) -> Login:
        """As the config was read; certificates from their files. Raises FileUnusable."""
        self._seen = self._digest(self._spec.password)
        return Login(self._spec, tls_context(self._spec))

    def changed(self) -> Login | None:
        """With the files' new content; None if it is the same as at the last call, or cannot be used."""
        try:
            password = self._password()
            digest = self._digest(password)
            login = None
            if digest != self._seen:
                login = Login(replace(self._spec, password=password), tls_context(self._spec))
        except (FileUnusable, SecretUnavailable) as error:  # it may be half-written
            self._log(str(error))
            return None
        self._seen, self._logged = digest, ""
        return login

    def _password(self) -> Secret | None:
        files = self._spec.password_files
        return Secret(read_secret(files)) if files else self._spec.password

    def _digest(self, password: Secret | None) -> bytes:
        shows = self._spec.client_certificate
        files = [self._spec.ca, *((shows.certificate, shows.key) if shows else ())]
        contents = [_content(file) for file in files if file]
        digests = [hashlib.sha256(content).digest() for content in (*contents, (password or NONE).reveal().encode())]
        return hashlib.sha256(b"".join(digests)).digest()

    def _log(self, problem: str) -> None:
        if problem != self._logged:
            self._logged = problem
            log.warning("broker %s: %s; retrying with the previous login", self._spec.shown, problem)


def _content(file: Path) -> bytes:
    try:
        return read_bytes(file)
    except OSError as error:
        return repr(error).encode()
