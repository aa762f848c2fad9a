"""Topics that the broker does not accept: each is logged once, up to a limit."""

from __future__ import annotations

import logging

log = logging.getLogger(__name__)

LOGGED_LIMIT = 100


class RefusedTopics:
    def __init__(self, broker: str) -> None:
        self._broker = broker
        self._logged: set[str] = set()

    def by_acknowledgement(self, topic: str, reason: str) -> None:
        self._log(topic, "not authorised to publish" if reason == "not authorised" else reason)

    def by_size(self, topic: str, size: int, largest: int) -> None:
        self._log(topic, f"{size} bytes exceed the broker's maximum packet size of {largest}")

    def _log(self, topic: str, reason: str) -> None:
        if topic in self._logged or len(self._logged) >= LOGGED_LIMIT:
            return
        self._logged.add(topic)
        log.warning("broker %s: topic %s refused: %s", self._broker, topic, reason)
        if len(self._logged) == LOGGED_LIMIT:
            log.warning("broker %s: %d topics refused; further ones are not logged", self._broker, LOGGED_LIMIT)
