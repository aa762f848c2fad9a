"""Messages with which the connection ends: brokers may give no other sign that they do not accept one.

All messages without acknowledgement are suspects when a connection ends. In the next connection messages are sent one
by one, so that one suspect is left; after some ends in a row it is not sent any more.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

from edged.mqtt.failure import ABOUT_A_MESSAGE, Failure
from edged.mqtt.refused_topics import RefusedTopics
from edged.mqtt.topics import Message

ENDS_LIMIT = 3  # in a row, if the broker said or showed that it was because of a message
LOST_LIMIT = 6  # in a row, if it did not: the network may be bad
CAREFUL_S = 60.0  # how long messages are sent one by one: a suspect may never be sent again
BLOCKED_S = 3600.0  # after that, a message like it is tried again


class Suspects:
    """By topic. For one thread."""

    def __init__(self, refused: RefusedTopics) -> None:
        self._refused = refused
        self._ends: dict[str, int] = {}  # in a row, of connections in which this topic was not acknowledged
        self._careful = False
        self._careful_until = -math.inf
        self._accepts = False  # the broker has accepted a message in this connection
        self._blocked: dict[str, tuple[int, float]] = {}  # smallest blocked payload, and until when

    @property
    def careful(self) -> bool:
        """True if only one message may be without acknowledgement."""
        return self._careful and bool(self._ends) and time.monotonic() < self._careful_until

    def blocks(self, message: Message) -> bool:
        size, until = self._blocked.get(message.topic, (0, -math.inf))
        return len(message.payload) >= size and time.monotonic() < until

    def forget_blocked(self) -> None:
        """Try again what was blocked: the broker may accept it now."""
        self._blocked.clear()

    def connected(self) -> None:
        self._accepts = False
        self._careful_until = time.monotonic() + CAREFUL_S

    def acknowledged(self, topic: str) -> None:
        self._accepts = True
        self._ends.pop(topic, None)

    def connection_lost(self, sent: Mapping[str, Message], failure: Failure) -> None:
        """`sent` are the messages without acknowledgement, by topic.

        If the connection was just lost, they are suspects only where the broker has accepted others in it: one that
        accepts nothing may be out of order, and no message would be to blame.
        """
        shown = failure.kind in ABOUT_A_MESSAGE
        if failure.kind == "taken_over" or not (shown or self._accepts):
            return
        self._ends = {topic: self._ends.get(topic, 0) + 1 for topic in sent}
        ends = max(self._ends.values(), default=0)
        self._careful = shown or ends > 1
        if len(sent) == 1 and ends >= (ENDS_LIMIT if shown else LOST_LIMIT):
            [message] = sent.values()
            self._block(message, ends, failure)

    def _block(self, message: Message, ends: int, failure: Failure) -> None:
        now, size = time.monotonic(), len(message.payload)
        self._ends.clear()
        self._blocked = {topic: block for topic, block in self._blocked.items() if now < block[1]}
        self._blocked[message.topic] = (0 if failure.kind == "rejected" else size, now + BLOCKED_S)
        self._refused.by_ends(message, ends)
