"""Answers and events that wait for the broker, and their order. Not thread-safe.

The sender takes one message after the other, and settles each or puts it back. Everything is in the store too; of a
long queue only the newest payloads are in memory.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from edged.core.types import StoredMessage
from edged.mqtt.expiry import seconds_until
from edged.mqtt.topics import Message, late_topic

OUTBOX_LIMIT = 100_000  # messages
OUTBOX_BYTES = 200_000_000
OUTBOX_AGE_S = 7 * 86_400.0
IN_MEMORY = 5_000  # messages whose payloads are in memory although they are on disk
NOT_ON_DISK = 10_000  # messages that are in memory only


@dataclass(frozen=True, slots=True)
class Limits:
    messages: int = OUTBOX_LIMIT
    size: int = OUTBOX_BYTES
    age_s: float = OUTBOX_AGE_S
    not_on_disk: int = NOT_ON_DISK


@dataclass(slots=True, eq=False)
class Pending:
    """A message that the broker has not acknowledged. `payload` is None if it has to be read from the store.

    `stored` has no payload: it would keep in memory what `payload` has let go of.
    """

    stored: StoredMessage
    payload: bytes | None = field(repr=False)
    on_disk: bool = False
    late: bool = False  # the payload says so
    outage: bool = False  # it has waited, for a connection or after a refusal for now, or its question is gone
    overtaken: bool = False  # must not be retained: a newer answer has its topic, or the topic is cleared
    sent_to: str | None = None  # the topic, once it was sent: both topic and payload stay, until `waited`
    may_have_arrived: bool = False  # in an earlier connection
    gone: bool = False  # settled or dropped

    @property
    def number(self) -> int:
        return self.stored.number

    @property
    def topic(self) -> str:
        return self.stored.topic

    @property
    def is_event(self) -> bool:
        return self.stored.question is None

    @property
    def goes_to_late(self) -> bool:
        return self.overtaken and self.sent_to != self.topic

    @property
    def expired(self) -> bool:
        return self.stored.until <= time.monotonic()

    @property
    def unmarked(self) -> bool:
        """It has waited, need not be sent as it was before, and does not say `late` yet."""
        return self.outage and not (self.late or self.sent_to or self.gone)

    @property
    def can_be_sent(self) -> bool:
        return self.payload is not None and not self.unmarked

    def waited(self) -> None:
        """It is late, as after an outage, unless a subscriber may have it as it was."""
        self.outage = True
        if not self.may_have_arrived:
            self.sent_to = None

    def message(self) -> Message:
        """As it is sent now. The payload must be in memory."""
        assert self.payload is not None
        if self.is_event or self.overtaken or self.expired:
            topic = late_topic(self.topic) if self.goes_to_late else self.topic
            return Message(topic, self.payload, look=self.stored.look)
        expires_s = seconds_until(self.stored.until)
        return Message(self.topic, self.payload, retain=True, expires_s=expires_s, look=self.stored.look)


def waiting(message: StoredMessage, on_disk: bool, superseded: bool = False) -> Pending:
    """A new message, or one that an earlier process left: that one may have arrived unless it is late.

    `superseded`: a newer one of its topic has arrived, so this one goes to `late`, unchanged if it may have arrived.
    """
    new, topic = message.number > 0, late_topic(message.topic) if superseded else message.topic
    return Pending(
        replace(message, payload=None),
        message.payload,
        on_disk=on_disk,
        late=message.late,
        outage=message.late or not new,
        sent_to=None if new or message.late else topic,
        may_have_arrived=not new,
    )


class Outbox:
    """Answers and events, bounded. Their order is kept per topic.

    When it is full the oldest is dropped, but never the newest answer of a question.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.dropped = 0
        self.unreadable = 0  # of those, how many could not be read from the store
        self.on_hold = False  # only messages whose payload is in memory are taken
        self.marking_on_hold = False  # only messages that need not be marked are taken
        self.last = 0  # the highest number so far
        self._answers: deque[Pending] = deque()
        self._events: deque[Pending] = deque()
        self._overtaken: deque[Pending] = deque()
        self._taken: dict[int, Pending] = {}  # by number, in the order in which they were taken
        self._newest: dict[str, Pending] = {}  # answers by topic
        self._highest_taken: dict[str, int] = {}  # the highest number that was taken, by topic
        self._settled: dict[str, int] = {}  # the highest number that was settled, by topic
        self._by_age: deque[Pending] = deque()  # everything that waits, and some that is gone
        self._in_memory: deque[Pending] = deque()  # the payloads that are on disk and in memory
        self._not_on_disk: deque[Pending] = deque()
        self._count = 0
        self._not_on_disk_count = 0
        self._size = 0
        self._finished: list[int] = []

    def __len__(self) -> int:
        return self._count

    def add(self, pending: Pending) -> None:
        self.last = max(self.last, pending.number)
        if not (pending.is_event or pending.overtaken):
            self._drop_expired(self._newest.get(pending.topic))
            self._newest[pending.topic] = pending
        self._lane(pending).append(pending)
        self._by_age.append(pending)
        self._count_in(pending)
        self._make_room()

    def adopt(self, released: Sequence[Pending], retainable: Callable[[str], bool]) -> None:
        """Put the messages that another outbox released, or an earlier process left, before everything else.

        They have waited in an outage. An answer whose topic is not `retainable` goes out on `late` only, and so does
        one that comes after a newer one of its topic was sent: unchanged if it may have arrived.
        """
        for pending in reversed(released):
            pending.outage = True
            if not pending.is_event:
                newer_sent = self._highest_taken.get(pending.topic, pending.number) > pending.number
                if newer_sent and pending.sent_to:
                    pending.sent_to = late_topic(pending.topic)
                pending.overtaken = pending.overtaken or newer_sent or not retainable(pending.topic)
                if not pending.overtaken:
                    self._newest.setdefault(pending.topic, pending)
            self._lane(pending).appendleft(pending)
            self._by_age.appendleft(pending)
            self._count_in(pending)
        self._make_room()

    def release(self) -> list[Pending]:
        """Empty the outbox. Everything in it, oldest first."""
        alive = [pending for pending in self._by_age if not pending.gone]
        released = sorted(alive, key=lambda pending: pending.number)
        for pending in released:
            pending.may_have_arrived = pending.sent_to is not None
            if not pending.is_event:
                pending.overtaken = self._newest.get(pending.topic) is not pending
        for lane in (self._answers, self._events, self._overtaken, self._taken, self._newest):
            lane.clear()
        for kept in (self._by_age, self._in_memory, self._not_on_disk):
            kept.clear()
        self._count = self._not_on_disk_count = self._size = 0
        return released

    def finished(self) -> list[int]:
        """The numbers of what was settled or dropped since the last call."""
        finished, self._finished = self._finished, []
        return finished

    def take_answer(self, up_to: float = math.inf) -> Pending | None:
        """The next answer for its own topic, numbered `up_to` or less. Overtaken answers move to the `late` lane."""
        while (pending := _first(self._answers)) and pending.number <= up_to:
            if pending.expired:
                pending.waited()
            pending.overtaken = pending.outage and self._newest.get(pending.topic) is not pending
            if not pending.goes_to_late:
                return self._take_first(self._answers)
            self._overtaken.append(self._answers.popleft())
        return None

    def holds_back(self, up_to: float) -> bool:
        """True if an answer numbered `up_to` or less waits although `take_answer` has just returned None."""
        answer = _first(self._answers)
        return answer is not None and answer.number <= up_to

    def take_event(self) -> Pending | None:
        # An event follows the answers of its look, so that subscribers can read them when it arrives.
        event, answer = _first(self._events), _first(self._answers)
        if event is None or (answer and answer.number < event.number):
            return None
        return self._take_first(self._events)

    def take_overtaken(self) -> Pending | None:
        return self._take_first(self._overtaken)

    def put_back(self, pending: Pending) -> None:
        """Put a message back that was taken and not sent. Does nothing if it was released meanwhile."""
        # `outage` stays as it was until `connection_lost`: before that, messages in flight are not back in their lanes,
        # and this one would be overtaken ahead of them.
        if self._taken.pop(pending.number, None) is pending:
            self._lane(pending).appendleft(pending)

    def put_back_refused(self, pending: Pending) -> None:
        """Put a message back that was sent, and that the broker has refused for now.

        If a newer message of its topic is settled, this one is late: sent again as it was, it would look newer.
        """
        pending.outage = True
        if self._is_behind(pending):
            self.waited(pending)
        self.put_back(pending)

    def waited(self, pending: Pending) -> None:
        """It is late, as after an outage: on `late` if a newer one of its topic is settled."""
        pending.waited()
        if pending.sent_to and self._is_behind(pending):
            pending.sent_to = late_topic(pending.topic)

    def settle(self, pending: Pending) -> bool:
        """The broker has accepted or refused it. True for the newest answer of its question."""
        self._settled[pending.topic] = max(pending.number, self._settled.get(pending.topic, pending.number))
        self._taken.pop(pending.number, None)
        self._finish(pending)
        if self._newest.get(pending.topic) is not pending:
            return False
        del self._newest[pending.topic]
        return True

    def _is_behind(self, pending: Pending) -> bool:
        """True if a newer message of its topic is settled."""
        return self._settled.get(pending.topic, pending.number) > pending.number

    def is_sent(self, pending: Pending) -> bool:
        """True if it was taken and not put back in this connection, or is settled or dropped."""
        return pending.gone or self._taken.get(pending.number) is pending

    def has_newer(self, topic: str) -> bool:
        """True if an answer for this topic waits."""
        return topic in self._newest

    def topics(self) -> set[str]:
        """The topics with an answer that waits and may be retained."""
        return set(self._newest)

    def drop(self, pending: Pending) -> None:
        """Give up a message that was taken and cannot be read from the store."""
        self.dropped += 1
        self.unreadable += 1
        self.settle(pending)

    def connection_lost(self) -> None:
        """Taken messages wait again, first in their lane. Every answer has now waited during an outage."""
        for pending in reversed(self._taken.values()):
            pending.may_have_arrived = pending.may_have_arrived or pending.sent_to is not None
            self._lane(pending).appendleft(pending)
        self._taken.clear()
        for pending in (*self._answers, *self._events):
            pending.outage = True

    def unmarked(self) -> list[Pending]:
        """Everything that is `unmarked`, taken or not."""
        everything = (*self._taken.values(), *self._answers, *self._events, *self._overtaken)
        return [pending for pending in everything if pending.unmarked]

    def forget(self, topic: str) -> None:
        """The question is no longer asked: none of its answers, sent or not, may be retained after this."""
        self._newest.pop(topic, None)
        for pending in (*self._answers, *self._taken.values()):
            pending.outage = pending.outage or pending.topic == topic

    def _take_first(self, lane: deque[Pending]) -> Pending | None:
        pending = _first(lane)
        if pending is None or (self.on_hold and pending.payload is None) or (self.marking_on_hold and pending.unmarked):
            return None
        lane.popleft()
        self._highest_taken[pending.topic] = max(pending.number, self._highest_taken.get(pending.topic, pending.number))
        self._taken[pending.number] = pending
        return pending

    def _lane(self, pending: Pending) -> deque[Pending]:
        if pending.is_event:
            return self._events
        return self._overtaken if pending.goes_to_late else self._answers

    # Limits

    def _count_in(self, pending: Pending) -> None:
        self._count += 1
        self._size += pending.stored.size
        if not pending.on_disk:
            self._not_on_disk_count += 1
            self._not_on_disk.append(pending)
        elif pending.payload is not None:
            self._in_memory.append(pending)
            if len(self._in_memory) > IN_MEMORY:
                oldest = self._in_memory.popleft()
                if oldest.number not in self._taken:
                    oldest.payload = None

    def _finish(self, pending: Pending) -> None:
        if pending.gone:
            return
        pending.gone = True
        self._count -= 1
        self._size -= pending.stored.size
        self._not_on_disk_count -= not pending.on_disk
        self._finished.append(pending.number)
        lanes = (self._answers, self._events, self._overtaken)
        for queue in (*lanes, self._by_age, self._in_memory, self._not_on_disk):
            _first(queue)

    def _make_room(self) -> None:
        while self._not_on_disk_count > self.limits.not_on_disk and self._drop_oldest(self._not_on_disk):
            pass
        while self._is_full() and self._drop_oldest(self._by_age):
            pass
        expired = time.monotonic() - self.limits.age_s
        while self._drop_oldest(self._by_age, made_before=expired):
            pass

    def _drop_expired(self, overtaken: Pending | None) -> None:
        """Drop it if it is older than the limit, and was kept as the newest of its topic only."""
        if overtaken is None or overtaken.number in self._taken:
            return
        if overtaken.stored.made_at < time.monotonic() - self.limits.age_s:
            self.dropped += 1
            self._finish(overtaken)

    def _is_full(self) -> bool:
        return self._count > self.limits.messages or self._size > self.limits.size

    def _drop_oldest(self, queue: deque[Pending], made_before: float = math.inf) -> bool:
        """Drop the oldest that may be dropped; others move to the end of this queue. False if there is none."""
        for _ in range(len(queue)):
            pending = _first(queue)
            if pending is None or pending.stored.made_at >= made_before:
                return False
            if pending.number not in self._taken and self._newest.get(pending.topic) is not pending:
                self.dropped += 1
                self._finish(pending)
                return True
            queue.rotate(-1)
        return False


def _first(queue: deque[Pending]) -> Pending | None:
    """The first in a queue that is not gone; those before it are removed."""
    while queue and queue[0].gone:
        queue.popleft()
    return queue[0] if queue else None
