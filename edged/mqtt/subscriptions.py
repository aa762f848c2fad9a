"""The topic filters that edged receives messages for. They are subscribed again with each connection."""

from __future__ import annotations

from collections.abc import Sequence

from paho.mqtt.reasoncodes import ReasonCode

from edged.mqtt.client import PahoClient
from edged.mqtt.failure import in_words
from edged.mqtt.refused_topics import RefusedTopics


class Subscriptions:
    """For one thread.

    The filters `requests` are those of requests. With MQTT 5, a message of theirs is marked retained if it was
    published so. Otherwise only one that the broker had before it was subscribed to is.
    """

    def __init__(self, requests: Sequence[str], filters: Sequence[str] = ()) -> None:
        self._requests = frozenset(requests)
        self._filters = [*requests, *filters]
        self._requested: dict[int, str] = {}  # by message id

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
        mid = client.request(topic_filter, topic_filter in self._requests)
        if mid is not None:  # None without a connection: the next one asks again
            self._requested[mid] = topic_filter

    def answered(self, mid: int, reasons: Sequence[ReasonCode], refused: RefusedTopics) -> None:
        topic_filter = self._requested.pop(mid, None)
        if topic_filter is None or not reasons:
            return
        if reasons[0].is_failure:
            consequence = "; requests are not received" if topic_filter in self._requests else ""
            refused.subscription(topic_filter, in_words(reasons[0]) + consequence)
        else:
            refused.granted(topic_filter)
