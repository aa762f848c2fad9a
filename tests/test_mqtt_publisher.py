"""The way to a real broker, through everything that happens to it."""

# ruff: noqa: F401, F811  # fixtures are imported, and then named as arguments

from __future__ import annotations

import json
import logging
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from broker import (
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

from edged.core import CameraState, EdgedError, Event, Secret
from edged.mqtt.link import Link
from edged.mqtt.publisher import Line, Publisher, Waiting
from edged.mqtt.topics import Message
from edged.specs import BrokerSpec

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
def publisher(wire: Wire) -> Iterator[Publisher]:
    """Connected to mosquitto through the wire, `online` said."""
    with publishing(wire.port) as running:
        until(lambda: running.figures().published == 1)
        yield running


@contextmanager
def publishing(port: int, host: str = HOST, **more: Any) -> Iterator[Publisher]:
    running = Publisher(BrokerSpec(host=host, port=port, **more), "box")
    running.start()
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


def settled(publisher: Publisher) -> None:
    """Everything has been sent and acknowledged, and we know of it."""
    until(lambda: publisher.figures().connected and publisher.figures().waiting == 0, 40.0)


def disconnected(publisher: Publisher) -> None:
    until(lambda: not publisher.figures().connected)


# What goes out


def test_answers_events_and_picture_go_to_their_topics(publisher: Publisher, subscriber: Subscriber) -> None:
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
    publisher: Publisher,
    subscriber: Subscriber,
    expires_s: float,
    whole: int,
) -> None:
    publisher.answers([an_answer("a", expires_s=expires_s)], [], None)
    assert subscriber.wait_for_topic(PEOPLE)[0].expires_s == whole


def test_states_come_first_and_then_online(mosquitto: Mosquitto, subscriber: Subscriber) -> None:
    publisher = Publisher(BrokerSpec(host=HOST, port=mosquitto.port), "box")
    publisher.info({"version": "0.1.0"})
    publisher.camera("dock", CameraState(False, "not there yet", SINCE))
    publisher.camera("dock", CameraState(True, None, SINCE))
    publisher.answers([an_answer("a1")], [an_event("e1")], None)
    publisher.answers([an_answer("a2")], [], None)
    publisher.start()
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


def test_many_looks_at_once_keep_the_order_of_each(publisher: Publisher, subscriber: Subscriber) -> None:
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


def test_what_json_cannot_say_is_the_looks_mistake(publisher: Publisher) -> None:
    with pytest.raises(ValueError, match="JSON"):
        publisher.answers([replace(an_answer("a"), value=float("nan"))], [], None)
    assert publisher.figures().waiting == 0


# Coming and going


def test_last_will_says_offline(publisher: Publisher, subscriber: Subscriber, wire: Wire) -> None:
    subscriber.forget()
    wire.cut()
    [will] = subscriber.wait_for_topic(STATE)
    assert (will.json, will.retain, will.content_type) == (OFFLINE, True, "application/json")


def test_offline_is_acknowledged_at_close(publisher: Publisher, mosquitto: Mosquitto) -> None:
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
    assert Publisher(BrokerSpec(), "box").close() is False


def test_goodbye_has_a_limit(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    link = Link(BrokerSpec(host=HOST, port=wire.port), "box", Deaf())
    link.start()
    attended(link, lambda: link.connected)
    wire.deaf.set()
    begun = time.monotonic()
    assert link.close(begun + 0.3) is False
    assert time.monotonic() - begun < 2.0
    assert said(caplog) == [f'broker mqtt://{HOST}:{wire.port}: "offline" was not acknowledged']


def test_a_broker_that_forgot_everything_is_told_again(publisher: Publisher, mosquitto: Mosquitto) -> None:
    publisher.info({"version": "0.1.0"})
    publisher.answers([an_answer("a1")], [], b"jpeg")
    until(lambda: publisher.figures().published == 4)
    mosquitto.kill()
    disconnected(publisher)
    mosquitto.start()
    until(lambda: publisher.figures().published == 8)
    assert retained(mosquitto.port) == {STATE, "edged/box/bridge/info", PEOPLE, "edged/box/dock/image/jpeg"}
    assert publisher.figures().reconnects == 1


# An outage


def test_outage_loses_nothing(publisher: Publisher, subscriber: Subscriber, wire: Wire) -> None:
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


def test_what_perhaps_arrived_keeps_its_words(publisher: Publisher, subscriber: Subscriber, wire: Wire) -> None:
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


def test_two_outages_in_a_row(publisher: Publisher, subscriber: Subscriber, wire: Wire) -> None:
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
    publisher: Publisher, subscriber: Subscriber, wire: Wire
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
    publisher: Publisher,
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
    publisher = Publisher(BrokerSpec(host=HOST, port=wire.port), "box", line_limit=300)
    publisher.answers([an_answer("gate", question="gate_open")], [], None)
    for number in range(304):
        publisher.answers([an_answer(f"{number}")], [], None)
    assert (publisher.figures().waiting, publisher.figures().dropped) == (300, 5)
    publisher.start()
    subscriber.wait_for_topic(f"{PEOPLE}/late", 298)
    publisher.close()
    assert ids(subscriber.of(f"{PEOPLE}/late")) == [str(number) for number in range(5, 303)]
    assert ids(subscriber.of(PEOPLE)) == ["303"]
    assert ids(subscriber.of(GATE)) == ["gate"]  # the oldest of all, but the newest of its question
    assert said(caplog) == [
        f"broker mqtt://{HOST}:{wire.port}: "
        "the 5 oldest answers and events were dropped while it was away (300 can wait)"
    ]


def test_a_line_keeps_the_newest_of_each_question() -> None:
    line = Line(limit=3)
    for topic in ("a", "b", "a", "a", "b", "b", "c"):
        line.add(Waiting(topic, f"{topic}/late", b"{}"))
    line.suffer_outage([])
    assert (len(line), line.dropped) == (3, 4)
    assert {waiting.topic for waiting in iter(lambda: line.take(newest_only=True), None)} == {"a", "b", "c"}


def test_what_was_taken_and_not_sent_stays_behind_what_is_in_flight() -> None:
    line = Line()
    answers = [Waiting("a", "a/late", b"{}") for _ in range(4)]
    for waiting in answers:
        line.add(waiting)
    in_flight = [line.take(newest_only=False) for _ in range(2)]
    for _ in range(2):  # the connection is gone, and nobody has told us yet
        taken = line.take(newest_only=False)
        assert taken is answers[2]
        line.put_back(taken)
    line.suffer_outage(in_flight)
    assert line.take(newest_only=True) is answers[3]
    assert [line.take(newest_only=False) for _ in range(3)] == answers[:3]


# What is no longer asked


def test_retired_questions_leave_the_broker(publisher: Publisher, mosquitto: Mosquitto) -> None:
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


def test_retiring_waits_for_the_broker(
    publisher: Publisher,
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


def test_a_question_that_comes_back_is_not_cleared(publisher: Publisher, subscriber: Subscriber, wire: Wire) -> None:
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


def test_a_ca_file_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "empty.crt").write_text("no certificate")
    for name in ("missing.crt", "empty.crt"):
        publisher = Publisher(BrokerSpec(tls=True, ca=tmp_path / name), "box")
        with pytest.raises(EdgedError, match=rf"mqtt: ca file .*{name} cannot be used: "):
            publisher.start()


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
    assert said(caplog) == [f"{shown} topic {PEOPLE} is refused: we are not authorised to publish to it"]


# Callbacks, and brokers out of order


class Deaf:
    """Hears of everything and does nothing."""

    def on_connected(self) -> None: ...

    def on_lost(self) -> None: ...

    def on_acknowledged(self, mid: int, taken: bool) -> None: ...


class Stumbling(Link):
    """Its callback fails the first time."""

    stumbled = False

    def _on_publish(self, *arguments: Any) -> None:
        if not self.stumbled:
            self.stumbled = True
            raise RuntimeError("stumbled")
        super()._on_publish(*arguments)


def attended(link: Link, condition: Callable[[], Any], timeout_s: float = 15.0) -> None:
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
    assert record.getMessage() == "defect in the callback _on_publish; going on"
    assert record.exc_info is not None


class Dying(Link):
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
        link = Link(BrokerSpec(host=HOST, port=port), "box", Deaf())
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
        link = Link(BrokerSpec(host=HOST, port=port), "box", Deaf())
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
        link = Link(BrokerSpec(host=HOST, port=port), "box", Deaf())
        link.start()
        attended(link, lambda: link.connections == 2)
        assert link.connected
        link.close(0.0)


def test_a_broker_that_sends_us_away_is_quoted(caplog: pytest.LogCaptureFixture) -> None:
    goodbyes = [b"\xe0\x02\x8e\x00", b"\xe0\x02\x8b\x00"]

    def answers(number: int, _: bytes) -> bytes:
        return CONNACK_5 + (goodbyes[number] if number < 2 else b"")

    with a_broker_that(answers) as port:
        link = Link(BrokerSpec(host=HOST, port=port), "box", Deaf())
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
        link = Link(BrokerSpec(host=HOST, port=port), "box", Deaf())
        link.start()
        attended(link, lambda: link.connected)
        assert link.takes(Message("a/picture", b"x" * 900))
        assert not link.takes(Message("a/picture", b"x" * 2000))
        assert not link.takes(Message("a/picture", b"x" * 2001))
        link.close(0.0)
    refused = f"broker mqtt://{HOST}:{port}: topic a/picture is refused: 2073 bytes are too many for it, it takes 1000"
    assert said(caplog)[0] == refused
    assert sum("too many" in text for text in said(caplog)) == 1


def test_answers_say_what_they_are_in_json(publisher: Publisher, subscriber: Subscriber) -> None:
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
