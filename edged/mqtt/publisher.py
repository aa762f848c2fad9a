"""Publishes the daemon's messages: looks add answers and events, and one thread sends them."""

from __future__ import annotations

import logging
import math
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import filterfalse
from typing import Any, TypeAlias

from edged.core.interfaces import Store
from edged.core.memory_store import MemoryStore
from edged.core.outage import Outage
from edged.core.payloads import answer_payload, encode, event_payload
from edged.core.requests import Received
from edged.core.specs import BrokerSpec, Config
from edged.core.text import counted
from edged.core.types import Answer, CameraState, Event, Fact, StoredMessage
from edged.mqtt.acknowledgements import Outcome
from edged.mqtt.announcer import Announcer
from edged.mqtt.client import Incoming
from edged.mqtt.connection import Connection
from edged.mqtt.known_broker import KnownBroker
from edged.mqtt.outbox import Limits, Pending, waiting
from edged.mqtt.request_queue import RequestQueue
from edged.mqtt.responses import too_large
from edged.mqtt.retained import RetainedMessage
from edged.mqtt.send_queue import PublisherFigures, SendQueue
from edged.mqtt.topics import (
    JPEG_TYPE,
    Message,
    Topics,
    availability_payload,
    bridge_payload,
    expiring_topics,
    retained_topics,
)

log = logging.getLogger(__name__)

CLOSE_S = 10.0
OFFLINE_S = 2.0  # of CLOSE_S, reserved for the acknowledgement of `offline`
TICK_S = 1.0
# A JPEG scaled down to this many bytes; None if it is not possible.
ScaleDown: TypeAlias = Callable[[bytes, int], bytes | None]
DROPPED_EVERY_S = 3600.0  # how often drops are logged while the broker is connected, and too slow


@cache
def this_process() -> str:
    """Tells this edged from another one with the same node name."""
    return uuid.uuid4().hex[:12]


@dataclass(frozen=True, slots=True)
class Released:
    """Messages that no broker has acknowledged, oldest first, and requests at `broker` that may not have a response.

    `retained` are the newest answers that this broker has acknowledged. `expiring` are the topics of answers and
    pictures; of these, `unknown` may have messages of an earlier process. `pictures` tells when the pictures that the
    broker may have expire (monotonic), by topic. `known` is what was learned about the broker. `queue` gets the looks
    that are being written to the store.
    """

    messages: list[Pending]
    retained: list[RetainedMessage]
    expiring: frozenset[str]
    unknown: frozenset[str]
    pictures: Mapping[str, float]
    requests: RequestQueue
    broker: BrokerSpec
    known: KnownBroker
    queue: SendQueue


class MqttPublisher:
    """Publishes answers and states. Only `close` waits for the network, 12 s at most.

    `requested` is called with each request, in the sending thread, and returns at once. None: no requests are received.

    `scale_down` is called in the sending thread, with pictures that are too large for the broker.
    """

    def __init__(
        self,
        spec: BrokerSpec,
        node: str,
        store: Store | None = None,
        limits: Limits = Limits(),  # noqa: B008  # frozen
        requested: Callable[[Received], None] | None = None,
        scale_down: ScaleDown | None = None,
        instance: str | None = None,
        version: str = "",
    ) -> None:
        self._spec = spec
        self._node = node
        self._store: Store = store or MemoryStore()
        self._topics = Topics(spec.prefix, node)
        self._retained_kind = f"retained {spec.host}:{spec.port}"
        self._earlier = frozenset(self._store.facts(self._retained_kind))  # topics of an earlier process
        self._expiring = frozenset[str]()  # topics of the config whose messages expire: answers and pictures
        self._settings: Mapping[str, str] = {}  # by topic of pictures: `CameraSpec.pictures_digest`
        self._follow_lock = threading.Lock()
        self._handled: set[str] | None = None  # topics of the config, and those that were cleared; None before `follow`
        online = Message(self._topics.state, encode(bridge_payload(True)), retain=True)
        self._queue = SendQueue(online, self._store, limits)
        self._instance = instance or this_process()
        filters = [self._topics.request("+")] if requested else []
        self._connection = Connection(spec, node, self, subscriptions=filters, instance=self._instance)
        self._requests = RequestQueue(self._topics, spec.shown, requested or _ignore, self._connection.wake)
        self._scale_down = scale_down
        self._scaling_logged = False
        self._announcer = Announcer(
            self._store, self._queue, f"discovery {spec.host}:{spec.port}", self._topics, version
        )
        self._failing = Outage(f"broker {spec.shown}", log, "the publisher works again", "error", "errors")
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._deadline = math.inf
        self._offline_acknowledged = False
        self._dropped_logged_at = -math.inf
        self._tick_at = -math.inf
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
        thread = threading.Thread(target=self._run, name="edged-publisher", daemon=True)
        thread.start()
        self._thread = thread

    @property
    def tried(self) -> bool:
        """True once the first attempt to connect has ended, or if none is made."""
        return self._connection.tried

    def online(self) -> None:
        """edged is ready: publish `online` after the retained states, in this connection and in each later one."""
        self._queue.online()
        self._connection.wake()

    def answers(
        self,
        answers: Sequence[Answer],
        events: Sequence[Event],
        image: bytes | None,
        facts: Sequence[Fact] = (),
        settings: str | None = None,
    ) -> None:
        """The outcome of one look. Raises ValueError, and publishes nothing, if a value is not valid in JSON."""
        late = not self._queue.is_connected
        look = uuid.uuid4().hex
        messages = [self._stored_answer(answer, look, late) for answer in answers]
        messages += [self._stored_event(event, look, late) for event in events]
        picture = self._picture(answers, image, look, settings) if image is not None and answers else None
        known: list[Fact] = []
        if picture and picture.fact:
            # A crash must not leave the fact that all is well while the broker has a picture that must be cleared.
            outdated = self._queue.has_outdated_picture(picture.topic)
            known = [replace(picture.fact, value=True) if outdated else picture.fact]
            picture = picture if outdated else replace(picture, fact=None)
        self._queue.coming(1)
        self._store.write(messages, [*facts, *known], partial(self._send_look, messages, picture))

    def _send_look(self, messages: Sequence[StoredMessage], picture: RetainedMessage | None, on_disk: bool) -> None:
        self._adopt_found()  # the store has read it before it wrote this look, and it goes out first
        self._queue.add(messages, picture, on_disk)
        self._queue.coming(-1)
        self._connection.wake()

    def camera(self, name: str, state: CameraState) -> None:
        self._publish_state(self._topics.availability(name), availability_payload(state))

    def active(self, camera: str, state: dict[str, Any]) -> None:
        self._publish_state(self._topics.active(camera), state)

    def info(self, info: dict[str, Any]) -> None:
        self._publish_state(self._topics.info, info)

    def health(self, health: dict[str, Any]) -> None:
        self._publish_state(self._topics.health, {**health, "instance": self._instance})

    def follow(self, config: Config) -> None:
        """Clear what may be retained at the broker and is not of this config. Without a connection that waits too.

        Waiting answers of other questions go out on `late`, not retained; those that were sent before go out on their
        own topic, not retained.
        """
        announced = self._announcer.messages(config)
        own = retained_topics(self._topics, config.cameras) | announced.keys()
        settings = {self._topics.image(spec.name): spec.pictures_digest for spec in config.cameras}
        self._queue.follow_pictures(settings)  # first: what the broker gets after that is in no fact yet
        stored = self._store.facts(self._retained_kind)
        known = set(stored)
        with self._follow_lock:  # before they are in the store: they must not be taken for those of an earlier process
            self._handled = known | own
        self._store.remember([Fact(self._retained_kind, topic, True) for topic in sorted(own - known)])
        earlier, self._earlier = self._earlier, frozenset[str]()
        self._expiring = frozenset(expiring_topics(self._topics, config.cameras))
        answers, pictures = self._split(earlier & self._expiring)
        self._queue.follow(own, *self._split(known - own), answers)
        self._queue.left_pictures({topic: _picture_until(stored.get(topic)) for topic in pictures})
        self._outdate_pictures(settings, stored)
        self._settings = settings
        self._announcer.follow(config, announced)
        self._connection.wake()

    def _outdate_pictures(self, settings: Mapping[str, str], stored: Mapping[str, Any]) -> None:
        """Clear the pictures of another source or with another mask."""
        outdated = [topic for topic, digest in settings.items() if _is_of_others(stored.get(topic), digest)]
        self._store.remember([Fact(self._retained_kind, topic, True) for topic in outdated])
        self._queue.outdate_pictures(outdated)

    def withdraw(self, following: Config) -> None:
        """Clear all retained messages except `offline`, because the node leaves this broker or these topics.

        No more answers are sent. Waiting answers are for the next publisher, with the config `following`. At the same
        broker it announces devices too: those of the same name stay in Home Assistant.
        """
        self._leave_found_alone()
        known = set(self._store.facts(self._retained_kind))
        kept = self._announcer.messages(following).keys() if self._is_at(following.mqtt) else set[str]()
        self._announcer.withdraw()
        self._queue.withdraw(*self._split(known - {self._topics.state} - kept))
        self._connection.wake()

    def _is_at(self, broker: BrokerSpec) -> bool:
        """True if this is the same broker, which has the same retained messages."""
        return (broker.host, broker.port) == (self._spec.host, self._spec.port)

    def figures(self) -> PublisherFigures:
        return self._queue.figures(reconnects=max(0, self._connection.connections - 1))

    def close(self) -> bool:
        """Send waiting messages, publish `offline`, disconnect. True if the broker acknowledged the `offline`.

        Takes 12 s at most, and no time without a connection. A second call changes nothing.
        """
        if not self._closing.is_set():
            self._deadline = time.monotonic() + CLOSE_S
            self._leave_found_alone()
            self._requests.closing()
            self._closing.set()
            self._connection.wake()
        if self._thread is not None:
            self._thread.join(CLOSE_S + OFFLINE_S)
        else:  # it could not be started, but the connection was begun
            self._connection.close(self._deadline)
        return self._offline_acknowledged

    def release(self) -> Released:
        """Call after `close`. What is left for the next publisher."""
        queue, expiring = self._queue, self._expiring
        messages = queue.release()  # first: a look that is on disk only after this is newer than what is retained
        retained, unknown = queue.retained(expiring), queue.unknown | self._earlier
        known, pictures = self._connection.release(), queue.pictures
        return Released(messages, retained, expiring, unknown, pictures, self._requests, self._spec, known, queue)

    def adopt(self, released: Released) -> None:
        """Call before `start`. Messages that another publisher released are sent first, as late answers.

        At the same broker, what that publisher has published stays retained, if its topics are those of this one.

        The newest of a question is retained; not so under the topics of another node or prefix, which may be gone.
        An answer that was sent before, and may have arrived, keeps its topic and its payload.
        """
        retained: list[RetainedMessage] = []
        if self._is_at(released.broker):
            retained = released.retained
            self._earlier = self._earlier - released.expiring | released.unknown
            own = {topic: until for topic, until in released.pictures.items() if self._topics.is_picture(topic)}
            self._queue.left_pictures(own)
        released.queue.hand_over(self._queue)  # first: what it gets from now on comes after what it has released
        self._queue.adopt(released.messages, superseded={message.topic for message in retained})
        for message in retained:
            self._queue.restore(message)
        if released.broker.shown == self._spec.shown:
            released.requests.hand_over(self._requests)
        self._connection.adopt(released.known)

    # Called by the connection, in the sending thread

    def on_connected(self) -> None:
        # Before a newer answer is sent: after a crash, one that is not marked would be taken for one that was sent.
        self._queue.mark_late()
        self._queue.connected()
        self._requests.connected()
        self._log_dropped()

    def on_lost(self) -> None:
        self._requests.lost()
        self._queue.lost()
        self._queue.mark_late()

    def on_acknowledged(self, mid: int, outcome: Outcome) -> None:
        self._requests.acknowledged(mid, outcome)
        self._queue.acknowledged(mid, outcome)

    def on_message(self, incoming: Incoming) -> None:
        if self._requests.is_request(incoming):
            self._requests.receive(incoming)
        else:
            self._announcer.on_message(incoming)

    def on_rivals_gone(self) -> None:
        self._queue.connected()  # everything is sent again, also in place of the `offline` of the others

    # The sending thread

    def _run(self) -> None:
        while not (self._closing.is_set() and self._nothing_to_wait_for()):
            try:
                self._adopt_found()
                self._queue.read_found()
                self._each_second()
                self._connection.process_events(min(TICK_S, self._connection.pause_s or TICK_S))
                self._send()
                self._tell_store()
                if self._connection.connected and time.monotonic() >= self._dropped_logged_at + DROPPED_EVERY_S:
                    self._log_dropped()
                self.moved_at = time.monotonic()
                self._failing.end()
            except Exception as error:
                reason = f"unexpected error in the publisher: {error!r}"
                self._failing.begin(reason, level=logging.ERROR, exc_info=error)
                time.sleep(TICK_S)  # the same error may come again at once
        self._offline_acknowledged = self._connection.close(self._deadline)
        self._queue.closed()
        self._tell_store()
        self._log_dropped()

    def _each_second(self) -> None:
        now = time.monotonic()
        if now < self._tick_at:
            return
        self._tick_at = now + TICK_S
        self._clear_found_late()
        for topic_filter in self._announcer.filters:
            self._connection.subscribe(topic_filter)
        self._queue.expire()
        self._announcer.tick()

    def _adopt_found(self) -> None:
        """What an earlier process left, once the store has read it. For any thread."""
        found = self._store.found()
        if not found:
            return
        acknowledged = [message for message in found if not message.waiting]
        superseded = {message.topic for message in acknowledged}
        self._queue.adopt(
            [waiting(message, True, message.topic in superseded) for message in found if message.waiting], superseded
        )
        self._queue.restore_found(acknowledged)

    def _clear_found_late(self) -> None:
        """Topics of an earlier process, if the store could be read only after `follow`."""
        with self._follow_lock:
            if self._handled is None:
                return
            found = self._store.facts(self._retained_kind).keys() - self._handled
            self._handled = self._handled | found
            self._queue.clear(*self._split(found))

    def _leave_found_alone(self) -> None:
        """From now on the topics that the store has may be those of a successor."""
        with self._follow_lock:
            self._handled = None

    def _tell_store(self) -> None:
        if finished := self._queue.finished():
            self._store.done(finished)
        if cleared := self._queue.cleared():
            self._announcer.forget(cleared)
        if forgotten := self._queue.forgotten():
            self._store.remember([Fact(self._retained_kind, topic, None) for topic in forgotten])
        if facts := self._queue.facts():
            self._store.remember([fact for fact in facts if fact.kind == self._retained_kind])
            self._announcer.confirm([fact for fact in facts if fact.kind != self._retained_kind])

    def _nothing_to_wait_for(self) -> bool:
        too_late = time.monotonic() > self._deadline - OFFLINE_S
        drained = self._queue.drained and self._requests.drained
        return too_late or not self._connection.connected or drained

    def _send(self) -> None:
        if self._connection.pause_s or not self._queue.resume_refused():
            return
        # Responses first, in half of the window: answers go on while many requests arrive.
        while self._may_send() and 2 * self._requests.in_flight < self._connection.limits.window:
            response = self._requests.next()
            if response is None:
                break
            if not self._connection.limits.fits(response):
                response = too_large(response)
            if self._connection.limits.fits(response) and (mid := self._connection.publish(response)) is not None:
                self._requests.sent(mid, response)
        while self._may_send():
            following = self._queue.next()
            if following is None:
                return
            entry, message = following[0], self._in_size(following[1])
            if message is None:
                self._queue.refuse(entry)
                continue
            mid = self._connection.publish(message)
            if mid is None:  # the connection is lost; `process_events` will report it
                self._queue.put_back(entry)
                return
            self._queue.sent(mid, entry, message)

    def _may_send(self) -> bool:
        in_flight = self._queue.in_flight + self._requests.in_flight
        return self._connection.connected and in_flight < self._connection.limits.window

    def _in_size(self, message: Message) -> Message | None:
        """The message, or a picture scaled down to what the broker accepts. None if it would not accept it."""
        room = self._connection.limits.room(message)
        if not message.is_picture or room is None or len(message.payload) <= room or self._scale_down is None:
            return message if self._connection.limits.fits(message) else None
        scaled = self._scale_down(message.payload, room)
        if not self._scaling_logged:
            self._scaling_logged = True
            what = "are not published; they exceed" if scaled is None else "are scaled down to"
            log.info("broker %s: pictures %s its limit of %d bytes", self._spec.shown, what, room)
        smaller = None if scaled is None else replace(message, payload=scaled)
        return smaller if smaller and self._connection.limits.fits(smaller) else None

    def _log_dropped(self) -> None:
        full, unreadable = self._queue.newly_dropped()
        if full or unreadable:
            self._dropped_logged_at = time.monotonic()
        if full:
            log.warning(
                "broker %s: %s dropped; too many waited, or they were too old",
                self._spec.shown,
                counted(full, "oldest message"),
            )
        if unreadable:
            what, were = counted(unreadable, "message"), "was" if unreadable == 1 else "were"
            log.warning("store: %s could not be read and %s dropped", what, were)

    def _split(self, topics: Set[str]) -> tuple[list[str], list[str]]:
        """Topics of JSON, and topics of pictures. Those of another node count as JSON: they are only cleared."""
        is_picture = self._topics.is_picture
        return sorted(filterfalse(is_picture, topics)), sorted(filter(is_picture, topics))

    # Messages

    def _publish_state(self, topic: str, payload: dict[str, Any]) -> None:
        self._queue.keep(RetainedMessage(Message(topic, encode(payload), retain=True)))
        self._connection.wake()

    def _picture(self, answers: Sequence[Answer], jpeg: bytes, look: str, settings: str | None) -> RetainedMessage:
        """Its fact tells a later process, or config, whether it must be cleared."""
        topic, left_s = self._topics.image(answers[0].camera), max(answer.expires_s for answer in answers)
        settings = settings or self._settings.get(topic)
        fact = Fact(
            self._retained_kind, topic, {"expires_ts": time.time() + left_s, "left_s": left_s, "pictures": settings}
        )
        message = Message(topic, jpeg, retain=True, content_type=JPEG_TYPE, look=look)
        return RetainedMessage(message, time.monotonic() + left_s, fact, settings=settings)

    def _stored_answer(self, answer: Answer, look: str, late: bool) -> StoredMessage:
        payload = encode(answer_payload(answer, self._node, late))
        until = time.monotonic() + answer.expires_s
        topic = self._topics.answer(answer.camera, answer.question)
        return self._stored(topic, answer.camera, answer.question, payload, until, late, look)

    def _stored_event(self, event: Event, look: str, late: bool) -> StoredMessage:
        payload = encode(event_payload(event, self._node, late))
        return self._stored(self._topics.event(event.camera), event.camera, None, payload, math.inf, late, look)

    def _stored(
        self, topic: str, camera: str, question: str | None, payload: bytes, until: float, late: bool, look: str
    ) -> StoredMessage:
        number, now = self._store.next_number(), time.monotonic()
        return StoredMessage(number, topic, camera, question, payload, len(payload), now, until, late, look=look)


def _picture_until(stored: Any) -> float:
    """When (monotonic) the picture of an earlier process expires, by its fact; in the past if that is not known.

    Its lifetime at most from now on: the clock may have been set back.
    """
    try:
        left_s = min(float(stored["expires_ts"]) - time.time(), float(stored["left_s"]))
    except (KeyError, TypeError, ValueError):
        return -math.inf
    return time.monotonic() + left_s


def _is_of_others(stored: Any, digest: str) -> bool:
    """True if a picture was published with other settings than these."""
    return isinstance(stored, dict) and stored.get("pictures") != digest


def _ignore(_received: Received) -> None:
    """No requests are subscribed to."""
