"""Publishes the daemon's messages: looks add answers and events, and one thread sends them."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edged.core.specs import BrokerSpec
from edged.core.text import counted
from edged.core.types import Answer, CameraState, Event
from edged.mqtt.connection import Connection
from edged.mqtt.outbox import OUTBOX_LIMIT, Pending
from edged.mqtt.retained import RetainedMessage
from edged.mqtt.send_queue import PublisherFigures, SendQueue
from edged.mqtt.topics import (
    JPEG_TYPE,
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
OFFLINE_S = 2.0  # of CLOSE_S, reserved for the acknowledgement of `offline`
TICK_S = 1.0
DROPPED_EVERY_S = 3600.0  # how often drops are logged while the broker is connected, and too slow


@dataclass(frozen=True, slots=True)
class Handover:
    """The unsent messages of a publisher, for the next one. The clearings are for the same broker only."""

    broker: tuple[str, int]
    waiting: list[Pending]  # answers and events that no broker has acknowledged, oldest first
    clearings: list[RetainedMessage]


class MqttPublisher:
    """Publishes answers and states. Only `close` waits for the network, 12 s at most."""

    def __init__(self, spec: BrokerSpec, node: str, outbox_limit: int = OUTBOX_LIMIT) -> None:
        self._spec = spec
        self._node = node
        self._topics = Topics(spec.prefix, node)
        online = Message(self._topics.state, encode(bridge_payload(True)), retain=True)
        self._queue = SendQueue(online, outbox_limit)
        self._connection = Connection(spec, node, self)
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._deadline = math.inf
        self._offline_acknowledged = False
        self._dropped_logged_at = -math.inf
        self.moved_at = math.inf

    def prepare(self) -> None:
        """Read the CA file. Raises FileUnusable. `start` does this too if it was not done."""
        self._connection.prepare()

    def start(self) -> None:
        """Begin to connect; returns at once, with or without a broker. Raises FileUnusable.

        Until `online` is called, only states are published, and `bridge/state` does not become `online`.
        """
        self._connection.start()
        self.moved_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="edged-publisher", daemon=True)
        self._thread.start()

    def online(self) -> None:
        """edged is ready: publish `online` after the retained states, in this connection and in each later one."""
        self._queue.online()
        self._connection.wake()

    def answers(self, answers: Sequence[Answer], events: Sequence[Event], image: bytes | None) -> None:
        """The outcome of one look. Raises ValueError, and publishes nothing, if a value is not valid in JSON."""
        look = [self._pending_answer(answer) for answer in answers]
        look += [self._pending_event(event) for event in events]
        picture = self._picture(answers, image) if image is not None and answers else None
        self._queue.add(look, picture)
        self._connection.wake()

    def camera(self, name: str, state: CameraState) -> None:
        self._publish_state(self._topics.availability(name), availability_payload(state))

    def info(self, info: dict[str, Any]) -> None:
        self._publish_state(self._topics.info, info)

    def health(self, health: dict[str, Any]) -> None:
        self._publish_state(self._topics.health, health)

    def clear(self, camera: str, questions: Sequence[str], gone: bool = False, picture: bool = False) -> None:
        """Clear the retained answers of these questions, the camera's `picture`, or, if `gone`, all of the camera.

        Waiting answers of these questions go out on `late`, not retained (those that were sent before: on their own
        topic, not retained). Without a connection the clearing waits too.
        """
        self._queue.clear(
            answers=[self._topics.answer(camera, question) for question in questions],
            states=[self._topics.availability(camera)] if gone else [],
            pictures=[self._topics.image(camera)] if gone or picture else [],
        )
        self._connection.wake()

    def withdraw(self, cameras: Mapping[str, Sequence[str]]) -> None:
        """Clear all retained messages except `offline`, because the node leaves this broker or these topics.

        `cameras` gives the questions of each. No more answers are sent. Waiting answers are for the next publisher.
        """
        topics = [self._topics.info, self._topics.health]
        for camera, questions in cameras.items():
            topics += [self._topics.answer(camera, question) for question in questions]
            topics.append(self._topics.availability(camera))
        self._queue.withdraw(topics, [self._topics.image(camera) for camera in cameras])
        self._connection.wake()

    def figures(self) -> PublisherFigures:
        return self._queue.figures(reconnects=max(0, self._connection.connections - 1))

    def close(self) -> bool:
        """Send waiting messages, publish `offline`, disconnect. True if the broker acknowledged the `offline`.

        Takes 12 s at most, and no time without a connection. A second call changes nothing.
        """
        if not self._closing.is_set():
            self._deadline = time.monotonic() + CLOSE_S
            self._closing.set()
            self._connection.wake()
        if self._thread is not None:
            self._thread.join(CLOSE_S + OFFLINE_S)
        return self._offline_acknowledged

    def release(self) -> Handover:
        """Call after `close`. The messages that no broker has acknowledged."""
        return Handover(self._broker, *self._queue.release())

    def adopt(self, handover: Handover) -> None:
        """Call before `start`. Messages that another publisher released are sent first, as late answers.

        The newest of a question is retained; not so under the topics of another node or prefix, which may be gone.
        An answer that was sent before, and may have arrived, keeps its topic and its payload.
        """
        clearings = handover.clearings if handover.broker == self._broker else ()
        self._queue.adopt(handover.waiting, clearings, self._topics.contains)

    # Called by the connection, in the sending thread

    def on_connected(self) -> None:
        self._queue.connected()
        self._log_dropped()

    def on_lost(self) -> None:
        self._queue.lost()

    def on_acknowledged(self, mid: int, accepted: bool) -> None:
        self._queue.acknowledged(mid, accepted)

    # The sending thread

    def _run(self) -> None:
        while not (self._closing.is_set() and self._nothing_to_wait_for()):
            try:
                self._connection.process_events(TICK_S)
                self._send()
                if self._connection.connected and time.monotonic() >= self._dropped_logged_at + DROPPED_EVERY_S:
                    self._log_dropped()
                self.moved_at = time.monotonic()
            except Exception:
                log.exception("broker %s: unexpected error in the publisher", self._spec.shown)
                time.sleep(TICK_S)  # the same error may come again at once
        self._offline_acknowledged = self._connection.close(self._deadline)
        self._queue.closed()
        self._log_dropped()

    def _nothing_to_wait_for(self) -> bool:
        too_late = time.monotonic() > self._deadline - OFFLINE_S
        return too_late or not self._connection.connected or self._queue.drained

    def _send(self) -> None:
        while self._connection.connected and self._queue.in_flight < self._connection.window:
            following = self._queue.next()
            if following is None:
                return
            entry, message = following
            if not self._connection.fits(message):
                self._queue.refuse(entry)
                continue
            mid = self._connection.publish(message)
            if mid is None:  # the connection is lost; `process_events` will report it
                self._queue.put_back(entry)
                return
            self._queue.sent(mid, entry, message)

    def _log_dropped(self) -> None:
        dropped = self._queue.newly_dropped()
        if dropped:
            self._dropped_logged_at = time.monotonic()
            messages = counted(dropped, "oldest message")
            log.warning("broker %s: outbox full (limit %d); %s dropped", self._spec.shown, self._queue.limit, messages)

    # Messages

    @property
    def _broker(self) -> tuple[str, int]:
        return (self._spec.host, self._spec.port)

    def _publish_state(self, topic: str, payload: dict[str, Any]) -> None:
        self._queue.keep(RetainedMessage(Message(topic, encode(payload), retain=True)))
        self._connection.wake()

    def _picture(self, answers: Sequence[Answer], jpeg: bytes) -> RetainedMessage:
        message = Message(self._topics.image(answers[0].camera), jpeg, retain=True, content_type=JPEG_TYPE)
        return RetainedMessage(message, time.monotonic() + max(answer.expires_s for answer in answers))

    def _pending_answer(self, answer: Answer) -> Pending:
        return Pending(
            self._topics.answer(answer.camera, answer.question),
            self._topics.late(answer.camera, answer.question),
            encode(answer_payload(answer, self._node, late=False)),
            until=time.monotonic() + answer.expires_s,
        )

    def _pending_event(self, event: Event) -> Pending:
        return Pending(self._topics.event(event.camera), None, encode(event_payload(event, self._node)))
