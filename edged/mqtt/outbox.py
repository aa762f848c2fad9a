"""What waits for the broker: answers and events in a line, and the retained messages. In memory, not thread-safe.

The sender takes one after the other and settles or puts back what it took. A store on disk will take the place of
`Outbox`.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edged.mqtt.topics import Message, as_late

OUTBOX_LIMIT = 10_000


@dataclass(slots=True, eq=False)
class Pending:
    """An answer or an event that the broker has not acknowledged. `late_topic` is None for an event."""

    topic: str
    late_topic: str | None
    payload: bytes = field(repr=False)
    number: int = 0
    until: float = math.inf  # monotonic; when an answer has expired
    outage: bool = False  # it waited while there was no connection
    overtaken: bool = False  # it may no longer be retained: a newer answer has its topic, or nothing has
    sent: bool = False  # perhaps it arrived: its payload must stay as it is

    def message(self) -> Message:
        if self.late_topic is None:
            return Message(self.topic, self.payload)
        if self.outage and not self.sent:
            self.payload = as_late(self.payload)
        if self.overtaken:
            return Message(self.late_topic, self.payload)
        return Message(self.topic, self.payload, retain=True, expires_s=_whole_seconds(self.until))


class Outbox:
    """Answers and events, bounded. Their order is kept per topic.

    When there is no room the oldest goes, but never the newest answer of a question.
    """

    def __init__(self, limit: int = OUTBOX_LIMIT) -> None:
        self.limit = limit
        self.dropped = 0
        self._answers: deque[Pending] = deque()
        self._events: deque[Pending] = deque()
        self._overtaken: deque[Pending] = deque()
        self._taken: dict[int, Pending] = {}  # by number, in the order in which they were taken
        self._newest: dict[str, Pending] = {}
        self._first = 0
        self.last = 0  # the highest number so far

    def __len__(self) -> int:
        return len(self._answers) + len(self._events) + len(self._overtaken) + len(self._taken)

    def add(self, waiting: Pending) -> None:
        self.last += 1
        waiting.number = self.last
        if waiting.late_topic is not None:
            self._newest[waiting.topic] = waiting
        self._lane(waiting).append(waiting)
        self._make_room()

    def adopt(self, left: Sequence[Pending], retainable: Callable[[str], bool]) -> None:
        """Put what another line released before everything else, as what has waited out an outage.

        An answer whose topic is not `retainable` goes out on `late` only.
        """
        for waiting in reversed(left):
            self._first -= 1
            waiting.number = self._first
            waiting.outage = True
            if waiting.late_topic is not None:
                waiting.overtaken = waiting.overtaken or not retainable(waiting.topic)
                if not waiting.overtaken:
                    self._newest.setdefault(waiting.topic, waiting)
            self._lane(waiting).appendleft(waiting)
        self._make_room()

    def release(self) -> list[Pending]:
        """Everything, oldest first; the line is empty then."""
        left = sorted(
            (*self._answers, *self._events, *self._overtaken, *self._taken.values()), key=lambda one: one.number
        )
        for waiting in left:
            if waiting.late_topic is not None:
                waiting.overtaken = self._newest.get(waiting.topic) is not waiting
        for lane in (self._answers, self._events, self._overtaken, self._taken, self._newest):
            lane.clear()
        return left

    def take_answer(self, up_to: float = math.inf) -> Pending | None:
        """The next answer for its own topic, of those with numbers `up_to`; overtaken ones are sorted out meanwhile."""
        while self._answers and self._answers[0].number <= up_to:
            waiting = self._answers.popleft()
            if not waiting.outage or self._newest.get(waiting.topic) is waiting:
                return self._take(waiting)
            waiting.overtaken = True
            self._overtaken.append(waiting)
        return None

    def take_event(self) -> Pending | None:
        # An event follows the answers of its look, so that whoever acts on it can read them.
        if not self._events or (self._answers and self._answers[0].number < self._events[0].number):
            return None
        return self._take(self._events.popleft())

    def take_overtaken(self) -> Pending | None:
        return self._take(self._overtaken.popleft()) if self._overtaken else None

    def put_back(self, waiting: Pending) -> None:
        """It was taken and not sent. Nothing happens if it has been released since."""
        # It has not suffered an outage until all has: it must not be overtaken before what is in flight is back.
        if self._taken.pop(waiting.number, None) is waiting:
            self._lane(waiting).appendleft(waiting)

    def settle(self, waiting: Pending) -> bool:
        """Done with it. Whether it is the newest answer of its question, and stands on the broker."""
        self._taken.pop(waiting.number, None)
        if self._newest.get(waiting.topic) is not waiting:
            return False
        del self._newest[waiting.topic]
        return True

    def suffer_outage(self) -> None:
        """No connection: what was taken waits again, before everything else of its kind."""
        for waiting in reversed(self._taken.values()):
            self._lane(waiting).appendleft(waiting)
        self._taken.clear()
        for waiting in self._answers:
            waiting.outage = True

    def forget(self, topic: str) -> None:
        """This question is no longer asked: none of its answers, sent or not, may be retained from now on."""
        self._newest.pop(topic, None)
        for waiting in (*self._answers, *self._taken.values()):
            waiting.outage = waiting.outage or waiting.topic == topic

    def _take(self, waiting: Pending) -> Pending:
        self._taken[waiting.number] = waiting
        return waiting

    def _lane(self, waiting: Pending) -> deque[Pending]:
        if waiting.late_topic is None:
            return self._events
        return self._overtaken if waiting.overtaken else self._answers

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


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """The newest retained message of a topic, until it expires. An empty payload clears the topic."""

    content: Message
    until: float = math.inf  # monotonic

    @property
    def topic(self) -> str:
        return self.content.topic

    @property
    def expired(self) -> bool:
        return self.until <= time.monotonic()

    def message(self) -> Message:
        """The content, with what is left of its time."""
        if self.until == math.inf:
            return self.content
        old = self.content
        return Message(old.topic, old.payload, old.retain, _whole_seconds(self.until), old.content_type)


class Retained:
    """The newest state of each topic, kept to be sent again at each connection, and which of them have yet to be sent.

    A cleared topic is forgotten once the broker has acknowledged it.
    """

    def __init__(self) -> None:
        self._states: dict[str, State] = {}
        self._unsent: dict[str, None] = {}  # topics, in order

    @property
    def unsent(self) -> int:
        return len(self._unsent)

    def __contains__(self, topic: str) -> bool:
        return topic in self._states

    def keep(self, state: State) -> None:
        """To be sent, in place of an older one of its topic."""
        self._states[state.topic] = state
        self._unsent[state.topic] = None

    def hold(self, state: State) -> None:
        """It stands on the broker, and is sent again after the next connect."""
        self._states[state.topic] = state

    def drop(self, topic: str) -> None:
        self._states.pop(topic, None)
        self._unsent.pop(topic, None)

    def send_again(self) -> None:
        self._unsent = dict.fromkeys(self._states)

    def clearings(self) -> list[State]:
        """The topics that are to be cleared, and are not known to be."""
        return [state for state in self._states.values() if not state.content.payload]

    def take(self) -> State | None:
        while self._unsent:
            topic = next(iter(self._unsent))
            del self._unsent[topic]
            state = self._states.get(topic)
            if state is not None and not state.expired:
                return state
            self._states.pop(topic, None)
        return None

    def put_back(self, state: State) -> None:
        """It was taken and not sent."""
        if self._states.get(state.topic) is state:
            self._unsent[state.topic] = None

    def settle(self, state: State) -> None:
        if not state.content.payload and self._states.get(state.topic) is state:
            del self._states[state.topic]


def _whole_seconds(until: float) -> int:
    """What is left until then, rounded up, 1 at least: 0 would mean never to some brokers."""
    return max(1, math.ceil(until - time.monotonic()))
