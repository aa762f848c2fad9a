"""The log lines of a connection: one when an outage begins, one for each further reason, one when it is over."""

from __future__ import annotations

import logging
import time

from paho.mqtt.enums import MQTTProtocolVersion

from edged.core.outage import REASONS_LIMIT
from edged.core.text import counted, spoken
from edged.mqtt.failure import CREDENTIALS, Failure

log = logging.getLogger(__name__)


class ConnectionLog:
    """An outage lasts until `connected` is called, over any number of connections that replace each other."""

    def __init__(self, broker: str) -> None:
        self._broker = broker
        self._since: float | None = None  # when the outage began; None: there is none
        self._tries = 0  # attempts to connect in this outage
        self._logged: set[Failure] = set()  # in this outage
        self._outage_logged = False
        self._was_connected = False
        self._protocol = MQTTProtocolVersion.MQTTv5  # of the last line that said connected

    def outage_begins(self) -> None:
        """Also before the first connection. Does nothing during an outage."""
        if self._since is None:
            self._since, self._tries = time.monotonic(), 0

    def attempt(self) -> None:
        self._tries += 1

    def failed(self, failure: Failure, then: str = "retrying") -> None:
        """`then` is what happens now, or what has to be done."""
        if failure not in self._logged and len(self._logged) < REASONS_LIMIT:
            self._logged.add(failure)
            self._outage_logged = True
            log.warning("broker %s: %s; %s", self._broker, failure.text, then)

    def new_login(self) -> None:
        """Log it if the broker does not accept this one either."""
        self._logged = {failure for failure in self._logged if failure.kind not in CREDENTIALS}

    def connected(self, protocol: MQTTProtocolVersion) -> None:
        log.info("broker %s: %s%s", self._broker, self._outcome(), self._protocol_note(protocol))
        self._logged.clear()
        self._since, self._outage_logged, self._was_connected = None, False, True
        self._protocol = protocol

    def _outcome(self) -> str:
        if self._since is None or not self._outage_logged:
            return "connected"
        outcome = "back" if self._was_connected else "connected"
        return f"{outcome} after {spoken(time.monotonic() - self._since)} ({counted(self._tries, 'try', 'tries')})"

    def _protocol_note(self, protocol: MQTTProtocolVersion) -> str:
        fell_back = protocol == MQTTProtocolVersion.MQTTv311 and protocol != self._protocol
        return " (MQTT 3.1.1: the broker does not remove expired answers)" if fell_back else ""
