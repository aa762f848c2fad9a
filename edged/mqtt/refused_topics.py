"""Topics and subscriptions that the broker does not accept: each is logged once, topics up to a limit.

A topic that is accepted again is logged again when it is refused again.
"""

from __future__ import annotations

import logging

from edged.core.text import shorten
from edged.mqtt.topics import Message

log = logging.getLogger(__name__)

LOGGED_LIMIT = 100
RESPONSES_LIMIT = 10  # of topics of responses, which are as many as those who send requests like


class RefusedTopics:
    def __init__(self, broker: str) -> None:
        self._broker = broker
        self._logged: set[str] = set()
        self._responses: set[str] = set()  # those that were logged
        self._subscriptions: set[str] = set()

    def forget(self) -> None:
        """Log all of them again: with a new login, edged has other rights."""
        self._logged.clear()
        self._responses.clear()
        self._subscriptions.clear()

    def by_acknowledgement(self, message: Message, reason: str) -> None:
        self._log(message, "not authorised to publish" if reason == "not authorised" else reason)

    def accepted(self, topic: str) -> None:
        """The end of its refusals is logged if the beginning was, and so is the next beginning."""
        if topic in self._logged:
            self._logged.discard(topic)
            log.info("broker %s: topic %s accepted again", self._broker, topic)

    def by_size(self, message: Message, size: int, largest: int) -> None:
        self._log(message, f"{size} bytes exceed the broker's maximum packet size of {largest}")

    def by_ends(self, message: Message, ends: int) -> None:
        """The connection ended with this message so many times in a row."""
        size = len(message.payload)
        self._log(message, f"the connection ended {ends} times in a row with a message of {size} bytes")

    def subscription(self, topic_filter: str, reason: str) -> None:
        """Logged once, until the broker grants it."""
        if topic_filter not in self._subscriptions:
            self._subscriptions.add(topic_filter)
            log.warning("broker %s: subscription to %s refused: %s", self._broker, topic_filter, reason)

    def granted(self, topic_filter: str) -> None:
        self._subscriptions.discard(topic_filter)

    def _log(self, message: Message, reason: str) -> None:
        logged, limit, what = self._logged, LOGGED_LIMIT, "topics"
        if message.is_response:
            logged, limit, what = self._responses, RESPONSES_LIMIT, "topics of responses"
        if message.topic in logged or len(logged) >= limit:
            return
        logged.add(message.topic)
        log.warning("broker %s: topic %s refused: %s", self._broker, shown_topic(message), reason)
        if len(logged) == limit:
            log.warning("broker %s: %d %s refused; further ones are not logged", self._broker, limit, what)


def shown_topic(message: Message) -> str:
    """That of a response is chosen by whoever sent the request."""
    return repr(shorten(message.topic)) if message.is_response else message.topic
