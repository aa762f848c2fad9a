"""TLS to the broker. The CA file is read and checked before the first connection is tried."""

from __future__ import annotations

import ssl
from pathlib import Path

from edged.core.errors import FileUnusable
from edged.core.specs import BrokerSpec
from edged.core.text import system_text

PEM = (b"-----BEGIN CERTIFICATE-----", b"-----BEGIN TRUSTED CERTIFICATE-----", b"-----BEGIN X509 CERTIFICATE-----")


class _Socket(ssl.SSLSocket):
    """Closes itself when its handshake fails; paho would leave that to the garbage collector."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def tls_context(spec: BrokerSpec) -> ssl.SSLContext | None:
    """None for a broker without TLS. Raises FileUnusable with the CA file and the reason."""
    if not spec.tls:
        return None
    if spec.ca is not None and (problem := _ca_problem(spec.ca)):
        raise FileUnusable(f"mqtt: ca file {spec.ca} cannot be used: {problem}")
    context = ssl.create_default_context(cafile=spec.ca)
    context.sslsocket_class = _Socket
    return context


def _ca_problem(ca: Path) -> str | None:
    """Why no certificate could be verified with this file."""
    try:
        content = ca.read_bytes()
        if not content.strip():
            return "the file is empty"
        if not any(mark in content for mark in PEM):
            return "it contains no certificate in PEM format"
        ssl.create_default_context(cafile=ca)
    except ssl.SSLError as error:
        return f"damaged certificate ({(error.reason or str(error)).lower().replace('_', ' ')})"
    except OSError as error:
        return system_text(error)
    return None
