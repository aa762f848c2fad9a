"""The way to a real broker, through everything that happens to it."""

# ruff: noqa: F401, F811  # fixtures are imported, and then named as arguments

from __future__ import annotations

import json
import logging
import random
import re
import signal
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.broker import (
    HOST,
    Mosquitto,
    Received,
    Subscriber,
    Wire,
    an_answer,
    free_port,
    mosquitto,
    subscriber,
    tls,
    until,
    wire,
)

from edged.core.errors import EXIT_CONFIG, EdgedError, FileUnusable
from edged.core.secret import Secret
from edged.core.specs import BrokerSpec
from edged.core.types import CameraState, Event
from edged.mqtt.connection import Connection
from edged.mqtt.follower import Follower
from edged.mqtt.publisher import MqttPublisher
from edged.mqtt.topics import Message

SINCE = datetime(2026, 7, 1, 12, tzinfo=UTC)
PEOPLE = "edged/box/dock/people"
GATE = "edged/box/dock/gate_open"
EVENT = "edged/box/dock/event"
STATE = "edged/box/bridge/state"
ONLINE = {"state": "online"}
OFFLINE = {"state": "offline"}


@pytest.fixture(autouse=True)
def hear_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


@pytest.fixture
def publisher(wire: Wire) -> Iterator[MqttPublisher]:
    """Connected to mosquitto through the wire, `online` said."""
    with publishing(wire.port) as running:
        until(lambda: running.figures().published == 1)
        yield running


@contextmanager
def publishing(port: int, host: str = HOST, **more: Any) -> Iterator[MqttPublisher]:
    running = MqttPublisher(BrokerSpec(host=host, port=port, **more), "box")
    running.start()
    running.online()
    try:
        yield running
    finally:
        running.close()


def an_event(name: str, kind: str = "changed") -> Event:
    return Event(name, "dock", "people", kind, 2, 3, SINCE, SINCE)  # type: ignore[arg-type]


def ids(messages: list[Received]) -> list[str]:
    return [message.json["id"] for message in messages]


def online_again(messages: list[Received]) -> bool:
    return any(message.topic == STATE and message.json == ONLINE for message in messages)


def said(caplog: pytest.LogCaptureFixture, level: str = "WARNING") -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == level]


def settled(publisher: MqttPublisher) -> None:
    """Everything has been sent and acknowledged, and we know of it."""
    until(lambda: publisher.figures().connected and publisher.figures().waiting == 0, 40.0)


def disconnected(publisher: MqttPublisher) -> None:
    until(lambda: not publisher.figures().connected)


# What goes out


def test_answers_events_and_picture_go_to_their_topics(publisher: MqttPublisher, subscriber: Subscriber) -> None:
    event = Event("e1", "dock", "people", "alert_on", 2, 3, None, SINCE)
    publisher.answers(
        [an_answer("a1", expires_s=90.0), an_answer("a2", question="gate_open")], [event], b"\xff\xd8jpeg"
    )
    subscriber.wait_for_topic(EVENT)
    [answer] = subscriber.of(PEOPLE)
    assert (answer.json["id"], answer.json["value"], answer.json["late"]) == ("a1", 3, False)
    assert (answer.retain, answer.expires_s, answer.content_type) == (True, 90, "application/json")
    assert ids(subscriber.of(GATE)) == ["a2"]
    [said_event] = subscriber.of(EVENT)
    assert said_event.json["event_type"] == "alert_on"
    assert (said_event.retain, said_event.expires_s, said_event.content_type) == (False, None, "application/json")
    [picture] = subscriber.of("edged/box/dock/image/jpeg")
    assert picture.payload == b"\xff\xd8jpeg"
    assert (picture.retain, picture.expires_s, picture.content_type) == (True, 90, "image/jpeg")


@pytest.mark.parametrize(("expires_s", "whole"), [(0.2, 1), (60.0, 60), (90.5, 91)])
def test_an_answer_expires_in_whole_seconds_and_never_in_none(
    publisher: MqttPublisher,
    subscriber: Subscriber,
    expires_s: float,
    whole: int,
) -> None:
    publisher.answers([an_answer("a", expires_s=expires_s)], [], None)
    assert subscriber.wait_for_topic(PEOPLE)[0].expires_s == whole


def test_states_come_first_and_then_online(mosquitto: Mosquitto, subscriber: Subscriber) -> None:
    publisher = MqttPublisher(BrokerSpec(host=HOST, port=mosquitto.port), "box")
    publisher.info({"version": "0.1.0"})
    publisher.camera("dock", CameraState(False, "not there yet", SINCE))
    publisher.camera("dock", CameraState(True, None, SINCE))
    publisher.answers([an_answer("a1")], [an_event("e1")], None)
    publisher.answers([an_answer("a2")], [], None)
    publisher.start()
    publisher.online()
    subscriber.wait_for(lambda messages: len(messages) >= 6)
    publisher.close()
    heard = [(message.topic, message.retain) for message in subscriber.messages[:6]]
    assert heard == [
        ("edged/box/bridge/info", True),
        ("edged/box/dock/availability", True),
        (PEOPLE, True),
        (STATE, True),
        (EVENT, False),
        (f"{PEOPLE}/late", False),
    ]
    assert subscriber.messages[1].json == {"state": "online", "reason": None, "since": SINCE.timestamp()}
    assert subscriber.messages[3].json == ONLINE


def test_many_looks_at_once_keep_the_order_of_each(publisher: MqttPublisher, subscriber: Subscriber) -> None:
    def look(camera: str) -> None:
        for number in range(50):
            publisher.answers([an_answer(f"{camera}-{number}", camera)], [], None)

    looks = [threading.Thread(target=look, args=(f"cam{number}",)) for number in range(8)]
    for thread in looks:
        thread.start()
    for thread in looks:
        thread.join()
    subscriber.wait_for(lambda messages: sum(message.topic.endswith("/people") for message in messages) == 400)
    for number in range(8):
        expected = [f"cam{number}-{count}" for count in range(50)]
        assert ids(subscriber.of(f"edged/box/cam{number}/people")) == expected


@pytest.mark.parametrize("unsayable", ["value", "confidence", "event"])
def test_a_look_that_json_cannot_say_publishes_nothing(
    publisher: MqttPublisher, subscriber: Subscriber, unsayable: str
) -> None:
    nan = float("nan")
    answers, events = [an_answer("a1"), an_answer("a2", question="gate_open")], [an_event("e")]
    if unsayable == "event":
        events.append(replace(an_event("e2"), after=nan))
    else:
        answers.append(replace(an_answer("a3"), **{unsayable: nan}))
    with pytest.raises(ValueError, match="JSON"):
        publisher.answers(answers, events, b"jpeg")
    assert publisher.figures().waiting == 0
    publisher.info({"last": True})
    subscriber.wait_for_topic("edged/box/bridge/info")
    assert {message.topic for message in subscriber.messages} == {STATE, "edged/box/bridge/info"}


# Coming and going


def test_last_will_says_offline(publisher: MqttPublisher, subscriber: Subscriber, wire: Wire) -> None:
    subscriber.forget()
    wire.cut()
    [will] = subscriber.wait_for_topic(STATE)
    assert (will.json, will.retain, will.content_type) == (OFFLINE, True, "application/json")


def test_offline_is_acknowledged_at_close(publisher: MqttPublisher, mosquitto: Mosquitto) -> None:
    publisher.answers([an_answer("last")], [], None)
    assert publisher.close() is True
    assert publisher.close() is True
    after = Subscriber(mosquitto.port)
    assert after.wait_for_topic(STATE)[0].json == OFFLINE
    assert ids(after.wait_for_topic(PEOPLE)) == ["last"]
    after.close()
    assert publisher.figures().connected is False


def test_close_takes_no_time_without_a_broker() -> None:
    with publishing(free_port()) as publisher:
        publisher.answers([an_answer("a")], [], None)
        begun = time.monotonic()
        assert publisher.close() is False
        assert time.monotonic() - begun < 1.0


def test_close_takes_no_time_at_a_port_that_says_nothing() -> None:
    with socket.create_server((HOST, 0)) as silent, publishing(silent.getsockname()[1]) as publisher:
        silent.accept()[0].close()
        begun = time.monotonic()
        assert publisher.close() is False
        assert time.monotonic() - begun < 1.0


def test_a_publisher_that_never_started_can_be_closed() -> None:
    assert MqttPublisher(BrokerSpec(), "box").close() is False


def test_a_publisher_is_not_stuck_before_it_is_started() -> None:
    """A reload that also changes the model makes the publisher first, and then loads for minutes."""
    publisher = MqttPublisher(BrokerSpec(port=free_port()), "box")
    begun = time.monotonic()
    until(lambda: time.monotonic() > begun + 0.1)
    assert time.monotonic() - publisher.moved_at < 0.1
    publisher.start()
    assert 0 <= time.monotonic() - publisher.moved_at < 10
    publisher.close()


def test_goodbye_has_a_limit(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    link = Connection(BrokerSpec(host=HOST, port=wire.port), "box", Deaf())
    link.start()
    attended(link, lambda: link.connected)
    wire.deaf.set()
    begun = time.monotonic()
    assert link.close(begun + 0.3) is False
    assert time.monotonic() - begun < 2.0
    assert said(caplog) == [f'broker mqtt://{HOST}:{wire.port}: "offline" was not acknowledged']


def test_a_broker_that_forgot_everything_is_told_again(publisher: MqttPublisher, mosquitto: Mosquitto) -> None:
    publisher.info({"version": "0.1.0"})
    publisher.answers([an_answer("a1")], [], b"jpeg")
    until(lambda: publisher.figures().published == 4)
    mosquitto.kill()
    disconnected(publisher)
    mosquitto.start()
    until(lambda: publisher.figures().published == 8)
    assert retained(mosquitto.port) == {STATE, "edged/box/bridge/info", PEOPLE, "edged/box/dock/image/jpeg"}
    assert publisher.figures().reconnects == 1


def test_close_is_bounded_at_a_frozen_broker(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker, publishing(broker.port) as publisher:
        until(lambda: publisher.figures().published == 1)
        broker.freeze()
        for number in range(100):
            publisher.answers([an_answer(f"{number}")], [an_event("e")], b"jpeg" * 10_000)
        publisher.camera("dock", CameraState(False, "edged has stopped", SINCE))
        begun = time.monotonic()
        assert publisher.close() is False
        assert time.monotonic() - begun < 12
        left = publisher.release()
        assert len(left.waiting) > 150
        broker.thaw()
        after = Subscriber(broker.port)
        assert after.wait_for_topic(STATE)[-1].json == OFFLINE
        after.close()


def test_states_of_the_last_moment_are_acknowledged_before_offline(
    publisher: MqttPublisher, subscriber: Subscriber
) -> None:
    for number in range(50):
        publisher.answers([an_answer(f"a{number}", f"cam{number}")], [], b"jpeg")
    for number in range(50):
        publisher.camera(f"cam{number}", CameraState(False, "edged has stopped", SINCE))
    assert publisher.close() is True
    assert publisher.figures().published == 1 + 50 + 50 + 50
    subscriber.wait_for_topic(STATE, 2)
    assert subscriber.messages[-1].json == OFFLINE
    states = [message for message in subscriber.messages if message.topic.endswith("/availability")]
    assert [message.json["state"] for message in states] == ["offline"] * 50


# Before edged works


def test_online_is_not_said_before_edged_works(wire: Wire, subscriber: Subscriber) -> None:
    publisher = MqttPublisher(BrokerSpec(host=HOST, port=wire.port), "box")
    publisher.start()
    publisher.info({"version": "0.1.0"})
    publisher.answers([an_answer("a1")], [an_event("e1")], b"jpeg")
    subscriber.wait_for_topic("edged/box/bridge/info")
    wire.cut()
    disconnected(publisher)
    wire.mend()
    subscriber.wait_for_topic("edged/box/bridge/info", 2)
    assert {message.topic for message in subscriber.messages if message.json != OFFLINE} == {"edged/box/bridge/info"}
    subscriber.forget()
    publisher.online()
    subscriber.wait_for_topic("edged/box/dock/image/jpeg")
    subscriber.wait_for_topic(EVENT)
    assert [message.topic for message in subscriber.messages[:2]] == [PEOPLE, STATE]
    assert subscriber.messages[1].json == ONLINE
    assert publisher.close() is True


def test_a_start_that_fails_never_shows_online(mosquitto: Mosquitto, subscriber: Subscriber) -> None:
    publisher = MqttPublisher(BrokerSpec(host=HOST, port=mosquitto.port), "box")
    publisher.camera("dock", CameraState(True, None, SINCE))
    publisher.answers([an_answer("a1")], [an_event("e1")], b"jpeg")
    publisher.start()
    until(lambda: publisher.figures().connected)
    begun = time.monotonic()
    assert publisher.close() is True
    assert time.monotonic() - begun < 2
    subscriber.wait_for_topic(STATE)
    heard = [(message.topic, message.json["state"], message.retain) for message in subscriber.messages]
    assert heard == [("edged/box/dock/availability", "online", True), (STATE, "offline", True)]
    assert len(publisher.release().waiting) == 2


def test_a_broker_whose_login_cannot_be_made_is_left_alone(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    problem = "mqtt: secret mqtt-password is missing"
    with publishing(mosquitto.port, username="edged", problem=problem) as publisher:
        publisher.answers([an_answer("a1")], [], None)
        until(lambda: said(caplog))
        moved_at = publisher.moved_at
        until(lambda: publisher.moved_at > moved_at)
        assert publisher.figures().connected is False
        begun = time.monotonic()
        assert publisher.close() is False
        assert time.monotonic() - begun < 1
    assert said(caplog) == [f"broker mqtt://{HOST}:{mosquitto.port}: {problem}; not connecting"]
    assert "edged-box" not in mosquitto.log()
    with pytest.raises(EdgedError, match=f"^{problem}$"):
        Follower(BrokerSpec(host=HOST, port=mosquitto.port, problem=problem), None).start()


# A slow broker


class Drip(Wire):
    """What the broker says comes a few bytes at a time: an acknowledgement every 10 ms or so."""

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        def drip() -> None:
            with suppress(OSError):
                while said := far.recv(4):
                    time.sleep(0.01)
                    near.sendall(said)

        threading.Thread(target=drip, daemon=True).start()
        with near, far, suppress(OSError):
            while said := near.recv(65536):
                far.sendall(said)


@pytest.fixture
def drip(mosquitto: Mosquitto) -> Iterator[Drip]:
    between = Drip(mosquitto.port)
    yield between
    between.cut()


def test_pictures_faster_than_acknowledgements_leave_the_answers_their_share(
    drip: Drip, subscriber: Subscriber
) -> None:
    with publishing(drip.port) as publisher:
        until(lambda: publisher.figures().published == 1)
        subscriber.forget()
        for count in range(1, 101):
            for camera in range(8):
                name = f"{count}-{camera}"
                publisher.answers([an_answer(name, f"cam{camera}")], [an_event(name)], f"jpeg {count}".encode())
            publisher.camera(f"cam{count}", CameraState(True, None, SINCE))
            publisher.camera(f"cam{count}", CameraState(False, None, SINCE))
            until(lambda count=count: publisher.figures().published > count)
        subscriber.wait_for(lambda messages: len(messages) > 100)
        topics = [message.topic.rpartition("/")[2] for message in subscriber.messages[:100]]
        pictures = [message for message in subscriber.messages if message.topic.endswith("jpeg")]
        drip.cut()
    shares = {lane: topics.count(lane) for lane in ("people", "event", "availability", "jpeg")}
    assert min(shares.values()) >= 15, shares
    for camera in range(8):  # a newer picture takes the place of the one that waits
        numbers = [int(one.payload.split()[1]) for one in pictures if one.topic == f"edged/box/cam{camera}/image/jpeg"]
        assert numbers == sorted(set(numbers))
        assert len(numbers) < 30


def test_online_does_not_wait_for_what_came_after_the_connect(drip: Drip, subscriber: Subscriber) -> None:
    with publishing(drip.port) as publisher:
        publisher.answers([an_answer("a", f"cam{camera}") for camera in range(40)], [], None)
        for count in range(100):
            publisher.answers([an_answer(f"{count}-{camera}", f"cam{camera}") for camera in range(4)], [], None)
            until(lambda count=count: publisher.figures().published > count)
        drip.cut()
    assert subscriber.of(STATE)[0].json == ONLINE


def test_what_a_slow_broker_makes_edged_drop_is_logged_at_once_and_then_hourly(
    drip: Drip, caplog: pytest.LogCaptureFixture
) -> None:
    publisher = MqttPublisher(BrokerSpec(host=HOST, port=drip.port), "box", outbox_limit=30)
    publisher.start()
    publisher.online()
    until(lambda: publisher.figures().published == 1)
    for number in range(100):
        publisher.answers([an_answer(f"{number}")], [], None)
    until(lambda: said(caplog))
    settled(publisher)
    for number in range(100):
        publisher.answers([an_answer(f"{number}")], [], None)
    settled(publisher)
    assert publisher.figures().dropped > 80
    assert len(said(caplog)) == 1
    drip.cut()
    publisher.close()
    counts = [int(found[1]) for text in said(caplog) if (found := re.search(r"the (\d+) oldest", text))]
    assert sum(counts) == publisher.figures().dropped


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


def test_what_perhaps_arrived_keeps_its_words(publisher: MqttPublisher, subscriber: Subscriber, wire: Wire) -> None:
    wire.deaf.set()
    publisher.answers([an_answer("p1"), an_answer("g1", question="gate_open")], [an_event("e1")], None)
    subscriber.wait_for_topic(EVENT)
    wire.cut()
    disconnected(publisher)
    publisher.answers([an_answer("p2")], [], None)
    wire.mend()
    subscriber.wait_for_topic(f"{PEOPLE}/late")
    subscriber.wait_for_topic(EVENT, 2)
    settled(publisher)

    assert ids(subscriber.of(PEOPLE)) == ["p1", "p2"]
    assert [message.json["late"] for message in subscriber.of(PEOPLE)] == [False, True]
    assert ids(subscriber.of(f"{PEOPLE}/late")) == ["p1"]  # p2 is newer; nobody shall act on p1 again
    assert ids(subscriber.of(GATE)) == ["g1", "g1"]
    contents: dict[str, set[bytes]] = {}
    for message in subscriber.messages:
        if "id" in message.json:
            contents.setdefault(message.json["id"], set()).add(message.payload)
    assert all(len(payloads) == 1 for payloads in contents.values())


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
    subscriber.wait_for_topic(f"{PEOPLE}/late", 2)
    assert ids(subscriber.of(f"{PEOPLE}/late")) == ["p1", "p3"]
    assert ids(subscriber.of(PEOPLE)) == ["p2", "p3", "p4"]
    assert [message.json["late"] for message in subscriber.of(PEOPLE)] == [True, False, True]


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
    for heard in (own, late, events):
        first_time = list(dict.fromkeys(heard))
        assert first_time == sorted(first_time)
    contents: dict[str, set[bytes]] = {}
    for message in subscriber.messages:
        if "id" in message.json:
            contents.setdefault(message.json["id"], set()).add(message.payload)
    assert all(len(payloads) == 1 for payloads in contents.values())


def test_retained_answers_come_again_unless_they_have_expired(
    publisher: MqttPublisher,
    subscriber: Subscriber,
    wire: Wire,
) -> None:
    publisher.answers([an_answer("short", expires_s=0.5), an_answer("long", question="gate_open")], [], None)
    until(lambda: publisher.figures().published == 3)
    first = subscriber.wait_for_topic(GATE)[0]
    wire.cut()
    disconnected(publisher)
    subscriber.forget()
    wire.mend()  # paho waits a second before it connects
    subscriber.wait_for(online_again)
    assert subscriber.of(PEOPLE) == []
    [again] = subscriber.of(GATE)
    assert again.payload == first.payload
    assert again.retain
    assert again.expires_s is not None
    assert again.expires_s <= 59


def test_a_long_outage_drops_the_oldest_and_says_so_once(
    wire: Wire,
    subscriber: Subscriber,
    caplog: pytest.LogCaptureFixture,
) -> None:
    publisher = MqttPublisher(BrokerSpec(host=HOST, port=wire.port), "box", outbox_limit=300)
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
    assert said(caplog) == [
        f"broker mqtt://{HOST}:{wire.port}: the 5 oldest answers and events were dropped, because only 300 can wait"
    ]


# Another broker


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Mosquitto]:
    (tmp_path / "other").mkdir()
    with Mosquitto(tmp_path / "other") as broker:
        yield broker


def test_what_one_broker_did_not_acknowledge_goes_to_the_next(
    publisher: MqttPublisher, mosquitto: Mosquitto, subscriber: Subscriber, wire: Wire, other: Mosquitto
) -> None:
    publisher.answers([an_answer("p0")], [], None)
    until(lambda: publisher.figures().published == 2)
    wire.deaf.set()
    publisher.answers([an_answer("p1"), an_answer("w1", question="weather")], [an_event("e1")], None)
    [sent, *_] = subscriber.wait_for_topic(PEOPLE, 2)[1:]
    subscriber.wait_for_topic(EVENT)
    mosquitto.kill()
    wire.cut()
    disconnected(publisher)
    publisher.answers([an_answer("p2"), an_answer("g2", question="gate_open")], [an_event("e2")], None)
    publisher.answers([an_answer("p3")], [], None)
    publisher.retire("dock", ["weather"])
    assert publisher.close() is False
    left = publisher.release()
    assert len(left.waiting) == 7
    assert publisher.figures().waiting == 0

    following = Subscriber(other.port)
    heir = MqttPublisher(BrokerSpec(host=HOST, port=other.port), "box")
    heir.answers([an_answer("p4")], [an_event("e4")], None)
    heir.adopt(left)
    assert heir.figures().waiting == 9
    heir.start()
    heir.online()
    settled(heir)
    assert heir.close() is True
    following.wait_for_topic(STATE, 2)
    heard = {
        message.json["id"]: (message.topic, message.retain, message.json.get("late"))
        for message in following.messages
        if message.topic != STATE
    }
    assert heard == {
        "p1": (f"{PEOPLE}/late", False, False),  # it was sent to the first broker, so its payload stays
        "w1": ("edged/box/dock/weather/late", False, False),
        "p2": (f"{PEOPLE}/late", False, True),
        "p3": (f"{PEOPLE}/late", False, True),
        "p4": (PEOPLE, True, True),
        "g2": (GATE, True, True),
        "e1": (EVENT, False, None),
        "e2": (EVENT, False, None),
        "e4": (EVENT, False, None),
    }
    assert following.of(f"{PEOPLE}/late")[0].payload == sent.payload
    assert ids(following.of(f"{PEOPLE}/late")) == ["p1", "p2", "p3"]
    assert ids(following.of(EVENT)) == ["e1", "e2", "e4"]
    following.close()


def test_a_box_that_leaves_a_broker_clears_it_and_takes_the_newest_answers_along(
    publisher: MqttPublisher, mosquitto: Mosquitto, wire: Wire, other: Mosquitto
) -> None:
    publisher.answers([an_answer("p1"), an_answer("g1", question="gate_open")], [], b"jpeg")
    publisher.camera("dock", CameraState(True, None, SINCE))
    publisher.info({"node": "box"})
    settled(publisher)
    wire.deaf.set()  # acknowledgements come no more: what is given now waits
    publisher.answers([an_answer("p2")], [], None)
    until(lambda: publisher.figures().waiting == 1)
    publisher.withdraw({"dock": ["people", "gate_open"]})
    publisher.answers([an_answer("p3")], [], None)  # by a look that ends just now
    publisher.close()
    heir = MqttPublisher(BrokerSpec(host=HOST, port=other.port), "box")
    heir.adopt(publisher.release())
    heir.start()
    heir.online()
    settled(heir)
    assert retained(other.port) == {STATE, PEOPLE}
    after = Subscriber(other.port)
    assert ids(after.of(PEOPLE)) == ["p3"]
    heir.close()
    after.close()
    assert retained(mosquitto.port) == {STATE}


def test_answers_of_another_node_are_late_and_not_retained(mosquitto: Mosquitto, subscriber: Subscriber) -> None:
    before = MqttPublisher(BrokerSpec(port=free_port()), "box")
    before.answers([an_answer("p1")], [an_event("e1")], None)
    before.close()
    heir = MqttPublisher(BrokerSpec(host=HOST, port=mosquitto.port), "box2")
    heir.adopt(before.release())
    heir.answers([an_answer("p2")], [], None)
    heir.start()
    heir.online()
    settled(heir)
    heir.close()
    [late] = subscriber.wait_for_topic(f"{PEOPLE}/late")
    assert (late.json["id"], late.json["node"], late.json["late"], late.retain) == ("p1", "box", True, False)
    assert ids(subscriber.of(EVENT)) == ["e1"]
    assert retained(mosquitto.port) == {"edged/box2/bridge/state", "edged/box2/dock/people"}


def test_what_finds_no_room_at_the_next_publisher_is_counted_and_logged(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    before = MqttPublisher(BrokerSpec(port=free_port()), "box")
    for number in range(20):
        before.answers([an_answer(f"{number}")], [], None)
    heir = MqttPublisher(BrokerSpec(host=HOST, port=mosquitto.port), "box", outbox_limit=15)
    heir.adopt(before.release())
    heir.start()
    heir.online()
    settled(heir)
    heir.close()
    assert heir.figures().dropped == 5
    assert said(caplog) == [
        f"broker mqtt://{HOST}:{mosquitto.port}: the 5 oldest answers and events were dropped, because only 15 can wait"
    ]


# What is no longer asked


def test_retired_questions_leave_the_broker(publisher: MqttPublisher, mosquitto: Mosquitto) -> None:
    publisher.camera("dock", CameraState(True, None, SINCE))
    publisher.answers([an_answer("p"), an_answer("g", question="gate_open")], [], b"jpeg")
    publisher.retire("dock", ["people"])
    publisher.info({"last": True})
    until(lambda: publisher.figures().published == 7)
    assert retained(mosquitto.port) == {
        STATE,
        GATE,
        "edged/box/bridge/info",
        "edged/box/dock/availability",
        "edged/box/dock/image/jpeg",
    }
    publisher.retire("dock", ["gate_open"], gone=True)
    until(lambda: publisher.figures().published == 10)
    assert retained(mosquitto.port) == {STATE, "edged/box/bridge/info"}


class OldWire(Wire):
    """Brokers that know only MQTT 3.1.1: a connection that begins with MQTT 5 is closed."""

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        if version_of(near.recv(4096, socket.MSG_PEEK)) == 5:
            near.close()
            far.close()
        else:
            super()._carry(near, far)


@pytest.mark.parametrize("kind", [Wire, OldWire])
def test_nothing_of_a_retired_camera_is_retained_whatever_is_in_flight(
    mosquitto: Mosquitto, subscriber: Subscriber, kind: type[Wire]
) -> None:
    wire = kind(mosquitto.port)
    with publishing(wire.port) as publisher:
        publisher.camera("dock", CameraState(True, None, SINCE))
        publisher.answers([an_answer("p1")], [], b"jpeg 1")
        until(lambda: publisher.figures().published == 4)
        wire.deaf.set()
        publisher.answers([an_answer("p2"), an_answer("g2", question="gate_open")], [], b"jpeg 2")
        subscriber.wait_for_topic(GATE)
        publisher.retire("dock", ["people", "gate_open"], gone=True)
        wire.cut()
        disconnected(publisher)
        publisher.answers([an_answer("b1", "back")], [], None)
        wire.mend()
        settled(publisher)
        subscriber.catch_up()
        assert retained(mosquitto.port) == {STATE, "edged/box/back/people"}
        assert ids(subscriber.of(f"{PEOPLE}/late")) == ["p2"]
        wire.cut()
        disconnected(publisher)
        wire.mend()
        settled(publisher)
        assert retained(mosquitto.port) == {STATE, "edged/box/back/people"}
    wire.cut()


def test_a_picture_that_waits_when_its_camera_goes_is_never_published(
    mosquitto: Mosquitto, subscriber: Subscriber
) -> None:
    publisher = MqttPublisher(BrokerSpec(host=HOST, port=mosquitto.port), "box")
    publisher.camera("dock", CameraState(True, None, SINCE))
    publisher.answers([an_answer("p1")], [], b"jpeg 1")
    publisher.retire("dock", ["people"], gone=True)
    publisher.start()
    publisher.online()
    subscriber.wait_for_topic("edged/box/dock/image/jpeg")
    assert publisher.close() is True
    assert retained(mosquitto.port) == {STATE}
    assert [message.payload for message in subscriber.messages if message.retain and message.topic != STATE] == [
        b""
    ] * 3


def test_a_camera_that_comes_back_publishes_again(
    publisher: MqttPublisher, mosquitto: Mosquitto, subscriber: Subscriber
) -> None:
    for number in (1, 2):
        publisher.camera("dock", CameraState(True, None, SINCE))
        publisher.answers([an_answer(f"p{number}")], [], f"jpeg {number}".encode())
        if number == 1:
            publisher.retire("dock", ["people"], gone=True)
    settled(publisher)
    publisher.close()
    after = Subscriber(mosquitto.port)
    assert ids(after.wait_for_topic(PEOPLE)) == ["p2"]
    assert [message.payload for message in after.of("edged/box/dock/image/jpeg")] == [b"jpeg 2"]
    assert after.of("edged/box/dock/availability")[0].json["state"] == "online"
    after.close()


def test_retiring_waits_for_the_broker(
    publisher: MqttPublisher,
    mosquitto: Mosquitto,
    subscriber: Subscriber,
    wire: Wire,
) -> None:
    publisher.answers([an_answer("p1")], [], None)
    subscriber.wait_for_topic(PEOPLE)
    settled(publisher)
    wire.cut()
    disconnected(publisher)
    publisher.answers([an_answer("p2")], [], None)
    publisher.retire("dock", ["people"])
    subscriber.forget()
    wire.mend()
    assert ids(subscriber.wait_for_topic(f"{PEOPLE}/late")) == ["p2"]
    assert [message.payload for message in subscriber.of(PEOPLE)] == [b""]
    assert PEOPLE not in retained(mosquitto.port)


def test_what_could_not_be_cleared_is_cleared_by_the_next_publisher_at_this_broker(
    publisher: MqttPublisher, mosquitto: Mosquitto, subscriber: Subscriber, wire: Wire
) -> None:
    publisher.camera("dock", CameraState(True, None, SINCE))
    publisher.camera("yard", CameraState(True, None, SINCE))
    publisher.answers([an_answer("p1"), an_answer("g1", question="gate_open")], [], b"jpeg")
    publisher.info({"node": "box"})
    settled(publisher)
    subscriber.wait_for_topic("edged/box/bridge/info")
    subscriber.wait_for_topic("edged/box/dock/image/jpeg")
    wire.cut()
    disconnected(publisher)
    publisher.withdraw({"dock": ["people", "gate_open"], "yard": []})
    publisher.close()
    # the first heir has no connection either
    first, second = (MqttPublisher(BrokerSpec(host=HOST, port=wire.port), "box2") for _ in range(2))
    first.adopt(publisher.release())
    first.close()
    second.adopt(first.release())
    wire.mend()
    second.start()
    second.online()
    settled(second)
    second.close()
    assert retained(mosquitto.port) == {STATE, "edged/box2/bridge/state"}


def test_a_camera_that_is_there_again_is_not_cleared_by_the_next_publisher(
    publisher: MqttPublisher, mosquitto: Mosquitto, wire: Wire
) -> None:
    wire.cut()
    disconnected(publisher)
    publisher.retire("dock", ["people"], gone=True)
    publisher.close()
    heir = MqttPublisher(BrokerSpec(host=HOST, port=wire.port), "box")
    heir.camera("dock", CameraState(True, None, SINCE))
    heir.answers([an_answer("p1")], [], b"jpeg")
    heir.adopt(publisher.release())
    wire.mend()
    heir.start()
    heir.online()
    settled(heir)
    heir.close()
    topics = {"availability", "people", "image/jpeg"}
    assert retained(mosquitto.port) == {STATE, *(f"edged/box/dock/{topic}" for topic in topics)}


def test_another_broker_is_told_nothing_of_what_was_to_be_cleared(
    publisher: MqttPublisher, other: Mosquitto, wire: Wire
) -> None:
    following = Subscriber(other.port)
    wire.cut()
    disconnected(publisher)
    publisher.retire("dock", ["people"], gone=True)
    publisher.close()
    heir = MqttPublisher(BrokerSpec(host=HOST, port=other.port), "box")
    heir.adopt(publisher.release())
    heir.start()
    heir.online()
    settled(heir)
    heir.close()
    following.wait_for_topic(STATE, 2)
    assert {message.topic for message in following.messages} == {STATE}
    following.close()


def test_a_question_that_comes_back_is_not_cleared(
    publisher: MqttPublisher, subscriber: Subscriber, wire: Wire
) -> None:
    wire.cut()
    disconnected(publisher)
    publisher.retire("dock", ["people"])
    publisher.answers([an_answer("p1")], [], None)
    wire.mend()
    assert ids(subscriber.wait_for_topic(PEOPLE)) == ["p1"]
    subscriber.wait_for(online_again)
    assert len(subscriber.of(PEOPLE)) == 1


def retained(port: int) -> set[str]:
    """The topics with a retained message."""
    fresh = Subscriber(port)
    fresh.close()
    return {message.topic for message in fresh.messages}


# What is said


def test_refused_and_back_are_said_once(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    shown = f"broker mqtt://{HOST}:{broker.port}:"
    with publishing(broker.port) as publisher:
        until(lambda: said(caplog))
        begun = time.monotonic()
        until(lambda: time.monotonic() > begun + 1.2)  # the second try comes after a second
        with broker:
            until(lambda: publisher.figures().connected)
        disconnected(publisher)
        with broker:
            until(lambda: publisher.figures().connected)
            publisher.close()
    assert said(caplog)[:2] == [f"{shown} connection refused; trying again", f"{shown} connection lost; trying again"]
    assert (
        said(caplog).count(f"{shown} connection refused; trying again") <= 2
    )  # perhaps once more, in the second outage
    first, second = said(caplog, "INFO")
    assert re.fullmatch(re.escape(shown) + r" connected after \d+ s \([23] tries\)", first)
    assert re.fullmatch(re.escape(shown) + r" back after \d+ s \(\d (try|tries)\)", second)


def test_a_good_day_is_one_line(mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture) -> None:
    with publishing(mosquitto.port) as publisher:
        publisher.answers([an_answer("a")], [an_event("e")], b"jpeg")
        until(lambda: publisher.figures().published == 4)
    assert said(caplog, "INFO") == [f"broker mqtt://{HOST}:{mosquitto.port}: connected"]
    assert said(caplog) == []


def test_wrong_password_is_said_once_and_shown_never(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (
        Mosquitto(tmp_path, users={"edged": "right-word"}) as broker,
        publishing(broker.port, username="edged", password=Secret("wrong-word")) as publisher,
    ):
        until(lambda: broker.log().count("not authorised") >= 2)
        assert publisher.figures().connected is False
        assert "wrong-word" not in repr(publisher.__dict__)
    shown = f"broker mqtt://{HOST}:{broker.port}:"
    assert said(caplog) == [f"{shown} not authorised (wrong user or password); trying again"]
    assert "wrong-word" not in caplog.text


def test_the_right_password_is_taken(tmp_path: Path) -> None:
    with (
        Mosquitto(tmp_path, users={"edged": "right-word"}) as broker,
        publishing(broker.port, username="edged", password=Secret("right-word")) as publisher,
    ):
        until(lambda: publisher.figures().connected)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 70])
def test_a_name_that_cannot_be_resolved(host: str, caplog: pytest.LogCaptureFixture) -> None:
    with publishing(1883, host) as publisher:
        until(lambda: said(caplog))
        begun = time.monotonic()
        publisher.close()
        assert time.monotonic() - begun < 1.0
    assert said(caplog) == [f"broker mqtt://{host}:1883: name cannot be resolved; trying again"]


def test_tls_with_the_right_ca(tmp_path: Path, tls: Path) -> None:
    with (
        Mosquitto(tmp_path, tls=tls) as broker,
        publishing(broker.port, "localhost", tls=True, ca=tls / "ca.crt") as publisher,
    ):
        publisher.answers([an_answer("a")], [], None)
        until(lambda: publisher.figures().published == 2)
        assert publisher.close() is True


def test_a_certificate_of_an_unknown_ca(tmp_path: Path, tls: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Mosquitto(tmp_path, tls=tls) as broker, publishing(broker.port, "localhost", tls=True):
        until(lambda: said(caplog))
    shown = f"broker mqtts://localhost:{broker.port}:"
    reason = "certificate not accepted: unable to get local issuer certificate"
    assert said(caplog) == [f"{shown} {reason}; trying again"]


def test_a_certificate_of_another_host(tmp_path: Path, tls: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Mosquitto(tmp_path, tls=tls) as broker, publishing(broker.port, HOST, tls=True, ca=tls / "ca.crt"):
        until(lambda: said(caplog))
    assert f"mqtts://{HOST}:{broker.port}: certificate not accepted: IP address mismatch" in said(caplog)[0]


def test_tls_at_a_port_without_it(caplog: pytest.LogCaptureFixture) -> None:
    with a_broker_that(lambda *_: b"220 mail.example\r\n") as port, publishing(port, tls=True):
        until(lambda: said(caplog))
    assert said(caplog) == [f"broker mqtts://{HOST}:{port}: it does not speak TLS at this port; trying again"]


def damaged(tls: Path) -> bytes:
    lines = (tls / "ca.crt").read_bytes().splitlines()
    return b"\n".join([lines[0], b"AAAA" + lines[1][4:], *lines[2:]])


CA_FILES: dict[str, tuple[Callable[[Path, Path], Path], str]] = {
    "missing": (lambda folder, _: folder / "missing.crt", "no such file or directory"),
    "a folder": (lambda folder, _: folder, "is a directory"),
    "unreadable": (lambda *_: Path("/proc/self/mem"), "input/output error"),  # for root too
    "empty": (lambda folder, _: written(folder / "empty.crt", b"\n"), "it is empty"),
    "text": (lambda folder, _: written(folder / "a.crt", b"a"), "it holds no certificate in PEM format"),
    "a key": (lambda _, tls: tls / "server.key", "it holds no certificate in PEM format"),
    "damaged": (lambda folder, tls: written(folder / "b.crt", damaged(tls)), "a certificate in it is damaged (.*)"),
}


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", CA_FILES)
def test_a_ca_file_that_cannot_be_used_is_the_owners_to_change(tmp_path: Path, tls: Path, name: str) -> None:
    make, reason = CA_FILES[name]
    ca = make(tmp_path, tls)
    spec = BrokerSpec(port=1, tls=True, ca=ca)
    publisher = MqttPublisher(spec, "box")
    for fails in (publisher.prepare, publisher.start, Follower(spec, None).start):
        with pytest.raises(FileUnusable, match=rf"^mqtt: ca file {re.escape(str(ca))} cannot be used: {reason}$") as it:
            fails()
        assert it.value.code == EXIT_CONFIG
    assert publisher.close() is False


def test_a_ca_file_is_read_once_and_before_connecting(tmp_path: Path, tls: Path) -> None:
    ca = written(tmp_path / "ca.crt", (tls / "ca.crt").read_bytes())
    with Mosquitto(tmp_path, tls=tls) as broker:
        publisher = MqttPublisher(BrokerSpec("localhost", broker.port, tls=True, ca=ca), "box")
        publisher.prepare()
        ca.unlink()
        publisher.start()
        publisher.online()
        until(lambda: publisher.figures().connected)
        assert publisher.close() is True


def test_a_topic_that_is_denied_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    acl = "topic readwrite edged/box/bridge/#\ntopic readwrite edged/box/dock/gate_open\n"
    with Mosquitto(tmp_path, acl=acl) as broker, publishing(broker.port) as publisher:
        until(lambda: publisher.figures().published == 1)
        for number in range(3):
            publisher.answers([an_answer(f"p{number}"), an_answer(f"g{number}", question="gate_open")], [], None)
        until(lambda: publisher.figures().published == 4)
        until(lambda: publisher.figures().refused == 3)
        assert publisher.figures().waiting == 0
    shown = f"broker mqtt://{HOST}:{broker.port}:"
    assert said(caplog) == [f"{shown} topic {PEOPLE} is refused: not authorised to publish to it"]


# Callbacks, and brokers out of order


class Deaf:
    """Hears of everything and does nothing."""

    def on_connected(self) -> None: ...

    def on_lost(self) -> None: ...

    def on_acknowledged(self, mid: int, taken: bool) -> None: ...


class Stumbling(Connection):
    """Its callback fails the first time."""

    stumbled = False

    def _on_publish(self, *arguments: Any) -> None:
        if not self.stumbled:
            self.stumbled = True
            raise RuntimeError("stumbled")
        super()._on_publish(*arguments)


def attended(link: Connection, condition: Callable[[], Any], timeout_s: float = 15.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        link.attend(0.05)


def test_an_error_in_a_callback_is_logged_and_survived(mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture) -> None:
    link = Stumbling(BrokerSpec(host=HOST, port=mosquitto.port), "box", Deaf())
    link.start()
    attended(link, lambda: link.connected)
    assert link.close(time.monotonic() + 0.5) is False  # the acknowledgement that stumbled was of `offline`
    [record] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.getMessage() == "unexpected error in the callback _on_publish"
    assert record.exc_info is not None


class Dying(Connection):
    """Its first client has a callback without a guard, which ends paho's thread."""

    died = False

    def _new_client(self, *arguments: Any) -> Any:
        client = super()._new_client(*arguments)
        if not self.died:
            client.on_connect = self._die
        return client

    def _die(self, *_: Any) -> None:
        self.died = True
        raise RuntimeError("died")


def test_paho_gets_another_thread_when_one_has_died(mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture) -> None:
    link = Dying(BrokerSpec(host=HOST, port=mosquitto.port), "box", Deaf())
    link.start()
    attended(link, lambda: link.connected)
    assert link.close(time.monotonic() + 10) is True
    [record] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.getMessage() == "paho's network thread failed; starting another"


CONNACK_5 = b"\x20\x03\x00\x00\x00"
CONNACK_3 = b"\x20\x02\x00\x00"


@contextmanager
def a_broker_that(answers: Callable[[int, bytes], bytes | None]) -> Iterator[int]:
    """A port where each connection gets what `answers(number, CONNECT)` says; None closes it."""
    with socket.create_server((HOST, 0)) as listening:
        kept = []

        def serve() -> None:
            with suppress(OSError):
                for number in range(1000):
                    connection, _ = listening.accept()
                    kept.append(connection)
                    with suppress(OSError):  # it was left before we had answered
                        reply = answers(number, connection.recv(65536))
                        if reply is None:
                            connection.close()
                        else:
                            connection.sendall(reply)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        for connection in kept:
            connection.close()


def version_of(connect: bytes) -> int:
    return connect[connect.index(b"MQTT") + 4]


def test_a_broker_that_closes_on_mqtt_5_is_asked_in_3_1_1(caplog: pytest.LogCaptureFixture) -> None:
    def answers(_: int, connect: bytes) -> bytes | None:
        return None if version_of(connect) == 5 else CONNACK_3

    with a_broker_that(answers) as port:
        link = Connection(BrokerSpec(host=HOST, port=port), "box", Deaf())
        link.start()
        attended(link, lambda: link.connected)
        link.close(0.0)
    assert said(caplog, "INFO") == [
        f"broker mqtt://{HOST}:{port}: connected (MQTT 3.1.1: it will not remove expired answers)"
    ]


def test_after_a_failure_in_3_1_1_mqtt_5_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    versions = []

    def answers(number: int, connect: bytes) -> bytes | None:
        versions.append(version_of(connect))
        return CONNACK_5 if number == 2 else None

    with a_broker_that(answers) as port:
        link = Connection(BrokerSpec(host=HOST, port=port), "box", Deaf())
        link.start()
        attended(link, lambda: link.connected)
        link.close(0.0)
    assert versions == [5, 4, 5]
    assert f"broker mqtt://{HOST}:{port}: it closed the connection without an answer; trying again" in said(caplog)


def test_nonsense_from_the_broker_does_not_end_the_link() -> None:
    nonsense = b"\x40\x01\x00"  # an acknowledgement with half a number

    def answers(number: int, _: bytes) -> bytes:
        return CONNACK_5 + nonsense if number == 0 else CONNACK_5

    with a_broker_that(answers) as port:
        link = Connection(BrokerSpec(host=HOST, port=port), "box", Deaf())
        link.start()
        attended(link, lambda: link.connections == 2)
        assert link.connected
        link.close(0.0)


def test_a_broker_that_sends_us_away_is_quoted(caplog: pytest.LogCaptureFixture) -> None:
    goodbyes = [b"\xe0\x02\x8e\x00", b"\xe0\x02\x8b\x00"]

    def answers(number: int, _: bytes) -> bytes:
        return CONNACK_5 + (goodbyes[number] if number < 2 else b"")

    with a_broker_that(answers) as port:
        link = Connection(BrokerSpec(host=HOST, port=port), "box", Deaf())
        link.start()
        attended(link, lambda: link.connections == 3)
        link.close(0.0)
    shown = f"broker mqtt://{HOST}:{port}:"
    assert said(caplog)[:2] == [
        f"{shown} it ended the connection: another client uses our client id; trying again",
        f"{shown} it ended the connection: server shutting down; trying again",
    ]


def test_a_message_too_large_for_the_broker_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    connack = b"\x20\x08\x00\x00\x05\x27" + (1000).to_bytes(4, "big")  # maximum packet size
    with a_broker_that(lambda *_: connack) as port:
        link = Connection(BrokerSpec(host=HOST, port=port), "box", Deaf())
        link.start()
        attended(link, lambda: link.connected)
        assert link.takes(Message("a/picture", b"x" * 900))
        assert not link.takes(Message("a/picture", b"x" * 2000))
        assert not link.takes(Message("a/picture", b"x" * 2001))
        link.close(0.0)
    refused = f"broker mqtt://{HOST}:{port}: topic a/picture is refused: 2073 bytes are too many for it, it takes 1000"
    assert said(caplog)[0] == refused
    assert sum("too many" in text for text in said(caplog)) == 1


def test_refused_topics_are_logged_by_name_up_to_a_limit(caplog: pytest.LogCaptureFixture) -> None:
    connack = b"\x20\x08\x00\x00\x05\x27" + (1000).to_bytes(4, "big")  # maximum packet size
    with a_broker_that(lambda *_: connack) as port:
        link = Connection(BrokerSpec(host=HOST, port=port), "box", Deaf())
        link.start()
        attended(link, lambda: link.connected)
        for number in range(150):
            assert not link.takes(Message(f"cam{number}/picture", b"x" * 2000))
        link.close(0.0)
    refused = [text for text in said(caplog) if "refused" in text]
    assert len(refused) == 101
    assert refused[-1] == f"broker mqtt://{HOST}:{port}: 100 topics are refused; no more are logged"


def test_a_link_that_nobody_attends_does_not_grow_by_being_woken() -> None:
    link = Connection(BrokerSpec(), "box", Deaf())
    tracemalloc.start()
    try:
        for _ in range(50_000):
            link.wake()
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < 100_000


def test_a_follower_survives_a_host_name_that_cannot_be_one() -> None:
    follower = Follower(BrokerSpec(host="a..b"), None)
    follower.start()
    until(lambda: follower.reason == "name cannot be resolved")
    follower.close()


def test_answers_say_what_they_are_in_json(publisher: MqttPublisher, subscriber: Subscriber) -> None:
    publisher.answers([replace(an_answer("k"), text="아니요", prompt="몇 명?")], [], None)
    [message] = subscriber.wait_for_topic(PEOPLE)
    assert "아니요".encode() in message.payload
    assert json.loads(message.payload)["prompt"] == "몇 명?"


def test_two_of_one_client_id_are_said_once_and_not_at_every_push(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    shown = f"broker mqtt://{HOST}:{mosquitto.port}:"
    fight = f'{shown} connected only for moments; does another client use our id "twin"?; trying again'
    with publishing(mosquitto.port, client_id="twin"):
        with publishing(mosquitto.port, client_id="twin"):
            until(lambda: said(caplog).count(fight) == 2, 40.0)
            count = len(caplog.records)
            wait = threading.Event()
            wait.wait(3)
            assert len(caplog.records) <= count + 1
        assert said(caplog).count(fight) == 2
