"""The pictures of looks, and when they may be sent. Not thread-safe.

A picture follows the answers of its look. It is dropped if an answer of a newer look of its camera is sent before it.
So a subscriber that gets a picture has the answers that belong to it, and no newer ones. The broker may refuse an
answer for now and accept the picture that was sent after it; then the picture is sent again after the answer.

A topic whose picture has expired is cleared, as that of an answer. A clearing is never sent after a newer picture.

A picture that was taken with other settings than those of the config, such as another mask, is not sent.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from edged.mqtt.outbox import Pending
from edged.mqtt.retained import RetainedMessage, RetainedTopics, clearing
from edged.mqtt.topics import JPEG_TYPE

WAITING_LIMIT = 2  # of a camera: the picture whose turn comes next, and the newest


@dataclass(frozen=True, slots=True, eq=False)
class _Picture:
    """A picture and the answers of its look, which it follows."""

    message: RetainedMessage
    answers: tuple[Pending, ...] = field(repr=False)

    def is_behind(self, answer: Pending) -> bool:
        """True if the answer is of a newer look of the same camera."""
        last = self.answers[-1]
        return answer.stored.camera == last.stored.camera and answer.number > last.number


class LookPictures:
    """`is_sent` tells if an answer was sent in this connection, or will never be."""

    def __init__(self, is_sent: Callable[[Pending], bool]) -> None:
        self._is_sent = is_sent
        self._waiting: dict[str, deque[_Picture]] = {}  # by topic
        self._sent: dict[str, _Picture] = {}  # the last of each topic: sent again at each connect
        self._clearings = RetainedTopics()
        self._settings: Mapping[str, str] | None = None  # by topic; None before `follow`
        # Topics where the broker may have a picture that must not be seen any more, until it has accepted the clearing,
        # or a newer picture.
        self._outdated: set[str] = set()
        # When pictures expire (monotonic), by topic, until the topic is cleared:
        self._accepted: dict[str, float] = {}  # the last that the broker has accepted
        self._unanswered: dict[str, float] = {}  # the last that was sent, if the broker has not answered it

    @property
    def unsent(self) -> int:
        return self._clearings.unsent + sum(map(len, self._waiting.values()))

    def send(self, message: RetainedMessage, answers: Sequence[Pending]) -> None:
        """The picture of a look with these answers. It replaces an older one that waits."""
        if not self._is_current(message):
            return
        waiting = self._waiting.setdefault(message.topic, deque())
        if len(waiting) == WAITING_LIMIT:
            waiting.pop()
        waiting.append(_Picture(message, tuple(answers)))

    def follow(self, settings: Mapping[str, str]) -> None:
        """Pictures of these topics must have been taken with these settings. Others are not sent, or are cleared."""
        self._settings = settings
        for topic, waiting in self._waiting.items():
            self._waiting[topic] = deque(picture for picture in waiting if self._is_current(picture.message))
        self.outdate([topic for topic, picture in self._sent.items() if not self._is_current(picture.message)])

    def outdate(self, topics: Sequence[str]) -> None:
        """What the broker has on these topics must not be seen any more. What waits is sent."""
        for topic in topics:
            self._sent.pop(topic, None)
            self._clear(topic)

    def clear(self, topic: str) -> None:
        self._drop(topic)
        self._clear(topic)

    def is_outdated(self, topic: str) -> bool:
        """True if the broker may still have a picture that must not be seen any more."""
        return topic in self._outdated

    def left_at_broker(self) -> dict[str, float]:
        """By topic, when what the broker may have expires (monotonic): in the past if it must not be seen any more."""
        return self._expiries() | dict.fromkeys(self._outdated, -math.inf)

    def left(self, expiries: Mapping[str, float]) -> None:
        """Another queue, or an earlier process, has left pictures that expire at these times; see `left_at_broker`."""
        for topic, until in expiries.items():
            self._accepted[topic] = max(until, self._accepted.get(topic, -math.inf))

    def expire(self) -> None:
        """Clear the topics whose last picture has expired."""
        now = time.monotonic()
        for topic, until in self._expiries().items():
            if until <= now and topic not in self._clearings:
                self._clear(topic)

    def answer_sent(self, answer: Pending) -> None:
        """Drop the pictures that this answer is ahead of."""
        for topic, waiting in self._waiting.items():
            while waiting and waiting[0].is_behind(answer):
                waiting.popleft()
            if topic in self._sent and self._sent[topic].is_behind(answer):
                del self._sent[topic]

    def answer_refused(self, answer: Pending) -> None:
        """The broker has refused it for now: a picture that was sent after it is sent again after it."""
        for topic in [topic for topic, picture in self._sent.items() if answer in picture.answers]:
            self._send_again(topic)

    def take(self) -> RetainedMessage | None:
        """The next to send; expired ones are dropped."""
        if (cleared := self.take_clearing()) is not None:
            return cleared
        for topic in list(self._waiting):
            waiting = self._waiting[topic]
            while waiting and waiting[0].message.expired:
                waiting.popleft()
            if waiting and all(map(self._is_sent, waiting[0].answers)):
                self._waiting[topic] = self._waiting.pop(topic)  # the other cameras are next
                return self._taken(waiting.popleft()).message
        return None

    def take_clearing(self) -> RetainedMessage | None:
        """The next clearing to send."""
        return self._clearings.take()

    def put_back(self, message: RetainedMessage) -> None:
        """Put a message back that was taken and not sent."""
        self._clearings.put_back(message)
        if (sent := self._sent.get(message.topic)) and sent.message is message:
            self._send_again(message.topic)

    def settle(self, message: RetainedMessage, accepted: bool) -> bool:
        """The broker has accepted or refused it. True if there is no newer one of its topic."""
        topic = message.topic
        if message.clears:
            newest = self._clearings.settle(message)
            if newest:
                self._accepted.pop(topic, None)
                self._unanswered.pop(topic, None)
        else:
            newest = self._unanswered.get(topic) == message.until
            if newest:
                del self._unanswered[topic]
            if accepted:
                self._accepted[topic] = message.until
            elif newest and topic in self._outdated:  # it has not replaced what must not be seen
                self._clear(topic)
        if newest and accepted and topic not in self._clearings:
            self._outdated.discard(topic)
        return newest

    def send_all(self) -> None:
        """Send the last picture of each topic again, and before that every clearing that may not have arrived."""
        for topic in self._outdated:
            self._clear(topic)
        self._clearings.send_all()
        for topic in list(self._sent):
            self._send_again(topic)

    def drop_all(self) -> None:
        """Send nothing but clearings."""
        for topic in list(self._waiting):
            self._drop(topic)

    def _is_current(self, message: RetainedMessage) -> bool:
        return self._settings is None or self._settings.get(message.topic, message.settings) == message.settings

    def _clear(self, topic: str) -> None:
        self._outdated.add(topic)
        self._clearings.send(clearing(topic, JPEG_TYPE))

    def _expiries(self) -> dict[str, float]:
        """By topic, when the picture that the broker may have expires (monotonic)."""
        expiries = dict(self._accepted)
        for topic, until in self._unanswered.items():
            expiries[topic] = max(until, expiries.get(topic, -math.inf))
        return expiries

    def _taken(self, picture: _Picture) -> _Picture:
        topic = picture.message.topic
        self._clearings.drop(topic)
        self._sent[topic] = picture
        self._unanswered[topic] = picture.message.until
        return picture

    def _send_again(self, topic: str) -> None:
        waiting = self._waiting[topic]
        waiting.appendleft(self._sent.pop(topic))
        if len(waiting) > WAITING_LIMIT:
            del waiting[1]

    def _drop(self, topic: str) -> None:
        self._waiting.pop(topic, None)
        self._sent.pop(topic, None)
