"""Answers and events that wait for the broker. In memory, not thread-safe.

The sender takes one message after the other, and settles each or puts it back. A store on disk will take the place of
`Outbox`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edged.mqtt.expiry import seconds_until
from edged.mqtt.topics import Message, as_late

OUTBOX_LIMIT = 10_000


@dataclass(slots=True, eq=False)
class Pending:
    """An answer or an event that the broker has not acknowledged. `late_topic` is None for an event."""

    topic: str
    late_topic: str | None
    payload: bytes = field(repr=False)
    number: int = 0
    until: float = math.inf  # monotonic; when an answer expires
    outage: bool = False  # it waited while there was no connection
    overtaken: bool = False  # must not be retained: a newer answer has its topic, or the topic is cleared
    sent_to: str | None = None  # the topic, once it was sent: it may have arrived, so topic and payload must not change

    @property
    def is_event(self) -> bool:
        return self.late_topic is None

    @property
    def goes_to_late(self) -> bool:
        return self.overtaken and self.sent_to != self.topic

    def message(self) -> Message:
        if self.late_topic is None:
            return Message(self.topic, self.payload)
        if self.outage and self.sent_to is None:
            self.payload = as_late(self.payload)
        if self.overtaken:
            return Message(self.late_topic if self.goes_to_late else self.topic, self.payload)
        return Message(self.topic, self.payload, retain=True, expires_s=seconds_until(self.until))


class Outbox:
    """Answers and events, bounded. Their order is kept per topic.

    When it is full the oldest is dropped, but never the newest answer of a question.
    """

    def __init__(self, limit: int = OUTBOX_LIMIT) -> None:
        self.limit = limit
        self.dropped = 0
        self._answers: deque[Pending] = deque()
        self._events: deque[Pending] = deque()
        self._overtaken: deque[Pending] = deque()
        self._taken: dict[int, Pending] = {}  # by number, in the order in which they were taken
        self._newest: dict[str, Pending] = {}  # answers by topic
        self._first = 0
        self.last = 0  # the highest number so far

    def __len__(self) -> int:
        return len(self._answers) + len(self._events) + len(self._overtaken) + len(self._taken)

    def add(self, pending: Pending) -> None:
        self.last += 1
        pending.number = self.last
        if not pending.is_event:
            self._newest[pending.topic] = pending
        self._lane(pending).append(pending)
        self._make_room()

    def adopt(self, released: Sequence[Pending], retainable: Callable[[str], bool]) -> None:
        """Put the messages that another outbox released before everything else, as messages that waited in an outage.

        An answer whose topic is not `retainable` goes out on `late` only.
        """
        for pending in reversed(released):
            self._first -= 1
            pending.number = self._first
            pending.outage = True
            if not pending.is_event:
                pending.overtaken = pending.overtaken or not retainable(pending.topic)
                if not pending.overtaken:
                    self._newest.setdefault(pending.topic, pending)
            self._lane(pending).appendleft(pending)
        self._make_room()

    def release(self) -> list[Pending]:
        """Empty the outbox. Everything in it, oldest first."""
        everything = (*self._answers, *self._events, *self._overtaken, *self._taken.values())
        released = sorted(everything, key=lambda pending: pending.number)
        for pending in released:
            if not pending.is_event:
                pending.overtaken = self._newest.get(pending.topic) is not pending
        for lane in (self._answers, self._events, self._overtaken, self._taken, self._newest):
            lane.clear()
        return released

    def take_answer(self, up_to: float = math.inf) -> Pending | None:
        """The next answer for its own topic, numbered `up_to` or less. Overtaken answers move to the `late` lane."""
        while self._answers and self._answers[0].number <= up_to:
            pending = self._answers.popleft()
            pending.overtaken = pending.outage and self._newest.get(pending.topic) is not pending
            if not pending.goes_to_late:
                return self._take(pending)
            self._overtaken.append(pending)
        return None

    def take_event(self) -> Pending | None:
        # An event follows the answers of its look, so that subscribers can read them when it arrives.
        if not self._events or (self._answers and self._answers[0].number < self._events[0].number):
            return None
        return self._take(self._events.popleft())

    def take_overtaken(self) -> Pending | None:
        return self._take(self._overtaken.popleft()) if self._overtaken else None

    def put_back(self, pending: Pending) -> None:
        """Put a message back that was taken and not sent. Does nothing if it was released meanwhile."""
        # `outage` stays as it was until `connection_lost`: before that, messages in flight are not back in their lanes,
        # and this one would be overtaken ahead of them.
        if self._taken.pop(pending.number, None) is pending:
            self._lane(pending).appendleft(pending)

    def settle(self, pending: Pending) -> bool:
        """The broker has accepted or refused it. True for the newest answer of its question."""
        self._taken.pop(pending.number, None)
        if self._newest.get(pending.topic) is not pending:
            return False
        del self._newest[pending.topic]
        return True

    def connection_lost(self) -> None:
        """Taken messages wait again, first in their lane. Every answer has now waited during an outage."""
        for pending in reversed(self._taken.values()):
            self._lane(pending).appendleft(pending)
        self._taken.clear()
        for pending in self._answers:
            pending.outage = True

    def forget(self, topic: str) -> None:
        """The question is no longer asked: none of its answers, sent or not, may be retained after this."""
        self._newest.pop(topic, None)
        for pending in (*self._answers, *self._taken.values()):
            pending.outage = pending.outage or pending.topic == topic

    def _take(self, pending: Pending) -> Pending:
        self._taken[pending.number] = pending
        return pending

    def _lane(self, pending: Pending) -> deque[Pending]:
        if pending.is_event:
            return self._events
        return self._overtaken if pending.goes_to_late else self._answers

    def _make_room(self) -> None:
        for _ in range(len(self)):
            lanes = [lane for lane in (self._answers, self._events, self._overtaken) if lane]
            if len(self) <= self.limit or not lanes:
                return
            lane = min(lanes, key=lambda lane: lane[0].number)
            oldest = lane.popleft()
            if self._newest.get(oldest.topic) is oldest:
                lane.append(oldest)
            else:
                self.dropped += 1
