"""Pictures and answers agree: the same look in both, a picture after its answers and never after newer ones."""

# ruff: noqa: F401, F811  # fixtures are imported, and then named as arguments

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from support.broker import Mosquitto, Subscriber, Wire, an_answer, mosquitto, subscriber, until, wire
from support.publishing import EVENT, PEOPLE, an_event, asking, disconnected, publisher, publishing, settled, store

from edged.core.memory_store import MemoryStore
from edged.core.types import StoredMessage
from edged.mqtt.acknowledgements import Outcome
from edged.mqtt.publisher import MqttPublisher
from edged.mqtt.retained import RetainedMessage
from edged.mqtt.send_queue import Entry, SendQueue
from edged.mqtt.topics import JPEG_TYPE, Message
from edged.store.store import DiskStore

PICTURE = "edged/box/dock/image/jpeg"
ONLINE = Message("state", b'{"state":"online"}', retain=True)
CAMERAS = ("dock", "yard")
QUESTIONS = ("people", "gate", "weather")


# At a broker


def test_answers_events_and_picture_of_a_look_have_its_id_in_a_user_property(
    publisher: MqttPublisher, subscriber: Subscriber
) -> None:
    for number in (1, 2):
        publisher.answers(
            [an_answer(f"p{number}"), an_answer(f"g{number}", question="gate_open")],
            [an_event(f"e{number}")],
            f"jpeg {number}".encode(),
        )
        subscriber.wait_for_topic(PICTURE, number)
        subscriber.wait_for_topic(EVENT, number)
    looks = {message.payload: message.look for message in subscriber.of(PICTURE)}
    first, second = looks[b"jpeg 1"], looks[b"jpeg 2"]
    assert None not in (first, second)
    assert first != second
    for topic in (PEOPLE, "edged/box/dock/gate_open", EVENT):
        assert [message.look for message in subscriber.of(topic)] == [first, second]
    assert all(message.look is None for message in subscriber.of("edged/box/bridge/state"))


def test_an_answer_named_like_a_picture_is_published_again_after_a_restart(
    mosquitto: Mosquitto, subscriber: Subscriber, tmp_path: Path
) -> None:
    topic, config = "edged/box/image/jpeg", asking(dock=["jpeg"])
    config = replace(config, cameras=(replace(config.cameras[0], name="image"),))
    for answers in ([an_answer("a", "image", "jpeg")], []):
        store = DiskStore(tmp_path / "edged.db", lambda: True)
        store.open()
        with publishing(mosquitto.port, store=store, config=config) as publisher:
            if answers:
                publisher.answers(answers, [], None)
            subscriber.wait_for_topic(topic)
            settled(publisher)
        subscriber.catch_up()
        assert {message.payload == b"" for message in subscriber.of(topic)} == {False}
        subscriber.forget()
        store.close()


def test_an_answer_that_waited_in_an_outage_keeps_its_look(
    publisher: MqttPublisher, subscriber: Subscriber, wire: Wire
) -> None:
    wire.cut()
    disconnected(publisher)
    publisher.answers([an_answer("p1")], [an_event("e1")], None)
    publisher.answers([an_answer("p2")], [], None)
    wire.mend()
    settled(publisher)
    [late], [event] = subscriber.wait_for_topic(f"{PEOPLE}/late"), subscriber.wait_for_topic(EVENT)
    [newest] = subscriber.wait_for_topic(PEOPLE)
    assert late.look == event.look
    assert None not in (late.look, newest.look)
    assert late.look != newest.look


def test_an_answer_that_is_published_again_after_a_restart_keeps_its_look(tmp_path: Path) -> None:
    (tmp_path / "broker").mkdir()
    with Mosquitto(tmp_path / "broker") as broker:
        looks = []
        for answers in ([an_answer("p1")], []):
            store = DiskStore(tmp_path / "edged.db", lambda: True)
            store.open()
            subscriber = Subscriber(broker.port)
            with publishing(broker.port, store=store, config=asking(dock=["people"])) as publisher:
                if answers:
                    publisher.answers(answers, [], None)
                [message] = subscriber.wait_for_topic(PEOPLE)
                looks.append(message.look)
                settled(publisher)
            subscriber.close()
            store.close()
            broker.kill()  # it has lost its retained messages
            broker.start()
    assert looks[0]
    assert looks == [looks[0]] * 2


# The order of sending


NUMBERS = itertools.count(1)


@dataclass
class Queue:
    """A send queue, and all that was sent from it: messages with their look, `(camera, number)` as text."""

    queue: SendQueue = field(default_factory=lambda: SendQueue(ONLINE, MemoryStore()))
    wire: list[Message] = field(default_factory=list)
    connections: list[int] = field(default_factory=list)  # the number of the connection, for each message
    lost: set[int] = field(default_factory=set)  # the messages that were in flight when theirs was lost, by index
    refused: set[int] = field(default_factory=set)  # for now, by index
    in_flight: list[int] = field(default_factory=list)
    connection: int = 0

    def look(
        self,
        name: str,
        camera: str = "dock",
        questions: tuple[str, ...] = ("people",),
        jpeg: bool = True,
        expires_s: float = 600.0,
    ) -> None:
        messages = [self._stored(name, camera, question) for question in questions]
        content = Message(f"{camera}/image/jpeg", b"jpeg", retain=True, content_type=JPEG_TYPE, look=name)
        self.queue.add(messages, RetainedMessage(content, time.monotonic() + expires_s) if jpeg else None)

    def send(self) -> bool:
        """Send the next message, without its acknowledgement. False if there is none."""
        if not self.queue.resume_refused():
            return False
        following = self.queue.next()
        if following is None:
            return False
        entry, message = following
        self._sent(entry, message)
        return True

    def put_back(self) -> None:
        """Take the next message, which then cannot be sent."""
        if self.queue.resume_refused() and (following := self.queue.next()):
            self.queue.put_back(following[0])

    def acknowledge(self, outcome: Outcome = "accepted") -> None:
        if self.in_flight:
            mid = self.in_flight.pop(0)
            if outcome == "not_now":
                self.refused.add(mid)
            self.queue.acknowledged(mid, outcome)

    def connect(self) -> None:
        self.connection += 1
        self.queue.connected()

    def lose(self) -> None:
        self.lost |= set(self.in_flight)
        self.in_flight.clear()
        self.queue.lost()
        self.queue.mark_late()

    def expire(self, after_s: float = 0.0) -> None:
        """As the publisher does it each second."""
        end = time.monotonic() + after_s
        until(lambda: time.monotonic() >= end)
        self.queue.expire()

    def finish(self) -> list[str]:
        """Send and acknowledge everything; the topics that were sent."""
        before = len(self.wire)
        while self.in_flight:
            self.acknowledge()
        while self.send():
            self.acknowledge()
        return [f"{message.topic} {message.look or ''}".strip() for message in self.wire[before:]]

    def _sent(self, entry: Entry, message: Message) -> None:
        mid = len(self.wire)
        self.queue.sent(mid, entry, message)
        self.in_flight.append(mid)
        self.wire.append(message)
        self.connections.append(self.connection)

    def arrived(self, before: int) -> list[Message]:
        """Sent before this message, and certainly at the broker if this one is."""
        indices = range(before)
        return [
            self.wire[index]
            for index in indices
            if index not in self.refused
            and (index not in self.lost or self.connections[index] == self.connections[before])
        ]

    def accepted(self, before: int) -> list[Message]:
        """Sent before this message, and this one; without those that the broker has refused."""
        return [self.wire[index] for index in range(before + 1) if index not in self.refused]

    def _stored(self, look: str, camera: str, question: str) -> StoredMessage:
        now, payload = time.monotonic(), b'{"late":false}'
        topic = f"{camera}/{question}"
        return StoredMessage(
            next(NUMBERS), topic, camera, question, payload, len(payload), now, now + 600, late=False, look=look
        )


def online() -> Queue:
    queue = Queue()
    queue.connect()
    queue.queue.online()
    assert queue.finish() == ["state"]
    return queue


def test_a_picture_waits_for_every_answer_of_its_look() -> None:
    queue = online()
    queue.look("1", questions=QUESTIONS)
    assert queue.finish() == ["dock/people 1", "dock/gate 1", "dock/weather 1", "dock/image/jpeg 1"]


def test_a_picture_is_dropped_when_an_answer_of_a_newer_look_was_sent_before_it() -> None:
    queue = Queue()
    queue.queue.online()
    queue.look("1")
    queue.look("2", jpeg=False)
    queue.connect()
    assert queue.finish() == ["dock/people 2", "state", "dock/people/late 1"]
    assert queue.queue.drained


def test_a_picture_that_waits_does_not_wait_for_the_answers_of_another_camera() -> None:
    queue = online()
    queue.look("1", "dock")
    queue.look("2", "yard")
    queue.look("3", "yard")
    assert queue.finish() == [
        "dock/people 1",
        "dock/image/jpeg 1",
        "yard/people 2",
        "yard/image/jpeg 2",
        "yard/people 3",
        "yard/image/jpeg 3",
    ]


def test_under_overload_a_newer_picture_does_not_keep_the_one_before_from_being_sent() -> None:
    queue = online()
    for number in range(100):
        queue.look(str(number))
    assert queue.finish()[:4] == ["dock/people 0", "dock/image/jpeg 0", "dock/people 1", "dock/people 2"]
    assert queue.wire[-1].look == "99"
    assert queue.wire[-1].content_type == JPEG_TYPE


def test_a_picture_is_sent_again_after_a_reconnect_only_if_no_newer_answer_was_sent() -> None:
    queue = online()
    queue.look("1", "dock")
    queue.look("2", "yard")
    queue.finish()
    queue.look("3", "yard", jpeg=False)
    queue.finish()
    queue.lose()
    queue.connect()
    assert queue.finish() == ["dock/people 1", "yard/people 3", "state", "dock/image/jpeg 1"]


def test_a_picture_is_sent_again_after_the_answers_that_are_sent_again() -> None:
    queue = online()
    queue.look("1", questions=QUESTIONS)
    while queue.send():
        pass  # nothing is acknowledged
    queue.lose()
    queue.connect()
    again = ["dock/people 1", "dock/gate 1", "dock/weather 1", "state", "dock/image/jpeg 1"]
    assert queue.finish() == again


def test_a_cleared_picture_is_not_sent_and_a_later_one_is() -> None:
    queue = online()
    queue.look("1")
    queue.queue.follow({"dock/people"}, [], ["dock/image/jpeg"])
    queue.finish()
    assert [message.payload for message in queue.wire if message.content_type == JPEG_TYPE] == [b""]
    assert queue.queue.cleared() == ["dock/image/jpeg"]
    queue.queue.follow({"dock/people", "dock/image/jpeg"}, [], [])
    queue.look("2")
    queue.finish()
    assert queue.wire[-1].look == "2"


def test_a_topic_of_pictures_that_is_used_again_before_it_is_cleared_is_not_forgotten() -> None:
    queue = Queue()
    queue.queue.follow({"dock/people"}, [], ["dock/image/jpeg"])
    queue.queue.follow({"dock/people", "dock/image/jpeg"}, [], [])
    queue.connect()
    queue.queue.online()
    queue.finish()
    assert [message.payload for message in queue.wire if message.content_type == JPEG_TYPE] == [b""]
    assert queue.queue.cleared() == []


def test_a_withdrawn_node_sends_no_picture_that_waited() -> None:
    queue = online()
    queue.look("1")
    queue.queue.withdraw(["dock/people"], ["dock/image/jpeg"])
    queue.finish()
    assert [message.payload for message in queue.wire[1:]] == [b"", b""]
    assert queue.queue.drained


SHORT_S = 0.05


def shown_once(queue: Queue) -> None:
    """A picture that expires after SHORT_S has been sent and accepted."""
    queue.look("1", expires_s=SHORT_S)
    assert queue.finish() == ["dock/people 1", "dock/image/jpeg 1"]


def test_a_picture_that_expires_is_cleared_once() -> None:
    queue = online()
    shown_once(queue)
    queue.expire(SHORT_S)
    assert queue.finish() == ["dock/image/jpeg"]
    assert (queue.wire[-1].payload, queue.wire[-1].retain) == (b"", True)
    queue.expire()
    assert queue.finish() == []
    assert queue.queue.cleared() == []  # its topic will be used again


def test_a_picture_that_newer_answers_have_followed_is_cleared_too() -> None:
    queue = online()
    shown_once(queue)
    queue.look("2", jpeg=False)
    queue.finish()
    queue.expire(SHORT_S)
    assert queue.finish() == ["dock/image/jpeg"]


def test_a_newer_picture_replaces_one_that_would_be_cleared() -> None:
    queue = online()
    shown_once(queue)
    queue.look("2")
    queue.finish()
    queue.expire(SHORT_S)
    assert queue.finish() == []


def test_the_clearing_of_a_picture_does_not_follow_a_newer_one() -> None:
    queue = online()
    shown_once(queue)
    queue.expire(SHORT_S)
    queue.look("2")
    while queue.send():
        pass
    assert [message.look for message in queue.wire if message.content_type == JPEG_TYPE] == ["1", None, "2"]
    for sent in [queue.wire[index] for index in queue.in_flight]:  # the broker has refused the clearing for now
        queue.acknowledge("accepted" if sent.payload else "not_now")
    assert queue.finish() == []
    queue.lose()
    queue.connect()
    assert queue.finish() == ["dock/people 2", "state", "dock/image/jpeg 2"]


def test_the_clearing_of_a_picture_is_sent_again_after_a_reconnect_before_online() -> None:
    queue = online()
    shown_once(queue)
    queue.expire(SHORT_S)
    assert queue.send()  # it is not acknowledged
    queue.lose()
    queue.connect()
    assert queue.finish() == ["dock/people 1", "dock/image/jpeg", "state"]
    queue.look("2")
    queue.finish()
    queue.lose()
    queue.connect()
    assert queue.finish() == ["dock/people 2", "state", "dock/image/jpeg 2"]


def test_a_picture_that_expired_while_the_broker_was_away_is_cleared_before_online() -> None:
    queue = online()
    queue.look("1", expires_s=SHORT_S)
    while queue.send():
        pass  # nothing is acknowledged
    queue.lose()
    end = time.monotonic() + SHORT_S
    until(lambda: time.monotonic() >= end)
    queue.connect()
    assert queue.finish() == ["dock/image/jpeg", "dock/people 1", "state"]


def test_newer_pictures_that_the_broker_refuses_do_not_keep_an_old_one_from_being_cleared() -> None:
    queue = online()
    shown_once(queue)
    queue.look("2")
    while queue.send():
        pass
    queue.acknowledge()
    queue.acknowledge("refused")
    queue.expire(SHORT_S)
    assert queue.finish() == ["dock/image/jpeg"]


IMAGE = "dock/image/jpeg"


def test_an_outdated_picture_is_cleared_though_the_newer_one_that_would_replace_it_is_dropped() -> None:
    queue = online()
    queue.look("1")
    queue.finish()
    queue.queue.outdate_pictures([IMAGE])
    queue.look("2")
    while queue.send():
        pass  # nothing is acknowledged
    queue.look("3", jpeg=False)
    queue.lose()
    queue.connect()
    assert IMAGE in queue.finish()
    assert [message.payload for message in queue.wire if message.topic == IMAGE] == [b"jpeg", b"", b"jpeg", b""]
    assert not queue.queue.has_outdated_picture(IMAGE)


def test_an_outdated_picture_is_cleared_if_the_broker_refuses_the_newer_one() -> None:
    queue = online()
    queue.look("1")
    queue.finish()
    queue.look("2")
    queue.queue.outdate_pictures([IMAGE])
    while queue.send():
        pass
    for message in [queue.wire[index] for index in queue.in_flight]:
        queue.acknowledge("not_now" if message.topic == IMAGE and not message.payload else "accepted")
    assert not queue.queue.has_outdated_picture(IMAGE), "it was replaced"
    queue.queue.outdate_pictures([IMAGE])
    queue.look("3")
    while queue.send():
        pass
    for message in [queue.wire[index] for index in queue.in_flight]:
        queue.acknowledge("refused" if message.payload == b"jpeg" else "accepted")
    assert queue.queue.has_outdated_picture(IMAGE)
    assert queue.finish() == [IMAGE]
    assert not queue.queue.has_outdated_picture(IMAGE)


@pytest.mark.parametrize("seed", range(100))
def test_whatever_happens_a_picture_follows_its_answers_and_no_newer_ones(seed: int) -> None:
    """Looks, sending, acknowledgements and lost connections in random order. A look's number grows with time."""
    chance = random.Random(seed)
    queue = Queue()
    queue.queue.online()
    asked: dict[str, tuple[str, set[str]]] = {}  # camera and topics of each look
    newest: dict[str, str | None] = {}  # the newest look of each camera; None if it has no picture
    connected = False
    for _ in range(120):
        match chance.randrange(11):
            case 0 | 1 | 2:
                name, camera = f"{len(asked):03}", chance.choice(CAMERAS)
                questions = tuple(chance.sample(QUESTIONS, chance.randint(1, 3)))
                asked[name] = (camera, {f"{camera}/{question}" for question in questions})
                jpeg = chance.random() < 0.7
                newest[camera] = name if jpeg else None
                queue.look(name, camera, questions, jpeg)
            case 3 if not connected:
                queue.connect()
                connected = True
            case 4 if connected and chance.random() < 0.4:
                queue.lose()
                connected = False
            case 5:
                queue.acknowledge()
            case 6 if connected:
                queue.put_back()
            case 7:
                queue.acknowledge("not_now")
            case _ if connected:
                queue.send()
    if not connected:
        queue.connect()
    queue.finish()
    assert queue.queue.drained
    _check_order(queue, asked)
    pictures = {message.look for message in queue.wire if message.content_type == JPEG_TYPE}
    assert {look for look in newest.values() if look} <= pictures


def _check_order(queue: Queue, asked: dict[str, tuple[str, set[str]]]) -> None:
    for index, picture in enumerate(queue.wire):
        if picture.content_type != JPEG_TYPE or not picture.look or index in queue.refused:
            continue
        camera, topics = asked[picture.look]
        arrived = {each.topic.removesuffix("/late") for each in queue.arrived(index) if each.look == picture.look}
        assert topics <= arrived or _is_made_good(queue, index, camera, asked), (
            f"the picture of look {picture.look} is ahead of its answers"
        )
        before = [each.look for each in queue.accepted(index) if each.look and asked[each.look][0] == camera]
        assert max(before) == picture.look, f"the picture of look {picture.look} is behind {max(before)}"


def _is_made_good(queue: Queue, index: int, camera: str, asked: dict[str, tuple[str, set[str]]]) -> bool:
    """True if an answer was refused for now: the picture is sent again, or an answer of a newer look is."""
    picture = queue.wire[index]
    refused = any(queue.wire[each].look == picture.look for each in queue.refused if each < index)
    later = [each for each in queue.wire[index + 1 :] if each.look and asked[each.look][0] == camera]
    again = any(each.look == picture.look and each.content_type == JPEG_TYPE for each in later)
    return refused and (again or any(str(each.look) > str(picture.look) for each in later))


def test_a_picture_that_was_accepted_before_its_answer_is_sent_again_after_it() -> None:
    queue = online()
    queue.look("1")
    while queue.send():
        pass
    queue.acknowledge("not_now")
    queue.acknowledge()
    assert queue.finish() == ["dock/people 1", "dock/image/jpeg 1"]


def test_the_picture_of_the_newest_look_is_retained_after_outages(
    publisher: MqttPublisher, mosquitto: Mosquitto, wire: Wire
) -> None:
    for number in range(2):
        wire.cut()
        disconnected(publisher)
        publisher.answers([an_answer(f"p{number}")], [], f"jpeg {number}".encode())
        wire.mend()
        until(lambda: publisher.figures().connected)
    settled(publisher)
    publisher.close()
    after = Subscriber(mosquitto.port)
    [answer], [picture] = after.of(PEOPLE), after.of(PICTURE)
    assert (answer.json["id"], picture.payload) == ("p1", b"jpeg 1")
    assert picture.look == answer.look is not None
    after.close()
