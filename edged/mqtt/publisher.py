"""Answers and events on their way to the broker. Looks leave them here; one thread sends them until they are taken.

After a connect every retained state is sent; once edged is online, the newest answer of each question and `online`
follow. From then on states, answers, events, overtaken answers and pictures take turns, so that none holds up another.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edged.core.specs import BrokerSpec
from edged.core.types import Answer, CameraState, Event
from edged.mqtt.connection import Connection
from edged.mqtt.outbox import OUTBOX_LIMIT, Outbox, Pending, Retained, State
from edged.mqtt.topics import (
    JPEG_TYPE,
    JSON_TYPE,
    Message,
    Topics,
    answer_payload,
    availability_payload,
    bridge_payload,
    encode,
    event_payload,
)

log = logging.getLogger(__name__)

CLOSE_S = 10.0
GOODBYE_S = 2.0  # of CLOSE_S, kept for the acknowledgement of `offline`
TICK_S = 1.0
DROPPED_EVERY_S = 3600.0  # how often drops are logged while the broker is connected, and too slow


@dataclass(frozen=True, slots=True)
class Figures:
    """For health. `reconnects` counts connections after the first, `refused` what the broker would not take."""

    connected: bool
    reconnects: int
    waiting: int
    dropped: int
    published: int
    refused: int


@dataclass(frozen=True, slots=True)
class Left:
    """What a publisher leaves to the next one. Only at the same broker is there anything to clear."""

    broker: tuple[str, int]
    waiting: list[Pending]  # answers and events that no broker has acknowledged, oldest first
    clearings: list[State]


class MqttPublisher:
    """Where answers go. Nothing here waits for the network but `close`, which waits 12 s at most."""

    def __init__(self, spec: BrokerSpec, node: str, outbox_limit: int = OUTBOX_LIMIT) -> None:
        self._spec = spec
        self._node = node
        self._topics = Topics(spec.prefix, node)
        self._connection = Connection(spec, node, self)
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._deadline = math.inf
        self._goodbye_taken = False
        self._lock = threading.Lock()  # over all that follows; never held while paho is called
        self._outbox = Outbox(outbox_limit)
        self._states = Retained()
        self._pictures = Retained()
        self._turns: deque[Callable[[], State | Pending | None]] = deque(
            (
                self._states.take,
                self._outbox.take_answer,
                self._outbox.take_event,
                self._outbox.take_overtaken,
                self._pictures.take,
            )
        )
        self._in_flight: dict[int, State | Pending] = {}
        self._connected = False
        self._withdrawn = False  # nothing but clearings is sent
        self._online = False  # edged works
        self._online_sent = False  # and this connection was told so
        self._before_online = 0  # the last answer that goes out before `online`
        self._published = 0
        self._refused = 0
        self._dropped_before = 0
        self._dropped_logged_at = -math.inf
        self.moved_at = math.inf

    def prepare(self) -> None:
        """Read the CA file. Raises FileUnusable. `start` does this too if it was not done."""
        self._connection.prepare()

    def start(self) -> None:
        """Begin to connect; returns at once, broker or not. Raises FileUnusable.

        Until `online` is called, only states are published, and the broker is not told that edged is online.
        """
        self._connection.start()
        self.moved_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="edged-publisher", daemon=True)
        self._thread.start()

    def online(self) -> None:
        """edged works: say `online` after the retained states, at this connection and at each later one."""
        with self._lock:
            self._online = True
            self._before_online = self._outbox.last
        self._connection.wake()

    def answers(self, answers: Sequence[Answer], events: Sequence[Event], image: bytes | None) -> None:
        """The outcome of one look. Raises ValueError, and takes nothing, if a value cannot be said in JSON."""
        waiting = [self._waiting_answer(answer) for answer in answers]
        waiting += [self._waiting_event(event) for event in events]
        with self._lock:
            if image is not None and answers and not self._withdrawn:
                self._pictures.keep(self._image(answers[0].camera, image, max(answer.expires_s for answer in answers)))
            for one in waiting:
                one.outage = not self._connected
                if one.late_topic is not None and not self._withdrawn:
                    self._states.drop(one.topic)
                self._outbox.add(one)
        self._connection.wake()

    def camera(self, name: str, state: CameraState) -> None:
        self._publish_state(self._topics.availability(name), availability_payload(state))

    def info(self, info: dict[str, Any]) -> None:
        self._publish_state(self._topics.info, info)

    def health(self, health: dict[str, Any]) -> None:
        self._publish_state(self._topics.health, health)

    def retire(self, camera: str, questions: Sequence[str], gone: bool = False, picture: bool = False) -> None:
        """Clear what is retained of these questions, the camera's `picture`, or, with `gone`, of the camera itself.

        Their answers that still wait go out on `late`, not retained. While the broker is away the clearing waits too.
        """
        topics = [self._topics.answer(camera, question) for question in questions]
        with self._lock:
            for topic in topics:
                self._outbox.forget(topic)
                self._states.keep(_cleared(topic))
            if gone:
                self._states.keep(_cleared(self._topics.availability(camera)))
            if gone or picture:
                self._pictures.keep(_cleared(self._topics.image(camera), JPEG_TYPE))
        self._connection.wake()

    def withdraw(self, cameras: Mapping[str, Sequence[str]]) -> None:
        """The box leaves this broker or these topics: clear all that is retained there but `offline`.

        `cameras` are the questions of each. No more answers are sent: what waits is for the next publisher.
        """
        topics = [self._topics.info, self._topics.health]
        for camera, questions in cameras.items():
            topics += [self._topics.answer(camera, question) for question in questions]
            topics.append(self._topics.availability(camera))
        with self._lock:
            self._withdrawn = True
            for topic in topics:
                self._states.keep(_cleared(topic))
            for camera in cameras:
                self._pictures.keep(_cleared(self._topics.image(camera), JPEG_TYPE))
        self._connection.wake()

    def figures(self) -> Figures:
        with self._lock:
            return Figures(
                connected=self._connected,
                reconnects=max(0, self._connection.connections - 1),
                waiting=len(self._outbox),
                dropped=self._outbox.dropped,
                published=self._published,
                refused=self._refused,
            )

    def close(self) -> bool:
        """Send what waits, say `offline`, disconnect. Whether the broker acknowledged the `offline`.

        Takes 12 s at most, and no time where there is no broker. A second call changes nothing.
        """
        if not self._closing.is_set():
            self._deadline = time.monotonic() + CLOSE_S
            self._closing.set()
            self._connection.wake()
        if self._thread is not None:
            self._thread.join(CLOSE_S + GOODBYE_S)
        return self._goodbye_taken

    def release(self) -> Left:
        """After `close`: what no broker has acknowledged."""
        with self._lock:
            self._in_flight.clear()
            clearings = [*self._states.clearings(), *self._pictures.clearings()]
            return Left(self._broker, self._outbox.release(), clearings)

    def adopt(self, left: Left) -> None:
        """Before `start`: send what another publisher released, before everything else, and as late answers.

        The newest of a question is retained; not so under the topics of another node or prefix, which may be gone.
        """
        with self._lock:
            for clearing in left.clearings if left.broker == self._broker else ():
                kept = self._kept_in(clearing)
                if clearing.topic not in kept:
                    kept.keep(clearing)
            self._outbox.adopt(left.waiting, lambda topic: self._topics.has(topic) and topic not in self._states)

    # Called by the link, in the sending thread

    def on_connected(self) -> None:
        with self._lock:
            self._connected = True
            self._online_sent = False
            self._before_online = self._outbox.last
            self._states.send_again()
            self._pictures.send_again()
        self._say_dropped()

    def on_lost(self) -> None:
        with self._lock:
            self._connected = False
            self._in_flight.clear()
            self._outbox.suffer_outage()

    def on_acknowledged(self, mid: int, taken: bool) -> None:
        with self._lock:
            one = self._in_flight.pop(mid, None)
            if one is not None:
                self._settle(one, taken)

    def _settle(self, one: State | Pending, taken: bool) -> None:
        """Sent and done with, taken or refused."""
        self._published += taken
        self._refused += not taken
        if isinstance(one, State):
            self._kept_in(one).settle(one)
        elif self._outbox.settle(one) and not self._withdrawn:
            self._states.hold(State(Message(one.topic, one.payload, retain=True), one.until))

    # The sending thread

    def _run(self) -> None:
        while not (self._closing.is_set() and self._nothing_left()):
            try:
                self._connection.attend(TICK_S)
                self._send()
                if self._connection.connected and time.monotonic() >= self._dropped_logged_at + DROPPED_EVERY_S:
                    self._say_dropped()
                self.moved_at = time.monotonic()
            except Exception:
                log.exception("broker %s: unexpected error in the publisher", self._spec.shown)
                time.sleep(TICK_S)  # the same error may come again at once
        self._goodbye_taken = self._connection.close(self._deadline)
        with self._lock:
            self._connected = False
        self._say_dropped()

    def _send(self) -> None:
        while self._connection.connected and len(self._in_flight) < self._connection.window:
            with self._lock:
                one = self._next()
                message = None if one is None else one.message()
            if one is None or message is None:
                return
            if not self._connection.takes(message):
                with self._lock:
                    self._settle(one, taken=False)
                continue
            mid = self._connection.publish(message)
            with self._lock:
                if mid is None:  # the connection is lost; the link will report it
                    self._put_back(one)
                    return
                if isinstance(one, Pending):
                    one.sent = True
                self._in_flight[mid] = one

    def _next(self) -> State | Pending | None:
        if self._withdrawn:
            return self._states.take() or self._pictures.take()
        if self._online_sent:
            return self._next_in_turn()
        state = self._states.take()
        if state is not None or not self._online:
            return state
        # Only what waited at the connect: a broker slower than the looks would never hear of `online`.
        answer = self._outbox.take_answer(up_to=self._before_online)
        if answer is not None:
            return answer
        self._online_sent = True
        return State(Message(self._topics.state, encode(bridge_payload(True)), retain=True))

    def _next_in_turn(self) -> State | Pending | None:
        for _ in range(len(self._turns)):
            take = self._turns[0]
            self._turns.rotate(-1)
            one = take()
            if one is not None:
                return one
        return None

    def _put_back(self, one: State | Pending) -> None:
        if isinstance(one, Pending):
            self._outbox.put_back(one)
        else:
            self._kept_in(one).put_back(one)

    @property
    def _broker(self) -> tuple[str, int]:
        return (self._spec.host, self._spec.port)

    def _kept_in(self, state: State) -> Retained:
        return self._pictures if state.content.content_type == JPEG_TYPE else self._states

    def _nothing_left(self) -> bool:
        with self._lock:
            left = len(self._in_flight) + self._states.unsent
            if self._online or self._withdrawn:
                left += self._pictures.unsent
            if self._online and not self._withdrawn:
                left += len(self._outbox)
        return left == 0 or not self._connection.connected or time.monotonic() > self._deadline - GOODBYE_S

    # What is said

    def _publish_state(self, topic: str, payload: dict[str, Any]) -> None:
        state = State(Message(topic, encode(payload), retain=True))
        with self._lock:
            self._states.keep(state)
        self._connection.wake()

    def _image(self, camera: str, jpeg: bytes, expires_s: float) -> State:
        message = Message(self._topics.image(camera), jpeg, retain=True, content_type=JPEG_TYPE)
        return State(message, time.monotonic() + expires_s)

    def _waiting_answer(self, answer: Answer) -> Pending:
        return Pending(
            self._topics.answer(answer.camera, answer.question),
            self._topics.late(answer.camera, answer.question),
            encode(answer_payload(answer, self._node, late=False)),
            until=time.monotonic() + answer.expires_s,
        )

    def _waiting_event(self, event: Event) -> Pending:
        return Pending(self._topics.event(event.camera), None, encode(event_payload(event, self._node)))

    def _say_dropped(self) -> None:
        with self._lock:
            dropped = self._outbox.dropped - self._dropped_before
            self._dropped_before = self._outbox.dropped
        if dropped:
            self._dropped_logged_at = time.monotonic()
            log.warning(
                "broker %s: the %d oldest answers and events were dropped, because only %d can wait",
                self._spec.shown,
                dropped,
                self._outbox.limit,
            )


def _cleared(topic: str, content_type: str = JSON_TYPE) -> State:
    return State(Message(topic, b"", retain=True, content_type=content_type))
