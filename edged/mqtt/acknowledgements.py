"""The unacknowledged messages of this connection, and the meaning of the broker's acknowledgements."""

from __future__ import annotations

import logging
import math
import time
from typing import Literal, TypeAlias

from paho.mqtt.reasoncodes import ReasonCode

from edged.mqtt.back_off import retry_pause_s
from edged.mqtt.failure import Failure, in_words
from edged.mqtt.refused_topics import RefusedTopics, shown_topic
from edged.mqtt.suspects import Suspects
from edged.mqtt.topics import Message

log = logging.getLogger(__name__)

TEMPORARY = (0x80, 0x83, 0x97)  # MQTT 5: unspecified error, implementation specific error, quota exceeded
OVER_AFTER = 50  # messages that are accepted in a row: what was refused for now is not sent any more
MOST_TRIES = 10  # of a topic that is refused although others are accepted: about five minutes

Outcome: TypeAlias = Literal["accepted", "refused", "not_now"]


class Acknowledgements:
    """By message id. Reasons of refusals are logged."""

    def __init__(self, broker: str, refused: RefusedTopics, suspects: Suspects) -> None:
        self._broker = broker
        self._refused = refused
        self._suspects = suspects
        self._sent: dict[int, tuple[Message, float]] = {}  # with the time; in the order in which they were sent
        self.too_large: int | None = None  # a picture of so many bytes has probably ended the connection
        self._tries: dict[str, int] = {}  # of topics that were refused for now
        self._given_up: set[str] = set()  # topics refused MOST_TRIES times: a later message of theirs gets one try
        self._accepted = 0  # messages since the first of those
        self._accepted_in_row = 0  # since the last of those
        self._paused_until = 0.0

    def expect(self, mid: int, message: Message) -> None:
        self._sent[mid] = (message, time.monotonic())

    @property
    def oldest(self) -> float:
        """When the oldest unacknowledged message was sent (monotonic); infinite without one."""
        return next((sent_at for _, sent_at in self._sent.values()), math.inf)

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
        message, _ = self._sent.pop(mid, (None, 0.0))
        if message is None:
            return "refused" if reason.is_failure else "accepted"
        self._suspects.acknowledged(message.topic)
        if not reason.is_failure:
            self._accept(message)
            return "accepted"
        if reason.value in TEMPORARY:
            if not self._hopeless(message.topic):
                self._wait(message, in_words(reason))
                return "not_now"
            if not message.is_response:  # their topics are as many as those who send requests like
                self._given_up.add(message.topic)
        self._tries.pop(message.topic, None)
        self._refused.by_acknowledgement(message, in_words(reason))
        return "refused"

    def connection_lost(self, failure: Failure) -> None:
        sent = [message for message, _ in self._sent.values()]
        largest = max(sent, key=lambda message: len(message.payload), default=None)
        if largest and largest.payload and largest.is_picture and failure.kind in ("protocol", "too_large"):
            size = len(largest.payload)
            self.too_large = min(size, self.too_large or size)
        self._suspects.connection_lost({message.topic: message for message in sent}, failure)
        self.connection_closed()

    def connection_closed(self) -> None:
        """By edged."""
        self._sent.clear()
        self._paused_until = 0.0

    def _accept(self, message: Message) -> None:
        topic = message.topic
        self._accepted += 1
        self._accepted_in_row += 1
        refusing = self.refusing
        self._tries.pop(topic, None)
        if self._accepted_in_row >= OVER_AFTER:
            self._tries.clear()
        self._given_up.discard(topic)
        self._refused.accepted(message)
        if refusing and not self._tries:
            exception = ", except those of refused topics" if self._given_up else ""
            log.info("broker %s: accepts all messages again%s", self._broker, exception)

    def _hopeless(self, topic: str) -> bool:
        """True if the broker accepts others: this one would delay them for ever."""
        if topic in self._given_up and not self.refusing:
            return True
        return self._accepted > 0 and (topic in self._given_up or self._tries.get(topic, 0) >= MOST_TRIES)

    def _wait(self, message: Message, reason: str) -> None:
        topic, self._accepted_in_row = message.topic, 0
        if not self._tries:
            self._accepted = 0
            shown = shown_topic(message)
            log.warning("broker %s: topic %s temporarily refused: %s; retrying", self._broker, shown, reason)
        if not self.pause_s:
            self._tries[topic] = self._tries.get(topic, 0) + 1
            self._paused_until = time.monotonic() + retry_pause_s(self._tries[topic])
        else:
            self._tries.setdefault(topic, 1)
