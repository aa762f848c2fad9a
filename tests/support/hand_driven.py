"""A publisher without a connection and a thread: a test decides when a message is sent, arrives and is acknowledged.

It does with its queue and store what MqttPublisher does.
"""

from __future__ import annotations

import itertools
import json
import math
import threading
import time
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from edged.core.interfaces import Store
from edged.core.types import Fact, StoredMessage
from edged.mqtt.acknowledgements import Outcome
from edged.mqtt.outbox import Limits, Pending, waiting
from edged.mqtt.retained import RetainedMessage
from edged.mqtt.send_queue import Entry, SendQueue
from edged.mqtt.topics import Message, Topics

TOPICS = Topics("edged", "box")
ONLINE = Message(TOPICS.state, b'{"state":"online"}', retain=True)
EVENT = TOPICS.event("dock")
WRITTEN_S = 20.0


@dataclass
class Broker:
    """What a broker has received, in order, and what it retains."""

    name: str
    received: list[tuple[int, Message]] = field(default_factory=list)  # with the number of the process
    retained: dict[str, bytes] = field(default_factory=dict)

    def receive(self, process: int, message: Message) -> None:
        self.received.append((process, message))
        if message.retain:
            self.retained[message.topic] = message.payload
            if not message.payload:
                del self.retained[message.topic]


class HandDriven:
    """`wire` has the messages that are on their way to the broker, in order."""

    def __init__(self, broker: Broker, store: Store, limits: Limits, window: int, process: int = 0) -> None:
        self._process = process
        self.broker = broker
        self.store = store
        self.queue = SendQueue(ONLINE, store, limits)
        self.connected = False
        self.wire: deque[tuple[int, Message]] = deque()
        self._window = window
        self._kind = f"retained {broker.name}"
        self._earlier = frozenset(store.facts(self._kind))
        self._mids = itertools.count(1)

    # what the service does

    def start(self, questions: Collection[str], released: Sequence[Pending] = ()) -> None:
        self.queue.adopt(released)
        self.follow(questions)
        self._adopt_found()
        self.queue.online()

    def follow(self, questions: Collection[str]) -> None:
        answers = {TOPICS.answer("dock", name) for name in questions}
        own = answers | {TOPICS.state, TOPICS.availability("dock")}
        known = set(self.store.facts(self._kind))
        self._remember([Fact(self._kind, topic, True) for topic in sorted(own - known)])
        earlier, self._earlier = self._earlier, frozenset[str]()
        self.queue.follow(own, sorted(known - own), [], earlier & answers)

    def state(self, payload: bytes) -> None:
        self.queue.keep(RetainedMessage(Message(TOPICS.availability("dock"), payload, retain=True)))

    def look(self, ids: dict[int, str | None]) -> None:
        """The answers of a look, and an event where there is no question. Returns when they are on disk."""
        late = not self.connected
        messages = [self._stored(number, question, late) for number, question in ids.items()]
        written = threading.Event()
        self.queue.coming(1)

        def then(on_disk: bool) -> None:
            self.queue.add(messages, None, on_disk)
            self.queue.coming(-1)
            written.set()

        self.store.write(messages, [], then)
        assert written.wait(WRITTEN_S)

    def _stored(self, number: int, question: str | None, late: bool) -> StoredMessage:
        payload = json.dumps({"id": number, "late": late}).encode()
        topic = EVENT if question is None else TOPICS.answer("dock", question)
        now = time.monotonic()
        until = math.inf if question is None else now + 3600.0
        return StoredMessage(self.store.next_number(), topic, "dock", question, payload, len(payload), now, until, late)

    # what the connection does

    def connect(self) -> None:
        self.queue.mark_late()
        self.queue.connected()
        self.connected = True

    def send(self) -> Message | None:
        """Put the next message on the wire; None if there is none, or it may not be sent now."""
        if not (self.connected and self.queue.resume_refused() and len(self.wire) < self._window):
            return None
        following = self.queue.next()
        if following is None:
            return None
        entry, message = following
        mid = next(self._mids)
        self.queue.sent(mid, entry, message)
        self.wire.append((mid, message))
        return message

    def take_and_put_back(self) -> None:
        """The connection is lost while the next message is taken."""
        may_send = self.connected and self.queue.resume_refused() and len(self.wire) < self._window
        if may_send and (following := self.queue.next()):
            entry: Entry = following[0]
            self.queue.put_back(entry)

    def acknowledge(self, outcome: Outcome) -> None:
        """The broker has received the first message on the wire, or refuses it."""
        mid, message = self.wire.popleft()
        if outcome == "accepted":
            self.broker.receive(self._process, message)
        self.queue.acknowledged(mid, outcome)
        self.tell_store()

    def lose(self, arrived: int) -> None:
        """The connection ends. So many of the messages on the wire have arrived; no acknowledgement has."""
        self.cut(arrived)
        self.queue.lost()
        self.queue.mark_late()

    def cut(self, arrived: int) -> None:
        for _, message in list(self.wire)[:arrived]:
            self.broker.receive(self._process, message)
        self.wire.clear()
        self.connected = False

    def close(self) -> None:
        """Without a last word to the broker."""
        self.queue.closed()
        self.tell_store()

    def tell_store(self) -> None:
        if cleared := self.queue.cleared():
            self._remember([Fact(self._kind, topic, None) for topic in cleared])
        if finished := self.queue.finished():
            self.store.done(finished)

    def _remember(self, facts: Sequence[Fact]) -> None:
        """Returns when they are on disk, so that a test runs in the same way each time."""
        written = threading.Event()
        self.store.write([], facts, lambda _: written.set())
        assert written.wait(WRITTEN_S)

    def _adopt_found(self) -> None:
        found = self.store.found()
        acknowledged = [message for message in found if not message.waiting]
        superseded = {message.topic for message in acknowledged}
        self.queue.adopt(
            [waiting(message, True, message.topic in superseded) for message in found if message.waiting], superseded
        )
        for message in acknowledged:
            payload = self.store.payload(message.number)
            assert payload is not None
            self.queue.restore(RetainedMessage(Message(message.topic, payload, retain=True), message.until))
