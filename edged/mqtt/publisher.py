"""Answers and events on their way to the broker. Looks leave them here; one thread sends them until they are taken.

What is sent first after a connect: every retained state, the newest answer of each question, `online`; then events,
then the answers that something newer has overtaken.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from edged.core import Answer, CameraState, Event
from edged.mqtt.link import Link
from edged.mqtt.topics import (
    JPEG_TYPE,
    Message,
    Topics,
    answer_payload,
    as_late,
    availability_payload,
    bridge_payload,
    encode,
    event_payload,
)
from edged.specs import BrokerSpec

log = logging.getLogger(__name__)

LINE_LIMIT = 10_000
CLOSE_S = 10.0
GOODBYE_S = 2.0  # of CLOSE_S, kept for the acknowledgement of `offline`
TICK_S = 1.0


@dataclass(frozen=True, slots=True)
class Figures:
    """For health. `reconnects` counts connections after the first, `refused` what the broker would not take."""

    connected: bool
    reconnects: int
    waiting: int
    dropped: int
    published: int
    refused: int


@dataclass(slots=True, eq=False)
class Waiting:
    """An answer or an event that the broker has not acknowledged. `late_topic` is None for an event."""

    topic: str
    late_topic: str | None
    payload: bytes = field(repr=False)
    number: int = 0
    until: float = math.inf  # monotonic; when an answer has expired
    outage: bool = False  # it waited while there was no connection
    overtaken: bool = False  # a newer answer has its topic
    sent: bool = False  # perhaps it arrived: its payload must stay as it is

    def message(self) -> Message:
        if self.late_topic is None:
            return Message(self.topic, self.payload)
        if self.outage and not self.sent:
            self.payload = as_late(self.payload)
        if self.overtaken:
            return Message(self.late_topic, self.payload)
        return Message(self.topic, self.payload, retain=True, expires_s=_whole_seconds(self.until))


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """The newest retained message of a topic. An empty payload clears the topic and is forgotten once that is done."""

    message: Message
    until: float = math.inf

    def fresh(self) -> Message | None:
        """The message with what is left of its time; None if nothing is."""
        if self.until == math.inf:
            return self.message
        if self.until <= time.monotonic():
            return None
        old = self.message
        return Message(old.topic, old.payload, old.retain, _whole_seconds(self.until), old.content_type)


class Line:
    """What waits for the broker, in memory and bounded. Not thread-safe. The place that a store on disk will take.

    Order is kept per topic. When there is no room the oldest goes, but never the newest answer of a question.
    """

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self.limit = limit
        self._answers: deque[Waiting] = deque()
        self._events: deque[Waiting] = deque()
        self._overtaken: deque[Waiting] = deque()
        self._newest: dict[str, Waiting] = {}
        self._count = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._answers) + len(self._events) + len(self._overtaken)

    def add(self, waiting: Waiting) -> None:
        self._count += 1
        waiting.number = self._count
        if waiting.late_topic is not None:
            self._newest[waiting.topic] = waiting
        self._lane(waiting).append(waiting)
        self._make_room()

    def take(self, newest_only: bool) -> Waiting | None:
        """The next to be sent: answers on their own topic, then, unless `newest_only`, events and overtaken answers."""
        while self._answers:
            waiting = self._answers.popleft()
            if not (waiting.outage and self._newest.get(waiting.topic) is not waiting):
                return waiting
            waiting.overtaken = True
            self._overtaken.append(waiting)
        if newest_only:
            return None
        for lane in (self._events, self._overtaken):
            if lane:
                return lane.popleft()
        return None

    def put_back(self, waiting: Waiting) -> None:
        """It was taken and not sent."""
        # It has not suffered an outage until all has: it must not be overtaken before what is in flight is back.
        self._lane(waiting).appendleft(waiting)

    def acknowledge(self, waiting: Waiting) -> bool:
        """Done with it. Whether it is the newest answer of its question, and stands on the broker."""
        if self._newest.get(waiting.topic) is not waiting:
            return False
        del self._newest[waiting.topic]
        return True

    def suffer_outage(self, in_flight: Sequence[Waiting]) -> None:
        """No connection: what was in flight, oldest first, waits again, before everything else of its kind."""
        for waiting in reversed(in_flight):
            self._lane(waiting).appendleft(waiting)
        for waiting in (*self._answers, *self._events):
            waiting.outage = True

    def forget(self, topic: str) -> None:
        """This question is no longer asked: none of its answers is its newest, so that none is retained."""
        self._newest.pop(topic, None)
        for waiting in self._answers:
            waiting.outage = waiting.outage or waiting.topic == topic

    def _lane(self, waiting: Waiting) -> deque[Waiting]:
        if waiting.late_topic is None:
            return self._events
        return self._overtaken if waiting.overtaken else self._answers

    def _make_room(self) -> None:
        for _ in range(len(self)):
            if len(self) <= self.limit:
                return
            lanes = [lane for lane in (self._answers, self._events, self._overtaken) if lane]
            lane = min(lanes, key=lambda lane: lane[0].number)
            oldest = lane.popleft()
            if self._newest.get(oldest.topic) is oldest:
                lane.append(oldest)
            else:
                self.dropped += 1


class Publisher:
    """Where answers go. Nothing here waits for the network but `close`, which waits 10 s at most."""

    def __init__(self, spec: BrokerSpec, node: str, line_limit: int = LINE_LIMIT) -> None:
        self._spec = spec
        self._node = node
        self._topics = Topics(spec.prefix, node)
        self._link = Link(spec, node, self)
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._deadline = math.inf
        self._goodbye_taken = False
        self._lock = threading.Lock()  # over all that follows; never held while paho is called
        self._line = Line(line_limit)
        self._states: dict[str, State] = {}
        self._unsent: dict[str, None] = {}  # topics of states, in order
        self._in_flight: dict[int, State | Waiting] = {}
        self._in_hand: Waiting | None = None  # on its way from the line to those in flight
        self._connected = False
        self._online = False
        self._published = 0
        self._refused = 0
        self._dropped_before = 0
        self.moved_at = time.monotonic()

    def start(self) -> None:
        """Begin to connect; returns at once, broker or not. Raises EdgedError if the CA file cannot be used."""
        self._link.start()
        self._thread = threading.Thread(target=self._run, name="edged-publisher", daemon=True)
        self._thread.start()

    def answers(self, answers: Sequence[Answer], events: Sequence[Event], image: bytes | None) -> None:
        """The outcome of one look. Raises ValueError if a value cannot be said in JSON."""
        waiting = [self._waiting_answer(answer) for answer in answers]
        waiting += [self._waiting_event(event) for event in events]
        with self._lock:
            if image is not None and answers:
                self._keep(self._image(answers[0].camera, image, max(answer.expires_s for answer in answers)))
            for one in waiting:
                one.outage = not self._connected
                if one.late_topic is not None:
                    self._states.pop(one.topic, None)
                self._line.add(one)
        self._link.wake()

    def camera(self, name: str, state: CameraState) -> None:
        self._publish_state(self._topics.availability(name), availability_payload(state))

    def info(self, info: dict[str, Any]) -> None:
        self._publish_state(self._topics.info, info)

    def health(self, health: dict[str, Any]) -> None:
        self._publish_state(self._topics.health, health)

    def retire(self, camera: str, questions: Sequence[str], gone: bool = False) -> None:
        """Clear what is retained of these questions; with `gone`, of the camera itself too.

        Their answers that still wait go out on `late`, not retained. While the broker is away the clearing waits too.
        """
        topics = [self._topics.answer(camera, question) for question in questions]
        with self._lock:
            for topic in topics:
                self._line.forget(topic)
            if gone:
                topics += [self._topics.image(camera), self._topics.availability(camera)]
            for topic in topics:
                self._keep(State(Message(topic, b"", retain=True)))
        self._link.wake()

    def figures(self) -> Figures:
        with self._lock:
            return Figures(
                connected=self._connected,
                reconnects=max(0, self._link.connections - 1),
                waiting=len(self._line)
                + sum(isinstance(one, Waiting) for one in self._in_flight.values())
                + (self._in_hand is not None),
                dropped=self._line.dropped,
                published=self._published,
                refused=self._refused,
            )

    def close(self) -> bool:
        """Send what waits, say `offline`, disconnect. Whether the broker acknowledged the `offline`.

        Takes 10 s at most, and no time where there is no broker. A second call changes nothing.
        """
        if not self._closing.is_set():
            self._deadline = time.monotonic() + CLOSE_S
            self._closing.set()
            self._link.wake()
        if self._thread is not None:
            self._thread.join(CLOSE_S + GOODBYE_S)
        return self._goodbye_taken

    # The link tells, in the sending thread

    def on_connected(self) -> None:
        with self._lock:
            self._connected = True
            self._online = False
            self._unsent = dict.fromkeys(self._states)
        self._say_dropped()

    def on_lost(self) -> None:
        with self._lock:
            self._connected = False
            in_flight = [one for one in self._in_flight.values() if isinstance(one, Waiting)]
            self._in_flight.clear()
            self._line.suffer_outage(in_flight)

    def on_acknowledged(self, mid: int, taken: bool) -> None:
        with self._lock:
            one = self._in_flight.pop(mid, None)
            if one is None:
                return
            self._settle(one, taken)

    def _settle(self, one: State | Waiting, taken: bool) -> None:
        """Sent and done with, taken or refused."""
        self._published += taken
        self._refused += not taken
        if isinstance(one, State):
            if not one.message.payload and self._states.get(one.message.topic) is one:
                del self._states[one.message.topic]
        elif self._line.acknowledge(one):
            self._states[one.topic] = State(Message(one.topic, one.payload, retain=True), one.until)

    # The sending thread

    def _run(self) -> None:
        while not (self._closing.is_set() and self._nothing_left()):
            try:
                self._link.attend(TICK_S)
                self._send()
                self.moved_at = time.monotonic()
            except Exception:
                log.exception("broker %s: defect in the publisher; going on", self._spec.shown)
                time.sleep(TICK_S)  # the same defect may come again at once
        self._goodbye_taken = self._link.close(self._deadline)
        with self._lock:
            self._connected = False
        self._say_dropped()

    def _send(self) -> None:
        while self._link.connected and len(self._in_flight) < self._link.window:
            with self._lock:
                found = self._next()
                self._in_hand = found[0] if found and isinstance(found[0], Waiting) else None
            if found is None:
                return
            one, message = found
            if not self._link.takes(message):
                with self._lock:
                    self._in_hand = None
                    self._settle(one, taken=False)
                continue
            mid = self._link.publish(message)
            with self._lock:
                self._in_hand = None
                if mid is None:  # lost, and we shall hear of it
                    self._take_back(one)
                    return
                if isinstance(one, Waiting):
                    one.sent = True
                self._in_flight[mid] = one

    def _next(self) -> tuple[State | Waiting, Message] | None:
        while self._unsent:
            topic = next(iter(self._unsent))
            del self._unsent[topic]
            state = self._states.get(topic)
            message = None if state is None else state.fresh()
            if state is not None and message is not None:
                return state, message
            self._states.pop(topic, None)
        waiting = self._line.take(newest_only=not self._online)
        if waiting is not None:
            return waiting, waiting.message()
        if self._online:
            return None
        self._online = True
        online = State(Message(self._topics.state, encode(bridge_payload(True)), retain=True))
        return online, online.message

    def _take_back(self, one: State | Waiting) -> None:
        if isinstance(one, Waiting):
            self._line.put_back(one)
        else:
            self._unsent[one.message.topic] = None

    def _nothing_left(self) -> bool:
        with self._lock:
            left = len(self._line) + len(self._unsent) + len(self._in_flight)
        return left == 0 or not self._link.connected or time.monotonic() > self._deadline - GOODBYE_S

    # What is said

    def _publish_state(self, topic: str, payload: dict[str, Any]) -> None:
        state = State(Message(topic, encode(payload), retain=True))
        with self._lock:
            self._keep(state)
        self._link.wake()

    def _keep(self, state: State) -> None:
        self._states[state.message.topic] = state
        self._unsent[state.message.topic] = None

    def _image(self, camera: str, jpeg: bytes, expires_s: float) -> State:
        message = Message(self._topics.image(camera), jpeg, retain=True, content_type=JPEG_TYPE)
        return State(message, time.monotonic() + expires_s)

    def _waiting_answer(self, answer: Answer) -> Waiting:
        return Waiting(
            self._topics.answer(answer.camera, answer.question),
            self._topics.late(answer.camera, answer.question),
            encode(answer_payload(answer, self._node, late=False)),
            until=time.monotonic() + answer.expires_s,
        )

    def _waiting_event(self, event: Event) -> Waiting:
        return Waiting(self._topics.event(event.camera), None, encode(event_payload(event, self._node)))

    def _say_dropped(self) -> None:
        with self._lock:
            dropped = self._line.dropped - self._dropped_before
            self._dropped_before = self._line.dropped
        if dropped:
            log.warning(
                "broker %s: the %d oldest answers and events were dropped while it was away (%d can wait)",
                self._spec.shown,
                dropped,
                self._line.limit,
            )


def _whole_seconds(until: float) -> int:
    """What is left until then, rounded up, 1 at least: 0 would mean never to some brokers."""
    return max(1, math.ceil(until - time.monotonic()))
