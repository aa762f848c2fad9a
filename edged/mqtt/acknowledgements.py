"""The unacknowledged messages of this connection, and the meaning of the broker's acknowledgements."""

from __future__ import annotations

import logging
import math
import time
from typing import Literal, TypeAlias

from paho.mqtt.reasoncodes import ReasonCode

from edged.mqtt.back_off import retry_pause_s
from edged.mqtt.failure import Failure, in_words
from edged.mqtt.refused_topics import RefusedTopics
from edged.mqtt.topics import is_picture

log = logging.getLogger(__name__)

TEMPORARY = (0x80, 0x83, 0x97)  # MQTT 5: unspecified error, implementation specific error, quota exceeded
MOST_TRIES = 10  # of a topic that is refused although others are accepted: about five minutes

Outcome: TypeAlias = Literal["accepted", "refused", "not_now"]


class Acknowledgements:
    """By message id. Reasons of refusals are logged."""

    def __init__(self, broker: str, refused: RefusedTopics) -> None:
        self._broker = broker
        self._refused = refused
        self._sent: dict[int, tuple[str, int, float]] = {}  # topic, bytes, time; in the order in which they were sent
        self.too_large: int | None = None  # a picture of so many bytes has probably ended the connection
        self._tries: dict[str, int] = {}  # of topics that were refused for now
        self._accepted = 0  # messages since the first of those
        self._paused_until = 0.0

    def expect(self, mid: int, topic: str, size: int) -> None:
        """`size` is that of the payload, in bytes."""
        self._sent[mid] = (topic, size, time.monotonic())

    @property
    def oldest(self) -> float:
        """When the oldest unacknowledged message was sent (monotonic); infinite without one."""
        return next((sent_at for *_, sent_at in self._sent.values()), math.inf)

    @property
    def pause_s(self) -> float:
        """So long nothing should be sent, because the broker has refused messages for now; 0 otherwise."""
        return max(0.0, self._paused_until - time.monotonic())

    @property
    def refusing(self) -> bool:
        """True from a refusal for now until that topic is accepted."""
        return bool(self._tries)

    def received(self, mid: int, reason: ReasonCode) -> Outcome:
        """`not_now`: the same message may be accepted later."""
        topic, *_ = self._sent.pop(mid, (None, 0, 0.0))
        if topic is None:
            return "refused" if reason.is_failure else "accepted"
        if not reason.is_failure:
            self._accept(topic)
            return "accepted"
        if reason.value in TEMPORARY and not self._hopeless(topic):
            self._wait(topic, in_words(reason))
            return "not_now"
        self._tries.pop(topic, None)
        self._refused.by_acknowledgement(topic, in_words(reason))
        return "refused"

    def connection_lost(self, failure: Failure) -> None:
        pictures = [size for topic, size, _ in self._sent.values() if is_picture(topic)]
        if failure.kind == "protocol" and pictures:
            # mosquitto's message_size_limit: its PUBACK has a reason code (0x95) that paho takes for an invalid packet.
            self.too_large = min(max(pictures), self.too_large or max(pictures))
        self._sent.clear()
        self._paused_until = 0.0

    def _accept(self, topic: str) -> None:
        self._accepted += 1
        if self._tries.pop(topic, None) and not self._tries:
            log.info("broker %s: accepts all messages again", self._broker)

    def _hopeless(self, topic: str) -> bool:
        """True if the broker accepts others: this one would delay them for ever."""
        return self._tries.get(topic, 0) >= MOST_TRIES and self._accepted > 0

    def _wait(self, topic: str, reason: str) -> None:
        if not self._tries:
            self._accepted = 0
            log.warning("broker %s: topic %s refused for now: %s; sending again", self._broker, topic, reason)
        if not self.pause_s:
            self._tries[topic] = self._tries.get(topic, 0) + 1
            self._paused_until = time.monotonic() + retry_pause_s(self._tries[topic])
        else:
            self._tries.setdefault(topic, 1)
