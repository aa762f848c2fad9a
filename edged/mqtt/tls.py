"""TLS to the broker. The files of the certificates are read and checked before the first connection is tried."""

from __future__ import annotations

import re
import ssl
from pathlib import Path

from edged.core.errors import FileUnusable
from edged.core.specs import BrokerSpec, ClientCertificate
from edged.core.text import system_text

CERTIFICATE = re.compile(rb"-----BEGIN (TRUSTED |X509 )?CERTIFICATE-----")
PRIVATE_KEY = re.compile(rb"-----BEGIN ([A-Z]+ )*PRIVATE KEY-----")
ENCRYPTED = re.compile(rb"-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: 4,ENCRYPTED")
OF_ANOTHER_CERTIFICATE = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH")


class TlsSocket(ssl.SSLSocket):
    """Closes itself when its handshake fails; paho would leave that to the garbage collector.

    `alert` is the TLS alert by which the broker ended the connection: with TLS 1.3 it refuses a client certificate only
    after the handshake, and paho drops the error.
    """

    alert: ssl.SSLError | None = None

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        try:
            return super().recv(buflen, flags)
        except ssl.SSLError as error:
            if "ALERT" in (error.reason or ""):
                self.alert = error
            raise


def tls_context(spec: BrokerSpec) -> ssl.SSLContext | None:
    """None for a broker without TLS. Raises FileUnusable with the file and the reason."""
    if not spec.tls:
        return None
    if spec.ca is not None and (problem := _certificate_problem(spec.ca)):
        raise FileUnusable(f"mqtt: ca file {spec.ca} cannot be used: {problem}")
    context = ssl.create_default_context(cafile=spec.ca)
    context.sslsocket_class = TlsSocket
    if spec.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if spec.client_certificate is not None:
        _show(context, spec.client_certificate)
    return context


def words(error: ssl.SSLError) -> str:
    """OpenSSL's reason in words: `no shared cipher`."""
    return (error.reason or str(error)).lower().replace("_", " ")


def _show(context: ssl.SSLContext, files: ClientCertificate) -> None:
    """Let the context show this certificate. Raises FileUnusable."""
    certificate, key = files.certificate, files.key
    if problem := _certificate_problem(certificate):
        raise FileUnusable(f"mqtt: client certificate {certificate} cannot be used: {problem}")
    if problem := _key_problem(key):
        raise FileUnusable(f"mqtt: key {key} of the client certificate cannot be used: {problem}")
    try:
        # OpenSSL would ask for the passphrase of an encrypted key at the terminal.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except ssl.SSLError as error:
        if error.reason in OF_ANOTHER_CERTIFICATE:
            raise FileUnusable(f"mqtt: key {key} does not belong to client certificate {certificate}") from None
        text = f"mqtt: client certificate {certificate} with key {key} cannot be used: {words(error)}"
        raise FileUnusable(text) from None
    except OSError as error:  # removed since it was checked
        text = f"mqtt: client certificate {certificate} with key {key} cannot be used: {system_text(error)}"
        raise FileUnusable(text) from None


def _certificate_problem(file: Path) -> str | None:
    try:
        content = file.read_bytes()
        if not content.strip():
            return "the file is empty"
        if not CERTIFICATE.search(content):
            return "it contains no certificate in PEM format"
        ssl.create_default_context(cafile=file)
    except ssl.SSLError as error:
        return f"damaged certificate ({words(error)})"
    except OSError as error:
        return system_text(error)
    return None


def _key_problem(file: Path) -> str | None:
    try:
        content = file.read_bytes()
    except OSError as error:
        return system_text(error)
    if not content.strip():
        return "the file is empty"
    if ENCRYPTED.search(content):
        return f"it is encrypted (openssl pkey -in {file.name} -out NEW writes it without a passphrase)"
    if not PRIVATE_KEY.search(content):
        return "it contains no private key in PEM format"
    return None
