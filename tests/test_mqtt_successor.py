"""A publisher that replaces another one after a reload knows what that one knew of the same broker.

So an outage is logged once, and so is its end, however often edged was reloaded meanwhile.
"""

# ruff: noqa: F401, F811  # fixtures are imported, and then named as arguments

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.broker import (
    CONNACK_V5,
    HOST,
    Censor,
    Mosquitto,
    Subscriber,
    Wire,
    an_answer,
    free_port,
    mosquitto,
    protocol_level,
    scripted_broker,
    subscriber,
    until,
)
from support.publishing import (
    EVENT,
    GATE,
    PEOPLE,
    an_event,
    asking,
    disconnected,
    ids,
    logged,
    publishing,
    retained,
    settled,
    store,
)
from support.slow_store import SlowStore

from edged.core.memory_store import MemoryStore
from edged.core.secret import Secret
from edged.core.specs import BrokerSpec, Config
from edged.core.types import Fact, StoredMessage
from edged.mqtt import acknowledgements, connection
from edged.mqtt import publisher as publisher_module
from edged.mqtt.known_broker import KnownBroker
from edged.mqtt.publisher import MqttPublisher

ONE_QUESTION = asking(image=False, dock=["people"])
NEW_LOGIN: dict[str, Any] = {"username": "another", "password": Secret("another")}
CHANGES: dict[str, dict[str, Any]] = {
    "login": NEW_LOGIN,
    "client id": {"client_id": "other"},
    "node": {},
}


@pytest.fixture(autouse=True)
def capture_every_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acknowledgements, "retry_pause_s", lambda tries: 0.05)
    monkeypatch.setattr(publisher_module, "CLOSE_S", 0.5)


@contextmanager
def succeeding(
    before: MqttPublisher,
    spec: BrokerSpec,
    node: str = "box",
    store: MemoryStore | None = None,
    config: Config | None = None,
) -> Iterator[MqttPublisher]:
    """What `before` was replaced with, as a reload does it."""
    before.close()
    successor = MqttPublisher(spec, node, store)
    successor.adopt(before.release())
    if config:
        successor.follow(config)
    successor.start()
    successor.online()
    try:
        yield successor
    finally:
        successor.close()


def said(caplog: pytest.LogCaptureFixture, text: str, level: str = "WARNING") -> int:
    return sum(text in line for line in logged(caplog, level))


def logged_at(caplog: pytest.LogCaptureFixture, text: str) -> float:
    """When the first line with this text was logged, in seconds since 1970."""
    return next(record.created for record in caplog.records if text in record.getMessage())


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_a_broker_that_stays_away_over_a_reload_is_one_outage(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: str
) -> None:
    broker = Mosquitto(tmp_path)
    spec = BrokerSpec(host=HOST, port=broker.port)
    with publishing(broker.port) as first:
        until(lambda: said(caplog, "connection refused"))
        before = time.time()
        until(lambda: time.time() > before + 2.0)
        new = replace(spec, **CHANGES[change])
        with succeeding(first, new, "other" if change == "node" else "box") as second:
            until(lambda: second.tried)
            with broker:
                until(lambda: second.figures().connected)
                assert logged(caplog) == [f"broker {spec.shown}: connection refused; retrying"]
                [end] = logged(caplog, "INFO")
    assert seconds_in(end) >= logged_at(caplog, "connected") - logged_at(caplog, "refused") - 0.6  # it is rounded


def seconds_in(line: str) -> float:
    """Of `connected after 3 min 2 s (5 tries)`."""
    found = re.fullmatch(r".*: (?:connected|back) after (?:(\d+) min ?)?(?:([\d.]+) s)? \(\d+ tries\)", line)
    assert found, line
    return 60 * int(found[1] or 0) + float(found[2] or 0)


def test_an_outage_that_began_before_a_reload_ends_with_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Mosquitto(tmp_path) as broker, publishing(broker.port) as first:
        until(lambda: first.figures().connected)
        broker.kill()
        until(lambda: said(caplog, "connection refused"))
        with succeeding(first, BrokerSpec(host=HOST, port=broker.port, **NEW_LOGIN)) as second:
            until(lambda: second.tried)
            broker.start()
            until(lambda: second.figures().connected)
    warnings = [line.rpartition(": ")[2] for line in logged(caplog)]
    assert warnings == ["connection lost; retrying", "connection refused; retrying"]
    begun, end = logged(caplog, "INFO")
    assert begun.endswith(": connected")
    assert seconds_in(end) > 0


@pytest.mark.parametrize("change", ["login", "client id"])
def test_answers_stay_retained_over_a_reload_and_are_sent_again_to_a_broker_that_lost_them(
    mosquitto: Mosquitto, subscriber: Subscriber, store: MemoryStore, change: str
) -> None:
    config, wire = asking(image=False, dock=["people", "gate_open"]), Wire(mosquitto.port)
    with publishing(wire.port, store=store, config=config) as first:
        first.answers([an_answer("p"), an_answer("g", question="gate_open")], [], None)
        settled(first)
        spec = replace(BrokerSpec(host=HOST, port=wire.port), **CHANGES[change])
        with succeeding(first, spec, store=store, config=config) as second:
            second.answers([an_answer("g2", question="gate_open")], [], None)
            settled(second)
            subscriber.catch_up()
            assert all(message.payload for message in subscriber.of(PEOPLE))
            assert ids(subscriber.of(GATE))[-1] == "g2"
            wire.cut()
            disconnected(second)
            subscriber.publish(PEOPLE, b"", retain=True)
            subscriber.forget()
            wire.mend()
            assert ids(subscriber.wait_for_topic(PEOPLE)) == ["p"]
    wire.cut()


def test_a_question_without_an_answer_is_not_cleared_at_a_reload(
    mosquitto: Mosquitto, subscriber: Subscriber, store: MemoryStore
) -> None:
    spec = BrokerSpec(host=HOST, port=mosquitto.port)
    with publishing(mosquitto.port, store=store, config=ONE_QUESTION) as first:
        until(lambda: first.figures().published >= 1)
        with succeeding(first, replace(spec, client_id="other"), store=store, config=ONE_QUESTION) as second:
            until(lambda: second.figures().published >= 1)
    subscriber.catch_up()
    assert subscriber.of(PEOPLE) == []


@pytest.mark.parametrize("of_earlier_process", [False, True])
def test_what_has_to_be_cleared_when_the_broker_is_back_is_cleared_by_the_successor(
    mosquitto: Mosquitto, subscriber: Subscriber, store: MemoryStore, of_earlier_process: bool
) -> None:
    """An answer that has expired, or one of an earlier process that is not in the store any more."""
    wire = Wire(mosquitto.port)
    with publishing(wire.port, store=store, config=ONE_QUESTION) as first:
        first.answers([an_answer("p", expires_s=1.0)], [], None)
        until(lambda: first.figures().published >= 2)
        wire.cut()
        disconnected(first)
        expired = time.monotonic() + 1.5
        until(lambda: time.monotonic() > expired)
        subscriber.publish(PEOPLE, b"old", retain=True)  # as a broker does that has MQTT 3.1.1 only
        first.close()
        before = MqttPublisher(BrokerSpec(host=HOST, port=wire.port), "box", store) if of_earlier_process else first
        before.follow(ONE_QUESTION)
        with succeeding(before, BrokerSpec(host=HOST, port=wire.port), store=store, config=ONE_QUESTION):
            wire.mend()
            until(lambda: PEOPLE not in retained(mosquitto.port))
    wire.cut()


def test_an_older_answer_that_waits_does_not_replace_one_that_was_acknowledged_before_the_reload(
    mosquitto: Mosquitto, subscriber: Subscriber, store: MemoryStore
) -> None:
    refused, full = set[str](), True

    def verdict(topic: str) -> int | None:
        if full and (topic == f"{PEOPLE}/late" or (topic == PEOPLE and topic not in refused)):
            refused.add(topic)
            return 0x97
        return None

    censor = Censor(mosquitto.port, verdict)
    with publishing(censor.port, store=store, config=ONE_QUESTION) as first:
        until(lambda: first.figures().published >= 1)
        first.answers([an_answer("old"), an_answer("new")], [], None)
        until(lambda: f"{PEOPLE}/late" in refused)
        subscriber.wait_for_topic(PEOPLE)
        first.close()
        full = False
        with succeeding(first, BrokerSpec(host=HOST, port=censor.port), store=store, config=ONE_QUESTION) as second:
            settled(second)
    subscriber.catch_up()
    assert ids(subscriber.of(f"{PEOPLE}/late")) == ["old"]
    assert set(ids([message for message in subscriber.of(PEOPLE) if message.payload])) == {"new"}
    assert PEOPLE in retained(mosquitto.port)
    censor.close()


def test_answers_stay_retained_after_a_reload_that_was_rolled_back(
    mosquitto: Mosquitto, subscriber: Subscriber, store: MemoryStore
) -> None:
    spec = BrokerSpec(host=HOST, port=mosquitto.port)
    with publishing(mosquitto.port, store=store, config=ONE_QUESTION) as first:
        first.answers([an_answer("p")], [], None)
        settled(first)
        first.close()
        second = MqttPublisher(spec, "box", store)
        second.adopt(first.release())  # and its `follow` has failed
        with succeeding(second, spec, store=store, config=ONE_QUESTION) as third:
            settled(third)
            until(lambda: third.figures().published >= 2)
    subscriber.catch_up()
    assert set(ids(subscriber.of(PEOPLE))) == {"p"}


def test_a_look_that_is_on_disk_only_after_the_reload_is_sent_by_the_successor(
    mosquitto: Mosquitto, subscriber: Subscriber
) -> None:
    config, slow = asking(dock=["people"]), SlowStore()
    with publishing(free_port(), store=slow, config=config) as first:
        first.answers([an_answer("p1")], [an_event("e1")], b"jpeg")
        spec = BrokerSpec(host=HOST, port=mosquitto.port)
        with succeeding(first, spec, store=slow, config=config) as second:
            until(lambda: second.figures().connected)
            second.answers([an_answer("p2")], [], None)
            slow.finish()
            subscriber.wait_for_topic(EVENT)
            settled(second)
    subscriber.catch_up()
    assert [*ids(subscriber.of(f"{PEOPLE}/late")), *ids(subscriber.of(PEOPLE))] == ["p1", "p2"]
    assert ids(subscriber.of(EVENT)) == ["e1"]


def test_a_look_that_is_on_disk_while_the_queue_is_handed_over_is_newer_than_what_waited_before(
    mosquitto: Mosquitto, subscriber: Subscriber
) -> None:
    config, slow = asking(dock=["people"]), SlowStore()
    with publishing(free_port(), store=slow, config=config) as first:
        first.answers([an_answer("p1")], [an_event("e1")], None)
        slow.finish()
        first.answers([an_answer("p2")], [an_event("e2")], None)
        first.close()
        released = first.release()
        slow.finish()
        second = MqttPublisher(BrokerSpec(host=HOST, port=mosquitto.port), "box", slow)
        second.adopt(released)
        second.follow(config)
        second.start()
        second.online()
        until(lambda: len(subscriber.of(EVENT)) == 2)
        settled(second)
        second.close()
    subscriber.catch_up()
    assert (ids(subscriber.of(f"{PEOPLE}/late")), ids(subscriber.of(PEOPLE))) == (["p1"], ["p2"])
    assert ids(subscriber.of(EVENT)) == ["e1", "e2"]


def test_a_reload_without_an_outage_logs_none(mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture) -> None:
    with publishing(mosquitto.port) as first:
        until(lambda: first.figures().published >= 1)
        with succeeding(first, BrokerSpec(host=HOST, port=mosquitto.port, client_id="other")) as second:
            until(lambda: second.figures().connected)
    assert logged(caplog) == []
    assert [line.rpartition(": ")[2] for line in logged(caplog, "INFO")] == ["connected", "connected"]


def test_another_broker_has_outages_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    ports = free_port(), free_port()
    with publishing(ports[0]) as first:
        until(lambda: said(caplog, "connection refused"))
        with succeeding(first, BrokerSpec(host=HOST, port=ports[1])):
            until(lambda: said(caplog, "connection refused") == 2)
    assert logged(caplog) == [f"broker mqtt://{HOST}:{port}: connection refused; retrying" for port in ports]


def test_a_publisher_that_was_never_started_passes_on_what_it_adopted(caplog: pytest.LogCaptureFixture) -> None:
    """As when a reload fails after it has replaced the publisher."""
    spec = BrokerSpec(host=HOST, port=free_port())
    with publishing(spec.port) as first:
        until(lambda: said(caplog, "connection refused"))
        first.close()
        second = MqttPublisher(spec, "box")
        second.adopt(first.release())
        with succeeding(second, spec) as third:
            until(lambda: third.tried)
    assert said(caplog, "connection refused") == 1


def test_a_publisher_whose_thread_cannot_be_started_leaves_no_client_behind(
    mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its successor has the same client id: they would disconnect each other for ever."""
    start = threading.Thread.start

    def start_unless_publisher(thread: threading.Thread) -> None:
        if thread.name == "edged-publisher":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_unless_publisher)
    publisher = MqttPublisher(BrokerSpec(host=HOST, port=mosquitto.port), "starved")
    with pytest.raises(RuntimeError):
        publisher.start()
    assert publisher.close() is False
    until(lambda: not any(thread.name == "paho-mqtt-client-edged-starved" for thread in threading.enumerate()))


def test_a_new_password_that_is_wrong_too_is_logged_and_one_that_did_not_change_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Mosquitto(tmp_path, users={"box": "right"}) as broker:
        wrong = BrokerSpec(host=HOST, port=broker.port, username="box", password=Secret("wrong"))
        with publishing(broker.port, username="box", password=Secret("wrong")) as first:
            until(lambda: said(caplog, "wrong user or password"))
            with succeeding(first, replace(wrong, prefix="other")) as second:
                until(lambda: second.tried)
                assert said(caplog, "wrong user or password") == 1
                with succeeding(second, replace(wrong, password=Secret("wrong too"))) as third:
                    until(lambda: third.tried)
                    assert said(caplog, "wrong user or password") == 2
                    with succeeding(third, replace(wrong, password=Secret("right"))) as fourth:
                        until(lambda: fourth.figures().connected)
    assert len(logged(caplog)) == 2
    [end] = logged(caplog, "INFO")
    assert " connected after " in end


def test_a_topic_that_stays_refused_is_logged_again_only_for_another_login(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    censor = Censor(mosquitto.port, {PEOPLE: 0x87}.get)
    spec = BrokerSpec(host=HOST, port=censor.port)

    def refused(publisher: MqttPublisher) -> int:
        publisher.answers([an_answer("a")], [], None)
        until(lambda: publisher.figures().refused == 1)
        return said(caplog, f"topic {PEOPLE} refused: not authorised to publish")

    with publishing(censor.port) as first:
        assert refused(first) == 1
        with succeeding(first, replace(spec, client_id="other")) as second:
            assert refused(second) == 1
            with succeeding(second, replace(spec, **NEW_LOGIN)) as third:
                assert refused(third) == 2
    censor.close()


def test_a_subscription_that_stays_refused_is_logged_again_only_for_another_login(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Brokers without such rights are not at hand: mosquitto grants every subscription."""
    known = KnownBroker(BrokerSpec(), "box", "instance")
    spec = BrokerSpec()
    for changed in (replace(spec, client_id="other"), replace(spec, client_id="third"), replace(spec, **NEW_LOGIN)):
        known.refused.subscription("edged/#", "not authorised")
        assert known.follow(changed, "box")
    assert said(caplog, "subscription to edged/# refused: not authorised") == 1
    known.refused.subscription("edged/#", "not authorised")
    assert said(caplog, "subscription to edged/# refused: not authorised") == 2


def test_what_was_refused_for_now_before_a_reload_is_over_once_the_successor_delivers_it(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    full = True
    censor = Censor(mosquitto.port, lambda topic: 0x97 if full else None)
    with publishing(censor.port) as first:
        first.answers([an_answer("a")], [], None)
        until(lambda: said(caplog, "temporarily refused"))
        with succeeding(first, BrokerSpec(host=HOST, port=censor.port, client_id="other")) as second:
            until(lambda: second.figures().connected)
            full = False
            until(lambda: said(caplog, "accepts all messages again", "INFO"))
    assert said(caplog, "temporarily refused") == 1
    censor.close()


def test_another_client_with_the_same_id_is_logged_again_only_for_another_id(caplog: pytest.LogCaptureFixture) -> None:
    connects: list[bytes] = []

    def taken_over(_number: int, connect: bytes) -> bytes:
        connects.append(connect)
        return CONNACK_V5 + b"\xe0\x02\x8e\x00"  # DISCONNECT: session taken over

    with scripted_broker(taken_over) as port, publishing(port) as first:
        spec = BrokerSpec(host=HOST, port=port)
        until(lambda: said(caplog, "another client connected"))
        with succeeding(first, replace(spec, prefix="other")) as second:
            seen = len(connects)
            until(lambda: len(connects) >= seen + 2)  # the first one was disconnected before the second
            assert said(caplog, "another client connected") == 1
            with succeeding(second, replace(spec, client_id="other")):
                until(lambda: said(caplog, 'another client connected with the client id "other"') == 1)


@pytest.mark.slow
def test_connections_that_end_at_once_are_one_outage_over_a_reload(caplog: pytest.LogCaptureFixture) -> None:
    connects: list[bytes] = []

    def ended(_number: int, connect: bytes) -> bytes:
        connects.append(connect)
        return CONNACK_V5 + b"\xe0\x02\x8b\x00"  # DISCONNECT: server shutting down

    with scripted_broker(ended) as port, publishing(port) as first:
        until(lambda: first.figures().reconnects >= 3 and not first.figures().connected)  # else "offline" is sent
        lines = len(caplog.records)
        with succeeding(first, BrokerSpec(host=HOST, port=port, prefix="other")):
            seen = len(connects)
            until(lambda: len(connects) >= seen + 2)
            assert [record.getMessage() for record in caplog.records[lines:]] == []


def test_a_broker_that_has_spoken_mqtt_5_before_a_reload_is_not_taken_for_an_old_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "CONNACK_S", 0.3)
    levels: list[int] = []

    def stalled(number: int, connect: bytes) -> bytes:
        levels.append(protocol_level(connect))
        return CONNACK_V5 if number == 0 else b""

    with scripted_broker(stalled) as port, publishing(port) as first:
        until(lambda: first.figures().connected)
        with succeeding(first, BrokerSpec(host=HOST, port=port, client_id="other")):
            until(lambda: len(levels) >= 3)
    assert levels[:3] == [5, 5, 5]
