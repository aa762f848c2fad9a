"""The unacknowledged messages of this connection, and the meaning of the broker's acknowledgements."""

from __future__ import annotations

import math
import time

from paho.mqtt.reasoncodes import ReasonCode

from edged.mqtt.refused_topics import RefusedTopics


class Acknowledgements:
    """By message id. A refused message is logged by its topic."""

    def __init__(self, refused: RefusedTopics) -> None:
        self._refused = refused
        self._topics: dict[int, tuple[str, float]] = {}  # in the order in which they were sent

    def expect(self, mid: int, topic: str) -> None:
        self._topics[mid] = (topic, time.monotonic())

    @property
    def oldest(self) -> float:
        """When the oldest unacknowledged message was sent (monotonic); infinite without one."""
        return next((sent_at for _, sent_at in self._topics.values()), math.inf)

    def received(self, mid: int, reason: ReasonCode) -> bool:
        """True if the broker accepted the message."""
        topic, _ = self._topics.pop(mid, (None, 0.0))
        if reason.is_failure and topic is not None:
            self._refused.by_acknowledgement(topic, reason)
        return not reason.is_failure

    def connection_lost(self) -> None:
        self._topics.clear()
