"""The topic filters that edged receives messages for. They are subscribed again with each connection."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from paho.mqtt.reasoncodes import ReasonCode

from edged.mqtt.client import PahoClient
from edged.mqtt.failure import in_words

log = logging.getLogger(__name__)


class Subscriptions:
    """A filter that the broker refuses is logged once, until the broker grants it. For one thread."""

    def __init__(self, broker: str, filters: Sequence[str]) -> None:
        self._broker = broker
        self._filters = list(filters)
        self._requested: dict[int, str] = {}  # by message id
        self._refused: set[str] = set()

    def request(self, client: PahoClient) -> None:
        """Subscribe to every filter, QoS 1. Call after CONNACK."""
        self._requested = {}
        for topic_filter in self._filters:
            self._request(topic_filter, client)

    def add(self, topic_filter: str, client: PahoClient | None) -> None:
        """One more filter, subscribed at once if there is a `client` that is connected."""
        if topic_filter not in self._filters:
            self._filters.append(topic_filter)
            if client is not None:
                self._request(topic_filter, client)

    def _request(self, topic_filter: str, client: PahoClient) -> None:
        _, mid = client.subscribe(topic_filter, qos=1)
        if mid is not None:  # None without a connection: the next one asks again
            self._requested[mid] = topic_filter

    def answered(self, mid: int, reasons: Sequence[ReasonCode]) -> None:
        topic_filter = self._requested.pop(mid, None)
        if topic_filter is None or not reasons:
            return
        if not reasons[0].is_failure:
            self._refused.discard(topic_filter)
        elif topic_filter not in self._refused:
            self._refused.add(topic_filter)
            reason = in_words(reasons[0])
            log.warning("broker %s: subscription to %s refused: %s", self._broker, topic_filter, reason)
