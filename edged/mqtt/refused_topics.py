"""Topics and subscriptions that the broker does not accept: each is logged once, topics up to a limit.

A topic that is accepted again is logged again when it is refused again.
"""

from __future__ import annotations

import logging
import math

from edged.core.text import shorten
from edged.mqtt.topics import Message

log = logging.getLogger(__name__)

LOGGED_LIMIT = 100
RESPONSES_LIMIT = 10  # of topics of responses, which are as many as those who send requests like


class RefusedTopics:
    def __init__(self, broker: str) -> None:
        self._broker = broker
        self._topics = _Logged("topics", LOGGED_LIMIT)
        self._responses = _Logged("topics of responses", RESPONSES_LIMIT)
        self._subscriptions: set[str] = set()

    def forget(self) -> None:
        """Log all of them again: with a new login, edged has other rights."""
        self._topics.clear()
        self._responses.clear()
        self._subscriptions.clear()

    def by_acknowledgement(self, message: Message, reason: str) -> None:
        if reason == "not authorised":
            reason = "not authorised to publish; its messages are dropped (see `edged acl`)"
        self._log(message, reason)

    def accepted(self, message: Message) -> None:
        """The end of its topic's refusals is logged if the beginning was, and so is the next beginning.

        Not those of a response: their topics are used once. A topic may be refused because of the size of a message;
        then a smaller one is no end.
        """
        if self._of(message).end(message) and not message.is_response:
            log.info("broker %s: topic %s accepted again", self._broker, message.topic)

    def by_size(self, message: Message, size: int, largest: int) -> None:
        reason = f"{size} bytes exceed the broker's maximum packet size of {largest}"
        self._log(message, reason, smallest=len(message.payload))

    def by_ends(self, message: Message, ends: int) -> None:
        """The connection ended with this message so many times in a row."""
        size = len(message.payload)
        self._log(message, f"the connection ended {ends} times in a row with a message of {size} bytes", smallest=size)

    def subscription(self, topic_filter: str, reason: str) -> None:
        """Logged once, until the broker grants it."""
        if topic_filter not in self._subscriptions:
            self._subscriptions.add(topic_filter)
            log.warning("broker %s: subscription to %s refused: %s", self._broker, topic_filter, reason)

    def granted(self, topic_filter: str) -> None:
        """Logged if its refusal was."""
        if topic_filter in self._subscriptions:
            self._subscriptions.discard(topic_filter)
            log.info("broker %s: subscription to %s granted", self._broker, topic_filter)

    def _of(self, message: Message) -> _Logged:
        return self._responses if message.is_response else self._topics

    def _log(self, message: Message, reason: str, smallest: int = 0) -> None:
        logged = self._of(message)
        if not logged.begin(message, smallest):
            return
        log.warning("broker %s: topic %s refused: %s", self._broker, shown_topic(message), reason)
        if logged.just_full():
            what = f"{logged.limit} {logged.what} refused"
            log.warning("broker %s: %s; further ones are not logged", self._broker, what)


class _Logged:
    """The topics whose refusal is logged and not over: at most `limit`."""

    def __init__(self, what: str, limit: int) -> None:
        self.what = what
        self.limit = limit
        self._smallest: dict[str, int] = {}  # by topic: a payload of so many bytes shows that the refusal is over
        self._full_logged = False

    def clear(self) -> None:
        self._smallest.clear()
        self._full_logged = False

    def begin(self, message: Message, smallest: int) -> bool:
        """False if it is not to be logged."""
        if message.topic in self._smallest or len(self._smallest) >= self.limit:
            return False
        self._smallest[message.topic] = smallest
        return True

    def end(self, message: Message) -> bool:
        """True if this ends a refusal that was logged."""
        if len(message.payload) < self._smallest.get(message.topic, math.inf):
            return False
        del self._smallest[message.topic]
        self._full_logged = self._full_logged and bool(self._smallest)
        return True

    def just_full(self) -> bool:
        """True once, when the limit is reached; again only after every refusal was over."""
        full, before = len(self._smallest) >= self.limit, self._full_logged
        self._full_logged = full or before
        return full and not before


def shown_topic(message: Message) -> str:
    """That of a response is chosen by whoever sent the request."""
    return repr(shorten(message.topic)) if message.is_response else message.topic
