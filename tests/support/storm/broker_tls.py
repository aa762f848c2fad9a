"""The certificates of a broker with TLS, and the file with the CA that edged trusts."""

from __future__ import annotations

import shutil
import ssl
from pathlib import Path

from support.broker import HOST, Mosquitto, certificates, sign, until

SHOWN_S = 10.0


class BrokerTls:
    """Two CAs, of which one signs at a time. `listener` are the lines for the broker's config."""

    def __init__(self, folder: Path, trusted: Path, port: int) -> None:
        self.port = port
        self._shown = folder / "shown"
        self._trusted = trusted
        self._cas = [folder / "ca-1", folder / "ca-2"]
        for each in (self._shown, *self._cas):
            each.mkdir(parents=True)
        for each in self._cas:
            certificates(each)
        self._install()
        self.trust()

    @property
    def listener(self) -> str:
        return f"listener {self.port} {HOST}\ncertfile {self._shown}/server.crt\nkeyfile {self._shown}/server.key"

    def trust(self) -> None:
        """edged's file has the CA that signs."""
        new = self._trusted.with_suffix(".new")
        shutil.copy(self._cas[0] / "ca.crt", new)
        new.replace(self._trusted)

    def renew(self, broker: Mosquitto, expired: bool = False) -> None:
        """From now on the broker shows a new certificate on new connections."""
        sign(self._cas[0], "server", "localhost", days=-1 if expired else 2)
        self._install()
        broker.reload()
        wanted = (self._shown / "server.crt").read_text()
        until(lambda: ssl.get_server_certificate((HOST, self.port)) == wanted, SHOWN_S)

    def change_ca(self, broker: Mosquitto) -> None:
        """From now on the broker shows a certificate of the other CA."""
        self._cas.reverse()
        self.renew(broker)

    def _install(self) -> None:
        for name in ("server.crt", "server.key"):
            shutil.copy(self._cas[0] / name, self._shown / name)
