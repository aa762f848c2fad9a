"""The unacknowledged messages of this connection, and the meaning of the broker's acknowledgements."""

from __future__ import annotations

from paho.mqtt.reasoncodes import ReasonCode

from edged.mqtt.refused_topics import RefusedTopics


class Acknowledgements:
    """By message id. A refused message is logged by its topic."""

    def __init__(self, refused: RefusedTopics) -> None:
        self._refused = refused
        self._topics: dict[int, str] = {}

    def expect(self, mid: int, topic: str) -> None:
        self._topics[mid] = topic

    def received(self, mid: int, reason: ReasonCode) -> bool:
        """True if the broker accepted the message."""
        topic = self._topics.pop(mid, None)
        if reason.is_failure and topic is not None:
            self._refused.by_acknowledgement(topic, reason)
        return not reason.is_failure

    def connection_lost(self) -> None:
        self._topics.clear()
