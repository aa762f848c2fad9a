"""The log lines of a connection: one when an outage begins, one for each further reason, one when it is over."""

from __future__ import annotations

import logging
import time

from paho.mqtt.enums import MQTTProtocolVersion

from edged.core.outage import REASONS_LIMIT
from edged.core.text import counted, spoken

log = logging.getLogger(__name__)


class ConnectionLog:
    """`tries` counts attempts to connect in the current outage."""

    def __init__(self, broker: str) -> None:
        self._broker = broker
        self._since = time.monotonic()
        self._reasons: set[str] = set()
        self._was_connected = False
        self._protocol = MQTTProtocolVersion.MQTTv5  # of the last line that said connected
        self.tries = 0

    def outage_begins(self) -> None:
        self._since, self.tries = time.monotonic(), 0

    def attempt(self) -> None:
        self.tries += 1

    def failed(self, reason: str) -> None:
        if reason not in self._reasons and len(self._reasons) < REASONS_LIMIT:
            self._reasons.add(reason)
            log.warning("broker %s: %s; retrying", self._broker, reason)

    def connected(self, protocol: MQTTProtocolVersion) -> None:
        log.info("broker %s: %s%s", self._broker, self._outcome(), self._protocol_note(protocol))
        self._reasons.clear()
        self._was_connected = True
        self._protocol = protocol

    def _outcome(self) -> str:
        if not self._was_connected and not self._reasons:
            return "connected"
        outcome = "back" if self._was_connected else "connected"
        return f"{outcome} after {spoken(time.monotonic() - self._since)} ({counted(self.tries, 'try', 'tries')})"

    def _protocol_note(self, protocol: MQTTProtocolVersion) -> str:
        fell_back = protocol == MQTTProtocolVersion.MQTTv311 and protocol != self._protocol
        return " (MQTT 3.1.1: the broker does not remove expired answers)" if fell_back else ""
