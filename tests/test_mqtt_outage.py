"""Nothing is lost while the broker is away, and nothing when another broker takes its place."""

# ruff: noqa: F401, F811  # fixtures are imported, and then named as arguments

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from support.broker import (
    HOST,
    Mosquitto,
    Subscriber,
    Wire,
    an_answer,
    free_port,
    other_broker,
    until,
    wire,
)
from support.publishing import (
    EVENT,
    GATE,
    OFFLINE,
    PEOPLE,
    SINCE,
    STATE,
    WHOLE,
    an_event,
    asking,
    disconnected,
    ids,
    logged,
    online_again,
    publisher,
    publishing,
    retained,
    settled,
    store,
)

from edged.core.errors import MessageUnreadable, StoreUnreadable
from edged.core.memory_store import MemoryStore
from edged.core.payloads import answer_payload, encode
from edged.core.specs import BrokerSpec
from edged.core.types import CameraState, Fact, StoredMessage
from edged.mqtt import connection, stored_payloads
from edged.mqtt import publisher as publisher_module
from edged.mqtt.outbox import Limits
from edged.mqtt.publisher import MqttPublisher

# An outage


def test_outage_loses_nothing(publisher: MqttPublisher, subscriber: Subscriber, wire: Wire) -> None:
    publisher.answers([an_answer("p0")], [], None)
    subscriber.wait_for_topic(PEOPLE)
    settled(publisher)
    wire.cut()
    disconnected(publisher)
    for number in range(1, 5):
        publisher.answers([an_answer(f"p{number}")], [an_event(f"e{number}")], None)
    publisher.answers([an_answer("g1", question="gate_open")], [], None)
    assert publisher.figures().waiting == 9
    subscriber.forget()
    wire.mend()
    subscriber.wait_for_topic(f"{PEOPLE}/late", 3)
    publisher.answers([an_answer("p5")], [an_event("e5")], None)
    subscriber.wait_for_topic(PEOPLE, 2)
    subscriber.wait_for_topic(EVENT, 5)
    settled(publisher)

    subscriber.catch_up()
    assert ids(subscriber.of(f"{PEOPLE}/late")) == ["p1", "p2", "p3"]
    assert ids(subscriber.of(PEOPLE)) == ["p4", "p5"]
    assert [message.json["late"] for message in subscriber.of(PEOPLE)] == [True, False]
    assert all(message.json["late"] and not message.retain for message in subscriber.of(f"{PEOPLE}/late"))
    assert all(message.expires_s is None for message in subscriber.of(f"{PEOPLE}/late"))
    assert [(message.json["id"], message.json["late"]) for message in subscriber.of(GATE)] == [("g1", True)]
    assert ids(subscriber.of(EVENT)) == ["e1", "e2", "e3", "e4", "e5"]
    assert not subscriber.of(f"{GATE}/late")
    topics = [message.topic for message in subscriber.messages if message.json != OFFLINE]
    assert set(topics[: topics.index(STATE)]) == {PEOPLE, GATE}
    assert publisher.figures().dropped == 0


@pytest.mark.slow
def test_a_message_that_may_have_arrived_is_sent_again_unchanged(
    publisher: MqttPublisher, subscriber: Subscriber, wire: Wire
) -> None:
    wire.deaf.set()
    publisher.answers([an_answer("p1"), an_answer("g1", question="gate_open")], [an_event("e1")], None)
    subscriber.wait_for_topic(EVENT)
    wire.cut()
    disconnected(publisher)
    for name in ("p2", "p3"):
        publisher.answers([an_answer(name)], [], None)
    wire.mend()
    subscriber.wait_for_topic(f"{PEOPLE}/late")
    subscriber.wait_for_topic(EVENT, 2)
    settled(publisher)

    subscriber.catch_up()
    assert ids(subscriber.of(PEOPLE)) == ["p1", "p1", "p3"]
    assert [message.json["late"] for message in subscriber.of(PEOPLE)] == [False, False, True]
    assert [message.retain for message in subscriber.of(PEOPLE)] == [True, False, True]  # p3 is newer than p1
    assert [(message.json["id"], message.json["late"]) for message in subscriber.of(f"{PEOPLE}/late")] == [("p2", True)]
    assert ids(subscriber.of(GATE)) == ["g1", "g1"]
    contents: dict[str, set[bytes]] = {}
    for message in subscriber.messages:
        if "id" in message.json:
            contents.setdefault(message.json["id"], set()).add(message.payload)
    assert all(len(payloads) == 1 for payloads in contents.values())


@pytest.mark.slow
def test_two_outages_in_a_row(publisher: MqttPublisher, subscriber: Subscriber, wire: Wire) -> None:
    wire.cut()
    disconnected(publisher)
    publisher.answers([an_answer("p1")], [], None)
    publisher.answers([an_answer("p2")], [], None)
    wire.mend()
    subscriber.wait_for_topic(f"{PEOPLE}/late")
    settled(publisher)
    wire.deaf.set()
    publisher.answers([an_answer("p3")], [], None)
    subscriber.wait_for_topic(PEOPLE, 2)
    wire.cut()
    disconnected(publisher)
    publisher.answers([an_answer("p4")], [], None)
    wire.mend()
    subscriber.wait_for_topic(PEOPLE, 4)
    settled(publisher)
    subscriber.catch_up()
    assert ids(subscriber.of(f"{PEOPLE}/late")) == ["p1"]
    assert ids(subscriber.of(PEOPLE)) == ["p2", "p3", "p3", "p4"]
    assert [message.json["late"] for message in subscriber.of(PEOPLE)] == [True, False, False, True]


@pytest.mark.slow
def test_outages_at_any_moment_lose_nothing_and_keep_the_order(
    publisher: MqttPublisher, subscriber: Subscriber, wire: Wire
) -> None:
    chance = random.Random(7)
    number = 0
    for outage in range(4):
        for _ in range(chance.randrange(30, 250)):
            publisher.answers([an_answer(f"{number:05}")], [an_event(f"e{number:05}")], None)
            number += 1
        wire.cut() if outage % 2 else wire.deaf.set()
        publisher.answers([an_answer(f"{number:05}")], [], None)
        number += 1
        wire.cut()
        disconnected(publisher)
        wire.mend()
        until(lambda: publisher.figures().connected)
    settled(publisher)
    newest = f"{number - 1:05}"
    subscriber.catch_up()
    own, late, events = (ids(subscriber.of(topic)) for topic in (PEOPLE, f"{PEOPLE}/late", EVENT))
    assert {*own, *late} == {f"{count:05}" for count in range(number)}
    assert own[-1] == newest
    assert len(set(events)) == number - 4
    for received in (own, late, events):
        first_time = list(dict.fromkeys(received))
        assert first_time == sorted(first_time)
    assert all(message.json["late"] for message in subscriber.of(f"{PEOPLE}/late"))
    contents: dict[str, set[bytes]] = {}
    for message in subscriber.messages:
        if "id" in message.json:
            contents.setdefault(message.json["id"], set()).add(message.payload)
    assert all(len(payloads) == 1 for payloads in contents.values())


@pytest.mark.slow
def test_a_broker_that_stalls_gets_everything_in_order_afterwards_and_still_speaks_mqtt_5(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PUBACK_S", 0.5)
    monkeypatch.setattr(connection, "CONNACK_S", 0.5)
    with Mosquitto(tmp_path) as broker, publishing(broker.port) as publisher:
        listening = Subscriber(broker.port)
        until(lambda: publisher.figures().published >= 1)
        broker.freeze()
        for number in range(60):
            publisher.answers([an_answer(f"a{number}")], [an_event(f"e{number}")], None)
        until(lambda: not publisher.figures().connected)
        begun = time.monotonic()
        until(lambda: time.monotonic() > begun + 2.5)  # several tries without CONNACK
        broker.thaw()
        settled(publisher)
        listening.catch_up()
        events = ids(listening.of(EVENT))
        assert list(dict.fromkeys(events)) == [f"e{number}" for number in range(60)]  # some may come twice
        assert listening.of(PEOPLE)[-1].json["id"] == "a59"
        assert listening.of(PEOPLE)[-1].expires_s is not None
        listening.close()


@pytest.mark.slow
def test_a_broker_that_was_killed_and_has_no_store_gets_its_retained_messages_again(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker, publishing(broker.port) as publisher:
        publisher.camera("dock", CameraState(True, None, SINCE))
        publisher.answers([an_answer("a")], [], None)
        settled(publisher)
        expected = {STATE, PEOPLE, "edged/box/dock/availability"}
        until(lambda: retained(broker.port) == expected)
        broker.kill()
        disconnected(publisher)
        broker.start()
        until(lambda: retained(broker.port) == expected)


@pytest.mark.slow
def test_retained_answers_are_sent_again_and_expired_ones_are_cleared(
    publisher: MqttPublisher,
    subscriber: Subscriber,
    wire: Wire,
) -> None:
    publisher.answers([an_answer("short", expires_s=0.5), an_answer("long", question="gate_open")], [], None)
    until(lambda: publisher.figures().published >= 3)
    first = subscriber.wait_for_topic(GATE)[0]
    wire.cut()
    disconnected(publisher)
    subscriber.forget()
    wire.mend()  # paho waits a second before it connects
    subscriber.wait_for(online_again)
    assert [message.payload for message in subscriber.of(PEOPLE)] in ([], [b""])  # cleared before the cut, or after it
    [again] = subscriber.of(GATE)
    assert again.payload == first.payload
    assert again.retain
    assert again.expires_s is not None
    assert again.expires_s <= 59


def test_a_long_outage_drops_the_oldest_and_is_logged_once(
    wire: Wire,
    subscriber: Subscriber,
    caplog: pytest.LogCaptureFixture,
) -> None:
    publisher = MqttPublisher(BrokerSpec(host=HOST, port=wire.port), "box", limits=Limits(messages=300))
    publisher.answers([an_answer("gate", question="gate_open")], [], None)
    for number in range(304):
        publisher.answers([an_answer(f"{number}")], [], None)
    assert (publisher.figures().waiting, publisher.figures().dropped) == (300, 5)
    publisher.start()
    publisher.online()
    subscriber.wait_for_topic(f"{PEOPLE}/late", 298)
    publisher.close()
    assert ids(subscriber.of(f"{PEOPLE}/late")) == [str(number) for number in range(5, 303)]
    assert ids(subscriber.of(PEOPLE)) == ["303"]
    assert ids(subscriber.of(GATE)) == ["gate"]  # the oldest of all, but the newest of its question
    assert logged(caplog) == [
        f"broker mqtt://{HOST}:{wire.port}: 5 oldest messages dropped; too many waited, or they were too old"
    ]


# A restart of edged


class FoundStore(MemoryStore):
    """The store of an earlier process: answers of `people` that wait, and a newer one that was acknowledged, or not."""

    def __init__(self, newest_until: float, newest_waits: bool = False) -> None:
        super().__init__()
        rows = [(-2, "old 1", True, False), (-1, "old 2", True, True), (0, "newest", newest_waits, False)]
        self._payloads = {
            number: encode(answer_payload(an_answer(name), "box", late)) for number, name, _, late in rows
        }
        self._found = [
            StoredMessage(
                number, PEOPLE, "dock", "people", None, 600, time.monotonic(), newest_until, late=late, waiting=waits
            )
            for number, _, waits, late in rows
        ]

    @property
    def read(self) -> bool:
        return not self._found

    def found(self) -> list[StoredMessage]:
        found, self._found = self._found, []
        return found

    def payload(self, number: int) -> bytes | None:
        return self._payloads.get(number)


@pytest.mark.parametrize("expired", [False, True])
def test_an_answer_of_an_earlier_process_does_not_replace_a_newer_one_that_was_acknowledged(
    mosquitto: Mosquitto, subscriber: Subscriber, expired: bool
) -> None:
    store = FoundStore(time.monotonic() + (-1 if expired else 60))
    with publishing(mosquitto.port, store=store) as publisher:
        subscriber.wait_for_topic(f"{PEOPLE}/late")
        settled(publisher)
        subscriber.catch_up()
        own = [(message.payload and message.json["id"], message.retain) for message in subscriber.of(PEOPLE)]
        assert own == [(b"" if expired else "newest", True)]
        assert ids(subscriber.of(f"{PEOPLE}/late")) == ["old 1", "old 2"]


@pytest.mark.parametrize("acknowledged", [True, False])
def test_an_answer_of_an_earlier_process_is_not_retained_again_if_its_question_left_the_config(
    mosquitto: Mosquitto, subscriber: Subscriber, acknowledged: bool
) -> None:
    store = FoundStore(time.monotonic() + 60, newest_waits=not acknowledged)
    with closing(MqttPublisher(BrokerSpec(host=HOST, port=mosquitto.port), "box", store)) as publisher:
        publisher.start()
        until(lambda: store.read and publisher.figures().connected)  # edged loads its model meanwhile
        publisher.follow(asking(image=False, dock=["gate_open"]))
        publisher.online()
        settled(publisher)
    subscriber.catch_up()
    own, late = ([], ["old 1", "old 2"]) if acknowledged else (["old 1", "newest"], ["old 2"])
    assert [(message.json["id"], message.retain) for message in subscriber.of(PEOPLE)] == [
        (name, False) for name in own
    ]
    assert ids(subscriber.of(f"{PEOPLE}/late")) == late
    assert retained(mosquitto.port) == {STATE}


class LateFoundStore(FoundStore):
    """On a slow disk: the file is opened, and read, when the first look waits to be written already."""

    opened = False

    def write(self, messages: Sequence[StoredMessage], facts: Sequence[Fact], then: Callable[[bool], None]) -> None:
        self.opened = True
        super().write(messages, facts, then)

    def found(self) -> list[StoredMessage]:
        return super().found() if self.opened else []


def test_answers_of_an_earlier_process_go_out_before_new_ones_if_the_store_is_read_late(
    mosquitto: Mosquitto, subscriber: Subscriber
) -> None:
    with publishing(mosquitto.port, store=LateFoundStore(time.monotonic() + 60, newest_waits=True)) as publisher:
        subscriber.wait_for(online_again)
        publisher.answers([an_answer("new")], [], None)
        subscriber.wait_for_topic(f"{PEOPLE}/late")
        settled(publisher)
    subscriber.catch_up()
    own = [(message.json["id"], message.retain) for message in subscriber.of(PEOPLE)]
    assert own == [("old 1", False), ("newest", False), ("new", True)]
    assert ids(subscriber.of(f"{PEOPLE}/late")) == ["old 2"]


class LaterFoundStore(FoundStore):
    """Locked by another program: it is read only once new answers were sent."""

    readable = False

    def found(self) -> list[StoredMessage]:
        return super().found() if self.readable else []


def test_answers_of_an_earlier_process_go_to_late_if_the_store_is_read_after_newer_ones_were_sent(
    mosquitto: Mosquitto, subscriber: Subscriber
) -> None:
    store = LaterFoundStore(time.monotonic() + 60, newest_waits=True)
    with publishing(mosquitto.port, store=store) as publisher:
        publisher.answers([an_answer("new")], [], None)
        until(lambda: publisher.figures().published >= 2)
        store.readable = True
        subscriber.wait_for_topic(f"{PEOPLE}/late", 3)
    subscriber.catch_up()
    assert [(message.json["id"], message.retain) for message in subscriber.of(PEOPLE)] == [("new", True)]
    late = [(message.json["id"], message.json["late"]) for message in subscriber.of(f"{PEOPLE}/late")]
    assert late == [("old 1", False), ("old 2", True), ("newest", False)]


class LaterReadableStore(FoundStore):
    """Has no payload while the process has too few file descriptors."""

    def __init__(self, newest_until: float, broker_port: int) -> None:
        super().__init__(newest_until)
        self.readable = False
        self.remember([Fact(f"retained {HOST}:{broker_port}", PEOPLE, True)])

    def payload(self, number: int) -> bytes | None:
        if not self.readable:
            raise StoreUnreadable("unable to open database file")
        return super().payload(number)


def test_a_retained_answer_stays_at_the_broker_until_the_store_can_be_read_and_is_sent_again_then(
    mosquitto: Mosquitto, subscriber: Subscriber
) -> None:
    subscriber.publish(PEOPLE, b'{"id":"before"}', retain=True)
    store = LaterReadableStore(time.monotonic() + 60, mosquitto.port)
    with publishing(mosquitto.port, store=store, config=asking(image=False, dock=["people"])):
        subscriber.wait_for(online_again)
        assert PEOPLE in retained(mosquitto.port)
        store.readable = True
        subscriber.wait_for_topic(f"{PEOPLE}/late", 2)
        subscriber.wait_for_topic(PEOPLE, 2)
    assert ids(subscriber.of(PEOPLE)) == ["before", "newest"]


def test_a_retained_answer_that_expires_while_the_store_cannot_be_read_is_cleared(
    mosquitto: Mosquitto, subscriber: Subscriber
) -> None:
    subscriber.publish(PEOPLE, b'{"id":"before"}', retain=True)
    store = LaterReadableStore(time.monotonic() - 1, mosquitto.port)
    with publishing(mosquitto.port, store=store, config=asking(image=False, dock=["people"])):
        until(lambda: PEOPLE not in retained(mosquitto.port))


class UnreadableStore(FoundStore):
    def payload(self, number: int) -> bytes | None:
        raise MessageUnreadable("disk I/O error")


def test_what_is_dropped_because_the_store_cannot_be_read_is_not_logged_as_a_full_outbox(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_payloads, "READ_AGAIN_S", 0.05)
    monkeypatch.setattr(stored_payloads, "GIVE_UP_S", 0.5)
    with publishing(mosquitto.port, store=UnreadableStore(time.monotonic() + 60)) as publisher:
        until(lambda: publisher.figures().dropped == 2)
    lost = r"store: (1 message could not be read and was|2 messages could not be read and were) dropped"
    assert logged(caplog)
    assert [line for line in logged(caplog) if not re.fullmatch(lost, line)] == []


class SlowStore(MemoryStore):
    """Keeps looks back until `release`, and marks nothing before `may_mark`."""

    def __init__(self) -> None:
        super().__init__()
        self.slow = False
        self.kept: list[Callable[[bool], None]] = []
        self.marking, self.may_mark = threading.Event(), threading.Event()

    def write(self, messages: Sequence[StoredMessage], facts: Sequence[Fact], then: Callable[[bool], None]) -> None:
        self.kept.append(then)
        if not self.slow:
            self.release()

    def release(self) -> None:
        kept, self.kept = self.kept, []
        for then in kept:
            then(True)

    def mark_late(self, payloads: Mapping[int, bytes]) -> bool:
        if payloads:
            self.marking.set()
            assert self.may_mark.wait(10)
        return True


def test_an_answer_that_was_written_while_the_connection_was_lost_is_marked_before_a_newer_one_is_sent(
    wire: Wire, subscriber: Subscriber
) -> None:
    store = SlowStore()
    with publishing(wire.port, store=store) as publisher:
        until(lambda: publisher.figures().published >= 1)
        store.slow = True
        publisher.answers([an_answer("p1")], [], None)  # while connected
        wire.cut()
        disconnected(publisher)
        store.release()
        publisher.answers([an_answer("p2")], [], None)
        store.release()
        wire.mend()
        assert store.marking.wait(10)
        subscriber.catch_up()
        assert subscriber.of(PEOPLE) == []
        store.may_mark.set()
        assert ids(subscriber.wait_for_topic(PEOPLE)) == ["p2"]
        assert ids(subscriber.wait_for_topic(f"{PEOPLE}/late")) == ["p1"]


# Another broker


@pytest.mark.slow
def test_what_one_broker_did_not_acknowledge_goes_to_the_next(
    publisher: MqttPublisher,
    mosquitto: Mosquitto,
    subscriber: Subscriber,
    wire: Wire,
    other_broker: Mosquitto,
    store: MemoryStore,
) -> None:
    publisher.follow(WHOLE)
    publisher.answers([an_answer("p0")], [], None)
    until(lambda: publisher.figures().published >= 2)
    wire.deaf.set()
    publisher.answers([an_answer("p1"), an_answer("w1", question="weather")], [an_event("e1")], None)
    [sent, *_] = subscriber.wait_for_topic(PEOPLE, 2)[1:]
    subscriber.wait_for_topic(EVENT)
    mosquitto.kill()
    wire.cut()
    disconnected(publisher)
    publisher.answers([an_answer("p2"), an_answer("g2", question="gate_open")], [an_event("e2")], None)
    publisher.answers([an_answer("p3")], [], None)
    publisher.follow(asking(dock=["people", "gate_open"]))
    assert publisher.close() is False
    handover = publisher.release()
    assert len(handover.messages) == 7
    assert publisher.figures().waiting == 0

    following = Subscriber(other_broker.port)
    successor = MqttPublisher(BrokerSpec(host=HOST, port=other_broker.port), "box", store)
    successor.answers([an_answer("p4")], [an_event("e4")], None)
    successor.adopt(handover)
    assert successor.figures().waiting == 9
    successor.start()
    successor.online()
    settled(successor)
    assert successor.close() is True
    following.wait_for_topic(STATE, 2)
    received = {
        message.json["id"]: (message.topic, message.retain, message.json.get("late"))
        for message in following.messages
        if message.topic != STATE
    }
    assert received == {
        "p1": (PEOPLE, False, False),  # it was sent to the first broker, so payload and topic stay
        "w1": ("edged/box/dock/weather", False, False),
        "p2": (f"{PEOPLE}/late", False, True),
        "p3": (f"{PEOPLE}/late", False, True),
        "p4": (PEOPLE, True, True),
        "g2": (GATE, True, True),
        "e1": (EVENT, False, False),  # sent before
        "e2": (EVENT, False, True),
        "e4": (EVENT, False, True),
    }
    assert following.of(PEOPLE)[0].payload == sent.payload
    assert ids(following.of(PEOPLE)) == ["p1", "p4"]
    assert ids(following.of(f"{PEOPLE}/late")) == ["p2", "p3"]
    assert ids(following.of(EVENT)) == ["e1", "e2", "e4"]
    following.close()


@pytest.mark.slow
def test_a_box_that_leaves_a_broker_clears_it_and_takes_its_newest_answers_along(
    publisher: MqttPublisher,
    mosquitto: Mosquitto,
    wire: Wire,
    other_broker: Mosquitto,
    store: MemoryStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(publisher_module, "CLOSE_S", 3.0)
    publisher.follow(WHOLE)
    publisher.answers([an_answer("p1"), an_answer("g1", question="gate_open")], [], b"jpeg")
    publisher.camera("dock", CameraState(True, None, SINCE))
    publisher.info({"node": "box"})
    settled(publisher)
    wire.deaf.set()  # no more acknowledgements: answers given after this stay in the outbox
    publisher.answers([an_answer("p2")], [], None)
    until(lambda: publisher.figures().waiting == 1)
    publisher.withdraw(WHOLE)  # its broker is another one
    publisher.answers([an_answer("p3")], [], None)  # by a look that ended after the withdrawal
    publisher.close()
    successor = MqttPublisher(BrokerSpec(host=HOST, port=other_broker.port), "box", store)
    successor.adopt(publisher.release())
    successor.start()
    successor.online()
    settled(successor)
    assert retained(other_broker.port) == {STATE, PEOPLE}
    after = Subscriber(other_broker.port)
    assert ids(after.of(PEOPLE)) == ["p3"]
    successor.close()
    after.close()
    assert retained(mosquitto.port) == {STATE}


def test_answers_of_another_node_are_late_and_not_retained(
    mosquitto: Mosquitto, subscriber: Subscriber, store: MemoryStore
) -> None:
    predecessor = MqttPublisher(BrokerSpec(port=free_port()), "box", store)
    predecessor.answers([an_answer("p1")], [an_event("e1")], None)
    predecessor.close()
    successor = MqttPublisher(BrokerSpec(host=HOST, port=mosquitto.port), "box2", store)
    successor.follow(asking("box2", dock=["people"]))
    successor.adopt(predecessor.release())
    successor.answers([an_answer("p2")], [], None)
    successor.start()
    successor.online()
    settled(successor)
    successor.close()
    [late] = subscriber.wait_for_topic(f"{PEOPLE}/late")
    assert (late.json["id"], late.json["node"], late.json["late"], late.retain) == ("p1", "box", True, False)
    assert ids(subscriber.of(EVENT)) == ["e1"]
    assert retained(mosquitto.port) == {"edged/box2/bridge/state", "edged/box2/dock/people"}


def test_adopted_messages_beyond_the_limit_are_dropped_counted_and_logged(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture, store: MemoryStore
) -> None:
    predecessor = MqttPublisher(BrokerSpec(port=free_port()), "box", store)
    for number in range(20):
        predecessor.answers([an_answer(f"{number}")], [], None)
    successor = MqttPublisher(BrokerSpec(host=HOST, port=mosquitto.port), "box", store, limits=Limits(messages=15))
    successor.adopt(predecessor.release())
    successor.start()
    successor.online()
    settled(successor)
    successor.close()
    assert successor.figures().dropped == 5
    assert logged(caplog) == [
        f"broker mqtt://{HOST}:{mosquitto.port}: 5 oldest messages dropped; too many waited, or they were too old"
    ]
