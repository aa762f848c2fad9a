"""All messages that are not sent or not acknowledged yet, and the order in which they are sent.

After a connect every retained state is sent; once edged is online, the newest answer of each question, and `online`,
follow. An answer that may have arrived at an earlier connection is sent again, unchanged, ahead of those. After that
states, answers, events, overtaken answers and pictures take turns, so that none delays another.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from edged.mqtt.outbox import OUTBOX_LIMIT, Outbox, Pending
from edged.mqtt.retained import RetainedMessage, RetainedTopics, clearing
from edged.mqtt.topics import JPEG_TYPE, Message

Entry = RetainedMessage | Pending


@dataclass(frozen=True, slots=True)
class PublisherFigures:
    """For health. `reconnects` counts connections after the first, `refused` messages that the broker refused."""

    connected: bool
    reconnects: int
    waiting: int
    dropped: int
    published: int
    refused: int


class SendQueue:
    """For any thread; it never waits. `next`, and then `sent`, `put_back` or `refuse`, are for the sending thread."""

    def __init__(self, online: Message, limit: int = OUTBOX_LIMIT) -> None:
        self.limit = limit
        self._online_message = online
        self._lock = threading.Lock()  # over all that follows
        self._outbox = Outbox(limit)
        self._states = RetainedTopics()
        self._pictures = RetainedTopics()
        self._turns: deque[Callable[[], Entry | None]] = deque(
            (
                self._states.take,
                self._outbox.take_answer,
                self._outbox.take_event,
                self._outbox.take_overtaken,
                self._pictures.take,
            )
        )
        self._in_flight: dict[int, Entry] = {}  # by message id
        self._connected = False
        self._withdrawn = False  # only clearings are sent
        self._online = False  # `online` was called
        self._online_sent = False  # in this connection
        self._before_online = 0  # number of the last answer that goes out before `online`
        self._published = 0
        self._refused = 0
        self._dropped_reported = 0

    def add(self, look: Sequence[Pending], picture: RetainedMessage | None) -> None:
        """The answers and events of one look, and its picture."""
        with self._lock:
            if picture is not None and not self._withdrawn:
                self._pictures.send(picture)
            for pending in look:
                pending.outage = not self._connected
                if not pending.is_event and not self._withdrawn:
                    self._states.drop(pending.topic)
                self._outbox.add(pending)

    def keep(self, state: RetainedMessage) -> None:
        with self._lock:
            self._states.send(state)

    def clear(self, answers: Sequence[str], states: Sequence[str], pictures: Sequence[str]) -> None:
        """Clear these topics. Waiting answers of the topics `answers` are not retained any more."""
        with self._lock:
            for topic in answers:
                self._outbox.forget(topic)
            self._send_clearings((*answers, *states), pictures)

    def withdraw(self, topics: Sequence[str], pictures: Sequence[str]) -> None:
        """Clear these topics, and send nothing else. Waiting messages are for `release`."""
        with self._lock:
            self._withdrawn = True
            self._send_clearings(topics, pictures)

    def _send_clearings(self, topics: Sequence[str], pictures: Sequence[str]) -> None:
        for topic in topics:
            self._states.send(clearing(topic))
        for topic in pictures:
            self._pictures.send(clearing(topic, JPEG_TYPE))

    def online(self) -> None:
        """Send `online` in this connection and in each later one."""
        with self._lock:
            self._online = True
            self._before_online = self._outbox.last

    def release(self) -> tuple[list[Pending], list[RetainedMessage]]:
        """Empty the queue. Returns the unacknowledged messages: answers and events, oldest first, and clearings."""
        with self._lock:
            self._in_flight.clear()
            return self._outbox.release(), [*self._states.clearings(), *self._pictures.clearings()]

    def adopt(
        self, waiting: Sequence[Pending], clearings: Collection[RetainedMessage], own_topic: Callable[[str], bool]
    ) -> None:
        """Put the messages that another queue released first; only answers of an `own_topic` may be retained."""
        with self._lock:
            for message in clearings:
                topics = self._topics_of(message)
                if message.topic not in topics:
                    topics.send(message)
            self._outbox.adopt(waiting, lambda topic: own_topic(topic) and topic not in self._states)

    def figures(self, reconnects: int) -> PublisherFigures:
        with self._lock:
            return PublisherFigures(
                connected=self._connected,
                reconnects=reconnects,
                waiting=len(self._outbox),
                dropped=self._outbox.dropped,
                published=self._published,
                refused=self._refused,
            )

    def newly_dropped(self) -> int:
        """Messages dropped since the last call because the outbox was full."""
        with self._lock:
            dropped, self._dropped_reported = self._outbox.dropped - self._dropped_reported, self._outbox.dropped
            return dropped

    # The connection

    def connected(self) -> None:
        with self._lock:
            self._connected = True
            self._online_sent = False
            self._before_online = self._outbox.last
            self._states.send_all()
            self._pictures.send_all()

    def lost(self) -> None:
        with self._lock:
            self._connected = False
            self._in_flight.clear()
            self._outbox.connection_lost()

    def closed(self) -> None:
        with self._lock:
            self._connected = False

    @property
    def in_flight(self) -> int:
        with self._lock:
            return len(self._in_flight)

    @property
    def drained(self) -> bool:
        """True if nothing is in flight and nothing waits that may be sent."""
        with self._lock:
            remaining = len(self._in_flight) + self._states.unsent
            if self._online or self._withdrawn:
                remaining += self._pictures.unsent
            if self._online and not self._withdrawn:
                remaining += len(self._outbox)
        return remaining == 0

    def next(self) -> tuple[Entry, Message] | None:
        with self._lock:
            entry = self._next()
            return None if entry is None else (entry, entry.message())

    def sent(self, mid: int, entry: Entry, message: Message) -> None:
        with self._lock:
            if isinstance(entry, Pending):
                entry.sent_to = message.topic
            self._in_flight[mid] = entry

    def put_back(self, entry: Entry) -> None:
        with self._lock:
            if isinstance(entry, Pending):
                self._outbox.put_back(entry)
            else:
                self._topics_of(entry).put_back(entry)

    def refuse(self, entry: Entry) -> None:
        """The broker would not accept it; it was not sent."""
        with self._lock:
            self._settle(entry, accepted=False)

    def acknowledged(self, mid: int, accepted: bool) -> None:
        with self._lock:
            entry = self._in_flight.pop(mid, None)
            if entry is not None:
                self._settle(entry, accepted)

    # With the lock held

    def _settle(self, entry: Entry, accepted: bool) -> None:
        self._published += accepted
        self._refused += not accepted
        if isinstance(entry, RetainedMessage):
            self._topics_of(entry).settle(entry)
        elif self._outbox.settle(entry) and not self._withdrawn:
            self._states.remember(RetainedMessage(Message(entry.topic, entry.payload, retain=True), entry.until))

    def _next(self) -> Entry | None:
        if self._withdrawn:
            return self._states.take() or self._pictures.take()
        if self._online_sent:
            return self._next_in_turn()
        state = self._states.take()
        if state is not None or not self._online:
            return state
        # Only answers that waited at the connect: if the broker is slower than the looks, `online` would never be sent.
        answer = self._outbox.take_answer(up_to=self._before_online)
        if answer is not None:
            return answer
        self._online_sent = True
        return RetainedMessage(self._online_message)

    def _next_in_turn(self) -> Entry | None:
        for _ in range(len(self._turns)):
            take = self._turns[0]
            self._turns.rotate(-1)
            entry = take()
            if entry is not None:
                return entry
        return None

    def _topics_of(self, message: RetainedMessage) -> RetainedTopics:
        return self._pictures if message.content.content_type == JPEG_TYPE else self._states
