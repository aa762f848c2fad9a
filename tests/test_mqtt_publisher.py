"""What is published, in which order, and how a publisher starts and ends, with a real broker."""

# ruff: noqa: F401, F811  # fixtures are imported, and then named as arguments

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from support.broker import (
    HOST,
    Mosquitto,
    Subscriber,
    Wire,
    an_answer,
    free_port,
    until,
    wire,
)
from support.publishing import (
    EVENT,
    GATE,
    OFFLINE,
    ONLINE,
    PEOPLE,
    SINCE,
    STATE,
    an_event,
    disconnected,
    ids,
    logged,
    publisher,
    publishing,
    retained,
    settled,
    store,
)

from edged.core.specs import BrokerSpec
from edged.core.types import Answer, CameraState, Event
from edged.mqtt import properties
from edged.mqtt import publisher as publisher_module
from edged.mqtt.connection import Connection
from edged.mqtt.outbox import Limits
from edged.mqtt.publisher import MqttPublisher

# Topics and payloads


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
    [event_message] = subscriber.of(EVENT)
    assert event_message.json["event_type"] == "alert_on"
    assert (event_message.retain, event_message.expires_s, event_message.content_type) == (
        False,
        None,
        "application/json",
    )
    [picture] = subscriber.wait_for_topic("edged/box/dock/image/jpeg")
    assert picture.payload == b"\xff\xd8jpeg"
    assert (picture.retain, picture.expires_s, picture.content_type) == (True, 90, "image/jpeg")


@pytest.mark.parametrize(("expires_s", "seconds"), [(0.9, 1), (60.0, 60), (90.5, 91)])
def test_message_expiry_is_in_whole_seconds_rounded_up(
    publisher: MqttPublisher,
    subscriber: Subscriber,
    expires_s: float,
    seconds: int,
) -> None:
    publisher.answers([an_answer("a", expires_s=expires_s)], [], None)
    assert subscriber.wait_for_topic(PEOPLE)[0].expires_s == seconds


def test_without_a_synchronised_clock_answers_expire_all_the_same(
    publisher: MqttPublisher, subscriber: Subscriber
) -> None:
    publisher.answers([replace(an_answer("a", expires_s=0.5), clock_synced=False)], [], None)
    answer, cleared = subscriber.wait_for_topic(PEOPLE, 2)
    assert (answer.expires_s, cleared.payload, cleared.retain) == (1, b"", True)


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
    published = [(message.topic, message.retain) for message in subscriber.messages[:6]]
    assert published == [
        ("edged/box/bridge/info", True),
        ("edged/box/dock/availability", True),
        (PEOPLE, True),
        (STATE, True),
        (EVENT, False),
        (f"{PEOPLE}/late", False),
    ]
    assert subscriber.messages[1].json == {"state": "online", "reason": None, "since": SINCE.timestamp()}
    assert subscriber.messages[3].json == ONLINE


def test_what_is_paused_is_retained_and_sent_again_after_a_reconnect(
    publisher: MqttPublisher, subscriber: Subscriber, wire: Wire
) -> None:
    state = {"active": False, "questions": {"people": True}, "since": 1785312000.0}
    publisher.active("dock", state)
    subscriber.wait_for_topic("edged/box/dock/active")
    wire.cut()
    wire.mend()
    first, again = subscriber.wait_for_topic("edged/box/dock/active", 2)
    assert (first.retain, first.json, again.json) == (True, state, state)


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


NAN = float("nan")
NOT_JSON = {
    "value": replace(an_answer("a3"), value=NAN),
    "confidence": replace(an_answer("a3"), confidence=NAN),
    "event": replace(an_event("e2"), after=NAN),
}


@pytest.mark.parametrize("not_json", NOT_JSON.values(), ids=NOT_JSON)
def test_a_look_with_a_value_that_json_cannot_encode_publishes_nothing(
    publisher: MqttPublisher, subscriber: Subscriber, not_json: Answer | Event
) -> None:
    answers, events = [an_answer("a1"), an_answer("a2", question="gate_open")], [an_event("e")]
    if isinstance(not_json, Event):
        events.append(not_json)
    else:
        answers.append(not_json)
    with pytest.raises(ValueError, match="JSON"):
        publisher.answers(answers, events, b"jpeg")
    assert publisher.figures().waiting == 0
    publisher.info({"last": True})
    subscriber.wait_for_topic("edged/box/bridge/info")
    assert {message.topic for message in subscriber.messages} == {STATE, "edged/box/bridge/info"}


def test_answers_are_utf_8_and_not_escaped(publisher: MqttPublisher, subscriber: Subscriber) -> None:
    publisher.answers([replace(an_answer("k"), text="아니요", prompt="몇 명?")], [], None)
    [message] = subscriber.wait_for_topic(PEOPLE)
    assert "아니요".encode() in message.payload
    assert json.loads(message.payload)["prompt"] == "몇 명?"


# Connecting and closing


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


def test_close_takes_no_time_at_a_port_that_never_replies() -> None:
    with socket.create_server((HOST, 0)) as silent, publishing(silent.getsockname()[1]) as publisher:
        silent.accept()[0].close()
        begun = time.monotonic()
        assert publisher.close() is False
        assert time.monotonic() - begun < 1.0


def test_a_publisher_that_never_started_can_be_closed() -> None:
    assert MqttPublisher(BrokerSpec(), "box").close() is False


def test_a_publisher_does_not_count_as_stuck_before_it_is_started() -> None:
    """A reload that also changes the model creates the publisher first, and then loads for minutes."""
    publisher = MqttPublisher(BrokerSpec(port=free_port()), "box")
    begun = time.monotonic()
    until(lambda: time.monotonic() > begun + 0.1)
    assert time.monotonic() - publisher.moved_at < 0.1
    publisher.start()
    assert 0 <= time.monotonic() - publisher.moved_at < 10
    publisher.close()


@pytest.mark.slow
def test_a_broker_that_lost_its_retained_messages_gets_them_again(
    publisher: MqttPublisher, mosquitto: Mosquitto
) -> None:
    publisher.info({"version": "0.1.0"})
    publisher.answers([an_answer("a1")], [], b"jpeg")
    until(lambda: publisher.figures().published >= 4)
    mosquitto.kill()
    disconnected(publisher)
    mosquitto.start()
    until(lambda: publisher.figures().published >= 8)
    assert retained(mosquitto.port) == {STATE, "edged/box/bridge/info", PEOPLE, "edged/box/dock/image/jpeg"}
    assert publisher.figures().reconnects == 1


@pytest.mark.slow
def test_close_is_bounded_at_a_frozen_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert publisher_module.CLOSE_S + publisher_module.OFFLINE_S == 12
    monkeypatch.setattr(publisher_module, "CLOSE_S", 2.0)
    monkeypatch.setattr(publisher_module, "OFFLINE_S", 1.0)
    monkeypatch.setattr(properties, "WILL_DELAY_S", 1)
    with Mosquitto(tmp_path) as broker, publishing(broker.port) as publisher:
        until(lambda: publisher.figures().published >= 1)
        broker.freeze()
        for number in range(100):
            publisher.answers([an_answer(f"{number}")], [an_event("e")], b"jpeg" * 10_000)
        publisher.camera("dock", CameraState(False, "edged has stopped", SINCE))
        begun = time.monotonic()
        assert publisher.close() is False
        assert time.monotonic() - begun < 3
        assert len(publisher.release().messages) > 150
        broker.thaw()
        after = Subscriber(broker.port)
        # The will comes with its delay: mosquitto drops what it has not read of a closed connection.
        after.wait_for(lambda messages: any(each.topic == STATE and each.json == OFFLINE for each in messages))
        after.close()


def test_states_published_just_before_close_are_acknowledged_before_offline(
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


# Before `online`


def test_online_is_not_published_before_online_is_called(wire: Wire, subscriber: Subscriber) -> None:
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


def test_a_failed_start_never_publishes_online(mosquitto: Mosquitto, subscriber: Subscriber) -> None:
    publisher = MqttPublisher(BrokerSpec(host=HOST, port=mosquitto.port), "box")
    publisher.camera("dock", CameraState(True, None, SINCE))
    publisher.answers([an_answer("a1")], [an_event("e1")], b"jpeg")
    publisher.start()
    until(lambda: publisher.figures().connected)
    begun = time.monotonic()
    assert publisher.close() is True
    assert time.monotonic() - begun < 2
    subscriber.wait_for_topic(STATE)
    published = [(message.topic, message.json["state"], message.retain) for message in subscriber.messages]
    assert published == [("edged/box/dock/availability", "online", True), (STATE, "offline", True)]
    assert len(publisher.release().messages) == 2


def test_a_missing_secret_and_its_end_are_logged_once(mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    problem = 'the secret "mqtt-password" is missing'
    with publishing(mosquitto.port, username="edged", problem=problem) as publisher:
        publisher.answers([an_answer("a1")], [], None)
        moved_at = publisher.moved_at
        until(lambda: publisher.moved_at > moved_at)
        assert publisher.figures().connected is False
        begun = time.monotonic()
        assert publisher.close() is False
        assert time.monotonic() - begun < 1
    assert "edged-box" not in mosquitto.log()
    shown = f"broker mqtt://{HOST}:{mosquitto.port}:"
    line = f"{shown} not connected: {problem}; after correcting it, run `edged reload`"
    assert logged(caplog) == [line]
    spec, released = BrokerSpec(HOST, mosquitto.port), publisher.release()
    for reloaded in (
        replace(spec, problem=problem, client_id="other"),
        spec,
    ):  # the secret is still missing; it is there
        publisher = MqttPublisher(reloaded, "box")
        publisher.adopt(released)
        publisher.start()
        publisher.online()
        until(lambda publisher=publisher: publisher.tried)  # type: ignore[misc]
        publisher.close()
        released = publisher.release()
    assert logged(caplog) == [line]
    [end] = logged(caplog, "INFO")
    assert re.fullmatch(rf"{shown} connected after \S+ s \(1 try\)", end)


def test_an_unexpected_error_of_the_publisher_is_logged_once_until_it_works_again(
    mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(publisher_module, "TICK_S", 0.05)
    failures: list[str] = []
    with publishing(mosquitto.port) as publisher:
        until(lambda: publisher.figures().published >= 1)

        def fails() -> None:
            if len(failures) < 3:
                failures.append("oops")
                raise RuntimeError("oops")

        monkeypatch.setattr(publisher._queue, "expire", fails)
        until(lambda: any("works again" in line for line in logged(caplog, "INFO")))
    shown = f"broker mqtt://{HOST}:{mosquitto.port}:"
    assert logged(caplog, "ERROR") == [f"{shown} unexpected error in the publisher: RuntimeError('oops')"]
    end = logged(caplog, "INFO")[-1]
    assert re.fullmatch(rf"{shown} the publisher works again after \S+ s \(3 errors\)", end)


# A slow broker


class Drip(Wire):
    """Delivers what the broker sends at 4 bytes per 10 ms, which is one acknowledgement."""

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        def drip() -> None:
            with suppress(OSError):
                while data := far.recv(4):
                    time.sleep(0.01)
                    near.sendall(data)

        threading.Thread(target=drip, daemon=True).start()
        with near, far, suppress(OSError):
            while data := near.recv(65536):
                far.sendall(data)


@pytest.fixture
def drip(mosquitto: Mosquitto) -> Iterator[Drip]:
    between = Drip(mosquitto.port)
    yield between
    between.cut()


def more_published(publisher: MqttPublisher, count: int) -> None:
    """Wait until more than `count` messages are published."""
    until(lambda: publisher.figures().published > count)


@pytest.mark.slow
def test_states_answers_events_and_pictures_share_a_slow_connection(drip: Drip, subscriber: Subscriber) -> None:
    with publishing(drip.port) as publisher:
        until(lambda: publisher.figures().published >= 1)
        subscriber.forget()
        for count in range(1, 101):
            for camera in range(8):
                name = f"{count}-{camera}"
                publisher.answers([an_answer(name, f"cam{camera}")], [an_event(name)], f"jpeg {count}".encode())
            publisher.camera(f"cam{count}", CameraState(True, None, SINCE))
            publisher.camera(f"cam{count}", CameraState(False, None, SINCE))
            more_published(publisher, count)
        subscriber.wait_for(lambda messages: len(messages) > 100)
        topics = [message.topic.rpartition("/")[2] for message in subscriber.messages[:100]]
        pictures = [message for message in subscriber.messages if message.topic.endswith("jpeg")]
        drip.cut()
    shares = {lane: topics.count(lane) for lane in ("people", "event", "availability", "jpeg")}
    assert min(shares.values()) >= 15, shares
    for camera in range(8):  # a newer picture replaces a waiting one
        numbers = [
            int(picture.payload.split()[1])
            for picture in pictures
            if picture.topic == f"edged/box/cam{camera}/image/jpeg"
        ]
        assert numbers == sorted(set(numbers))
        assert len(numbers) < 30


@pytest.mark.slow
def test_online_does_not_wait_for_answers_given_after_the_connect(drip: Drip, subscriber: Subscriber) -> None:
    with publishing(drip.port) as publisher:
        publisher.answers([an_answer("a", f"cam{camera}") for camera in range(40)], [], None)
        for count in range(100):
            publisher.answers([an_answer(f"{count}-{camera}", f"cam{camera}") for camera in range(4)], [], None)
            more_published(publisher, count)
        drip.cut()
    assert subscriber.of(STATE)[0].json == ONLINE


@pytest.mark.slow
def test_drops_at_a_slow_broker_are_logged_at_once_and_then_hourly(
    drip: Drip, caplog: pytest.LogCaptureFixture
) -> None:
    publisher = MqttPublisher(BrokerSpec(host=HOST, port=drip.port), "box", limits=Limits(messages=30))
    publisher.start()
    publisher.online()
    until(lambda: publisher.figures().published >= 1)
    for number in range(100):
        publisher.answers([an_answer(f"{number}")], [], None)
    until(lambda: logged(caplog))
    settled(publisher)
    for number in range(100):
        publisher.answers([an_answer(f"{number}")], [], None)
    settled(publisher)
    assert publisher.figures().dropped > 80
    assert len(logged(caplog)) == 1
    drip.cut()
    publisher.close()
    counts = [int(match[1]) for text in logged(caplog) if (match := re.search(r"(\d+) oldest", text))]
    assert sum(counts) == publisher.figures().dropped
