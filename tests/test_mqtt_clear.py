"""Retained messages of removed questions and cameras are cleared, also with messages in flight and over an outage."""

# ruff: noqa: F401, F811  # fixtures are imported, and then named as arguments

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from support.broker import (
    HOST,
    Mosquitto,
    Subscriber,
    Wire,
    an_answer,
    other_broker,
    protocol_level,
    until,
    wire,
)
from support.publishing import (
    GATE,
    PEOPLE,
    SINCE,
    STATE,
    WHOLE,
    asking,
    disconnected,
    ids,
    online_again,
    publisher,
    publishing,
    retained,
    settled,
    store,
)
from support.slow_store import SlowStore

from edged.core.memory_store import MemoryStore
from edged.core.specs import BrokerSpec, Config
from edged.core.types import CameraState, Fact
from edged.mqtt import publisher as publisher_module
from edged.mqtt.publisher import MqttPublisher

BACK = "edged/box/back/people"


def test_a_clearing_removes_the_answers_of_its_questions_or_the_whole_camera(
    mosquitto: Mosquitto,
) -> None:
    with publishing(mosquitto.port, config=asking(dock=["people", "gate_open"])) as publisher:
        publisher.camera("dock", CameraState(True, None, SINCE))
        publisher.answers([an_answer("p"), an_answer("g", question="gate_open")], [], b"jpeg")
        publisher.follow(asking(dock=["gate_open"]))
        publisher.info({"last": True})
        until(lambda: publisher.figures().published >= 7)
        assert retained(mosquitto.port) == {
            STATE,
            GATE,
            "edged/box/bridge/info",
            "edged/box/dock/availability",
            "edged/box/dock/image/jpeg",
        }
        publisher.follow(asking())
        until(lambda: publisher.figures().published >= 12)  # the question that left before is cleared again
        assert retained(mosquitto.port) == {STATE, "edged/box/bridge/info"}


def test_a_broker_that_forgot_a_clearing_gets_it_again_at_the_next_connect(
    publisher: MqttPublisher, subscriber: Subscriber, mosquitto: Mosquitto, wire: Wire
) -> None:
    """As mosquitto does that was killed: it writes its retained messages to disk every 30 minutes."""
    publisher.follow(asking(dock=["people"]))
    publisher.camera("dock", CameraState(True, None, SINCE))
    publisher.answers([an_answer("p")], [], b"jpeg")
    until(lambda: publisher.figures().published >= 4)
    publisher.follow(asking())
    until(lambda: publisher.figures().published >= 8)
    assert retained(mosquitto.port) == {STATE}
    wire.cut()
    disconnected(publisher)
    restored(subscriber)
    wire.mend()
    until(lambda: retained(mosquitto.port) == {STATE})


def test_a_broker_that_forgot_a_clearing_gets_it_again_from_an_edged_that_was_restarted(
    mosquitto: Mosquitto, subscriber: Subscriber, store: MemoryStore
) -> None:
    with publishing(mosquitto.port, store=store, config=asking(dock=["people"])) as publisher:
        publisher.answers([an_answer("p")], [], b"jpeg")
        until(lambda: publisher.figures().published >= 3)
        publisher.follow(asking())
        until(lambda: publisher.figures().published >= 7)
    restored(subscriber)
    with publishing(mosquitto.port, store=store, config=asking()):
        until(lambda: retained(mosquitto.port) == {STATE})


def test_a_store_that_is_read_late_has_its_removed_cameras_cleared_too(
    mosquitto: Mosquitto, subscriber: Subscriber, store: MemoryStore
) -> None:
    """As after a restart with a disk that cannot be read at first."""
    subscriber.publish(PEOPLE, b"old", retain=True)
    with publishing(mosquitto.port, store=store, config=asking(back=["people"])) as publisher:
        until(lambda: publisher.figures().published >= 1)
        store.remember([Fact(f"retained {HOST}:{mosquitto.port}", topic, True) for topic in (PEOPLE, BACK)])
        publisher.answers([an_answer("b1", "back")], [], None)
        until(lambda: retained(mosquitto.port) == {STATE, BACK})


class WatchedStore(MemoryStore):
    """Once `watched`, `remember` returns only after the sending thread has read the topics, as it does every second."""

    def __init__(self) -> None:
        super().__init__()
        self.watched = False
        self._reads = threading.Semaphore(0)

    def facts(self, kind: str) -> dict[str, Any]:
        if threading.current_thread().name == "edged-publisher":
            self._reads.release()
        return super().facts(kind)

    def remember(self, facts: Sequence[Fact]) -> None:
        super().remember(facts)
        if self.watched and any(fact.name == BACK for fact in facts):
            self._reads = reads = threading.Semaphore(0)
            for _ in range(2):  # what follows the first has ended then
                assert reads.acquire(timeout=10)


def test_a_new_camera_keeps_its_state_whenever_the_topics_of_the_store_are_read(
    mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher_module, "TICK_S", 0.02)
    store = WatchedStore()
    with publishing(mosquitto.port, store=store, config=asking()) as publisher:
        until(lambda: publisher.figures().published >= 1)
        publisher.camera("back", CameraState(True, None, SINCE))
        store.watched = True
        publisher.follow(asking(back=["people"]))
        publisher.info({"last": True})
        until(lambda: "edged/box/bridge/info" in retained(mosquitto.port))
        assert "edged/box/back/availability" in retained(mosquitto.port)


def restored(broker: Subscriber) -> None:
    """It has again what was retained before the clearing."""
    for topic in ("availability", "people", "image/jpeg"):
        broker.publish(f"edged/box/dock/{topic}", b"old", retain=True)
    broker.forget()


class V311Wire(Wire):
    """A broker that knows only MQTT 3.1.1, and closes a connection with MQTT 5."""

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        if protocol_level(near.recv(4096, socket.MSG_PEEK)) == 5:
            near.close()
            far.close()
        else:
            super()._carry(near, far)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Wire, V311Wire])
def test_nothing_of_a_removed_camera_is_retained_with_messages_in_flight(
    mosquitto: Mosquitto, subscriber: Subscriber, kind: type[Wire]
) -> None:
    wire = kind(mosquitto.port)
    with publishing(wire.port, config=WHOLE) as publisher:
        publisher.camera("dock", CameraState(True, None, SINCE))
        publisher.answers([an_answer("p1")], [], b"jpeg 1")
        until(lambda: publisher.figures().published >= 4)
        wire.deaf.set()
        publisher.answers([an_answer("p2"), an_answer("g2", question="gate_open")], [], b"jpeg 2")
        subscriber.wait_for_topic(GATE)
        publisher.follow(asking(back=["people"]))
        wire.cut()
        disconnected(publisher)
        publisher.answers([an_answer("b1", "back")], [], None)
        wire.mend()
        settled(publisher)
        subscriber.catch_up()
        assert retained(mosquitto.port) == {STATE, "edged/box/back/people"}
        *before, cleared, again = subscriber.of(PEOPLE)
        first = [message for message in before if message.payload][-1]  # the clearing may have been sent before the cut
        assert cleared.payload == b""
        assert (again.payload, again.retain) == (first.payload, False)  # it may not have arrived, so it is sent again
        wire.cut()
        disconnected(publisher)
        wire.mend()
        settled(publisher)
        assert retained(mosquitto.port) == {STATE, "edged/box/back/people"}
    wire.cut()


def test_a_waiting_picture_of_a_removed_camera_is_never_published(mosquitto: Mosquitto, subscriber: Subscriber) -> None:
    publisher = MqttPublisher(BrokerSpec(host=HOST, port=mosquitto.port), "box")
    publisher.follow(asking(dock=["people"]))
    publisher.camera("dock", CameraState(True, None, SINCE))
    publisher.answers([an_answer("p1")], [], b"jpeg 1")
    publisher.follow(asking())
    publisher.start()
    publisher.online()
    subscriber.wait_for_topic("edged/box/dock/image/jpeg")
    assert publisher.close() is True
    assert retained(mosquitto.port) == {STATE}
    assert [message.payload for message in subscriber.messages if message.retain and message.topic != STATE] == [
        b""
    ] * 4


def test_a_camera_that_is_added_again_publishes_again(
    publisher: MqttPublisher, mosquitto: Mosquitto, subscriber: Subscriber
) -> None:
    publisher.follow(WHOLE)
    for number in (1, 2):
        publisher.camera("dock", CameraState(True, None, SINCE))
        publisher.answers([an_answer(f"p{number}")], [], f"jpeg {number}".encode())
        if number == 1:
            publisher.follow(asking())
            publisher.follow(asking(dock=["people"]))
    settled(publisher)
    publisher.close()
    after = Subscriber(mosquitto.port)
    assert ids(after.wait_for_topic(PEOPLE)) == ["p2"]
    assert [message.payload for message in after.of("edged/box/dock/image/jpeg")] == [b"jpeg 2"]
    assert after.of("edged/box/dock/availability")[0].json["state"] == "online"
    after.close()


@pytest.mark.slow
def test_a_clearing_waits_for_the_broker(
    publisher: MqttPublisher,
    mosquitto: Mosquitto,
    subscriber: Subscriber,
    wire: Wire,
) -> None:
    publisher.follow(WHOLE)
    publisher.answers([an_answer("p1")], [], None)
    subscriber.wait_for_topic(PEOPLE)
    settled(publisher)
    wire.cut()
    disconnected(publisher)
    publisher.answers([an_answer("p2")], [], None)
    publisher.follow(asking(dock=["gate_open"]))
    subscriber.forget()
    wire.mend()
    assert ids(subscriber.wait_for_topic(f"{PEOPLE}/late")) == ["p2"]
    assert [message.payload for message in subscriber.of(PEOPLE)] == [b""]
    assert PEOPLE not in retained(mosquitto.port)


def test_a_clearing_not_acknowledged_is_sent_by_the_next_publisher_of_the_same_broker(
    publisher: MqttPublisher, mosquitto: Mosquitto, subscriber: Subscriber, wire: Wire, store: MemoryStore
) -> None:
    publisher.follow(WHOLE)
    publisher.camera("dock", CameraState(True, None, SINCE))
    publisher.camera("yard", CameraState(True, None, SINCE))
    publisher.answers([an_answer("p1"), an_answer("g1", question="gate_open")], [], b"jpeg")
    publisher.info({"node": "box"})
    settled(publisher)
    subscriber.wait_for_topic("edged/box/bridge/info")
    subscriber.wait_for_topic("edged/box/dock/image/jpeg")
    wire.cut()
    disconnected(publisher)
    publisher.withdraw(asking("box2"))
    publisher.close()
    # the first successor has no connection either
    first, second = (MqttPublisher(BrokerSpec(host=HOST, port=wire.port), "box2", store) for _ in range(2))
    first.follow(asking("box2"))
    second.follow(asking("box2"))
    first.adopt(publisher.release())
    first.close()
    second.adopt(first.release())
    wire.mend()
    second.start()
    second.online()
    settled(second)
    second.close()
    assert retained(mosquitto.port) == {"edged/box2/bridge/state"}


def test_a_camera_that_is_added_again_is_not_cleared_by_the_next_publisher(
    publisher: MqttPublisher, mosquitto: Mosquitto, wire: Wire, store: MemoryStore
) -> None:
    publisher.follow(WHOLE)
    wire.cut()
    disconnected(publisher)
    publisher.follow(asking())
    publisher.close()
    successor = MqttPublisher(BrokerSpec(host=HOST, port=wire.port), "box", store)
    successor.follow(asking(dock=["people"]))
    successor.camera("dock", CameraState(True, None, SINCE))
    successor.answers([an_answer("p1")], [], b"jpeg")
    successor.adopt(publisher.release())
    wire.mend()
    successor.start()
    successor.online()
    settled(successor)
    successor.close()
    topics = {"availability", "people", "image/jpeg"}
    assert retained(mosquitto.port) == {STATE, *(f"edged/box/dock/{topic}" for topic in topics)}


def test_clearings_are_not_sent_to_another_broker(
    publisher: MqttPublisher, other_broker: Mosquitto, wire: Wire, store: MemoryStore
) -> None:
    publisher.follow(WHOLE)
    following = Subscriber(other_broker.port)
    wire.cut()
    disconnected(publisher)
    publisher.follow(asking())
    publisher.close()
    successor = MqttPublisher(BrokerSpec(host=HOST, port=other_broker.port), "box", store)
    successor.follow(asking())
    successor.adopt(publisher.release())
    successor.start()
    successor.online()
    settled(successor)
    successor.close()
    following.wait_for_topic(STATE, 2)
    assert {message.topic for message in following.messages} == {STATE}
    following.close()


def test_a_question_that_is_asked_again_is_not_cleared(
    publisher: MqttPublisher, subscriber: Subscriber, wire: Wire
) -> None:
    publisher.follow(WHOLE)
    wire.cut()
    disconnected(publisher)
    publisher.follow(asking(dock=["gate_open"]))
    publisher.follow(asking(dock=["people", "gate_open"]))
    publisher.answers([an_answer("p1")], [], None)
    wire.mend()
    assert ids(subscriber.wait_for_topic(PEOPLE)) == ["p1"]
    subscriber.wait_for(online_again)
    assert len(subscriber.of(PEOPLE)) == 1


@pytest.mark.parametrize("kind", [Wire, V311Wire])
def test_an_answer_that_expires_is_cleared_so_that_nobody_keeps_it(
    mosquitto: Mosquitto, subscriber: Subscriber, kind: type[Wire]
) -> None:
    wire = kind(mosquitto.port)
    with publishing(wire.port, config=asking(dock=["people", "gate_open"])) as publisher:
        publisher.answers([an_answer("short", expires_s=1.0), an_answer("long", question="gate_open")], [], None)
        answer, cleared = subscriber.wait_for_topic(PEOPLE, 2)
        assert answer.json["id"] == "short"
        assert (cleared.payload, cleared.retain) == (b"", True)
        publisher.answers([an_answer("next")], [], None)
        assert subscriber.wait_for_topic(PEOPLE, 3)[2].json["id"] == "next"
        assert len(subscriber.of(GATE)) == 1
    wire.cut()


def test_an_answer_that_expired_while_the_broker_was_away_is_cleared_before_edged_is_online_again(
    publisher: MqttPublisher, wire: Wire, subscriber: Subscriber
) -> None:
    publisher.answers([an_answer("a", expires_s=2.0)], [], None)
    until(lambda: publisher.figures().published >= 2)
    subscriber.wait_for_topic(PEOPLE)
    wire.cut()
    disconnected(publisher)
    subscriber.forget()
    expired = time.monotonic() + 2.0
    until(lambda: time.monotonic() > expired)
    wire.mend()
    messages = subscriber.wait_for(online_again)
    assert [(message.topic, message.payload) for message in messages if message.topic == PEOPLE] == [(PEOPLE, b"")]


def test_a_question_without_an_answer_in_the_store_is_cleared_before_edged_is_online(
    mosquitto: Mosquitto, subscriber: Subscriber, store: MemoryStore
) -> None:
    config = asking(image=False, dock=["people", "gate_open"])
    with publishing(mosquitto.port, store=store, config=config) as publisher:
        publisher.answers([an_answer("a")], [], None)
        settled(publisher)
    subscriber.catch_up()
    subscriber.forget()
    with publishing(mosquitto.port, store=store, config=config) as publisher:
        messages = subscriber.wait_for(online_again)
        assert [(message.topic, message.payload) for message in messages[:2]] == [(GATE, b""), (PEOPLE, b"")]
        publisher.follow(asking(image=False))  # they are still known, although they were cleared
    subscriber.catch_up()
    assert [message.payload for message in subscriber.of(PEOPLE)] == [b"", b""]


PICTURE = "edged/box/dock/image/jpeg"
TRIANGLE = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5))


@pytest.mark.parametrize("kind", [Wire, V311Wire])
def test_a_picture_that_expires_is_cleared_so_that_nobody_keeps_it(
    mosquitto: Mosquitto, subscriber: Subscriber, kind: type[Wire]
) -> None:
    wire = kind(mosquitto.port)
    with publishing(wire.port, config=asking(dock=["people"])) as publisher:
        publisher.answers([an_answer("short", expires_s=1.0)], [], b"jpeg 1")
        picture, cleared = subscriber.wait_for_topic(PICTURE, 2)
        assert picture.payload == b"jpeg 1"
        assert (cleared.payload, cleared.retain) == (b"", True)
        until(lambda: PICTURE not in retained(mosquitto.port))
        publisher.answers([an_answer("next")], [], b"jpeg 2")
        assert subscriber.wait_for_topic(PICTURE, 3)[2].payload == b"jpeg 2"
        settled(publisher)
        assert PICTURE in retained(mosquitto.port)
    wire.cut()


def test_the_picture_of_an_earlier_process_stays_until_it_expires(
    mosquitto: Mosquitto, subscriber: Subscriber, store: MemoryStore
) -> None:
    config = asking(dock=["people"])
    with publishing(mosquitto.port, store=store, config=config) as publisher:
        publisher.answers([an_answer("a", expires_s=6.0)], [], b"jpeg 1")
        subscriber.wait_for_topic(PICTURE)
    with publishing(mosquitto.port, store=store, config=config):
        subscriber.wait_for(online_again)
        assert PICTURE in retained(mosquitto.port)
        assert subscriber.wait_for_topic(PICTURE, 2)[1].payload == b""


@pytest.mark.parametrize("restarted", [True, False])
def test_a_picture_is_cleared_when_its_camera_has_got_a_mask(
    mosquitto: Mosquitto, subscriber: Subscriber, store: MemoryStore, restarted: bool
) -> None:
    config = asking(dock=["people"])
    masked = masking(config)
    with publishing(mosquitto.port, store=store, config=config) as publisher:
        publisher.answers([an_answer("a")], [], b"jpeg 1")
        subscriber.wait_for_topic(PICTURE)
        if not restarted:
            publisher.follow(masked)
            assert subscriber.wait_for_topic(PICTURE, 2)[1].payload == b""
    with publishing(mosquitto.port, store=store, config=masked) as publisher:
        assert subscriber.wait_for_topic(PICTURE, 2)[1].payload == b""
        publisher.answers([an_answer("b")], [], b"jpeg 2")
        until(lambda: subscriber.of(PICTURE)[-1].payload == b"jpeg 2")
        publisher.follow(masked)
        settled(publisher)
        assert PICTURE in retained(mosquitto.port)


def masking(config: Config) -> Config:
    return replace(config, cameras=tuple(replace(spec, mask=(TRIANGLE,)) for spec in config.cameras))


@contextmanager
def masked_while_away(
    wire: Wire, subscriber: Subscriber, store: MemoryStore, config: Config
) -> Iterator[MqttPublisher]:
    """A picture is retained, then the broker is cut off, and the camera gets a mask."""
    with publishing(wire.port, store=store, config=config) as publisher:
        publisher.answers([an_answer("a", expires_s=600.0)], [], b"jpeg 1")
        subscriber.wait_for_topic(PICTURE)
        settled(publisher)
        wire.cut()
        disconnected(publisher)
        publisher.follow(masking(config))
        yield publisher


@pytest.mark.parametrize("looked", [False, True])
def test_a_picture_without_the_mask_is_cleared_if_edged_is_restarted_before_the_broker_is_back(
    mosquitto: Mosquitto, wire: Wire, subscriber: Subscriber, store: MemoryStore, looked: bool
) -> None:
    config = asking(dock=["people"])
    with masked_while_away(wire, subscriber, store, config) as publisher:
        if looked:  # its picture is lost with the process
            publisher.answers([an_answer("b", expires_s=600.0)], [], b"jpeg 2")
    wire.mend()
    with publishing(wire.port, store=store, config=masking(config)) as publisher:
        assert subscriber.wait_for_topic(PICTURE, 2)[1].payload == b""
        publisher.answers([an_answer("c", expires_s=600.0)], [], b"jpeg 3")
        subscriber.wait_for_topic(PICTURE, 3)
        settled(publisher)
    with publishing(wire.port, store=store, config=masking(config)) as publisher:
        until(lambda: publisher.figures().connected)
    subscriber.catch_up()
    assert [message.payload for message in subscriber.of(PICTURE)] == [b"jpeg 1", b"", b"jpeg 3"]


def test_a_picture_with_the_mask_that_replaced_the_one_without_stays_over_a_restart(
    mosquitto: Mosquitto, wire: Wire, subscriber: Subscriber, store: MemoryStore
) -> None:
    config = asking(dock=["people"])
    with masked_while_away(wire, subscriber, store, config) as publisher:
        publisher.answers([an_answer("b", expires_s=600.0)], [], b"jpeg 2")
        wire.mend()
        until(lambda: subscriber.of(PICTURE)[-1].payload == b"jpeg 2", 40.0)
        settled(publisher)
    with publishing(wire.port, store=store, config=masking(config)) as publisher:
        until(lambda: publisher.figures().connected)
    subscriber.catch_up()
    assert subscriber.of(PICTURE)[-1].payload == b"jpeg 2"


def test_a_picture_without_the_mask_is_cleared_by_the_publisher_of_a_new_login(
    mosquitto: Mosquitto, wire: Wire, subscriber: Subscriber, store: MemoryStore
) -> None:
    config = asking(dock=["people"])
    with masked_while_away(wire, subscriber, store, config) as before:
        pass
    wire.mend()
    successor = MqttPublisher(BrokerSpec(host=HOST, port=wire.port), "box", store)
    successor.adopt(before.release())
    successor.follow(masking(config))
    successor.start()
    successor.online()
    assert [message.payload for message in subscriber.wait_for_topic(PICTURE, 2)] == [b"jpeg 1", b""]
    successor.close()


def test_a_picture_without_the_mask_is_not_sent_if_its_look_is_stored_only_after_the_reload(
    mosquitto: Mosquitto, subscriber: Subscriber
) -> None:
    config, slow = asking(dock=["people"]), SlowStore()
    with publishing(mosquitto.port, store=slow, config=config) as publisher:
        subscriber.wait_for(online_again)
        publisher.answers([an_answer("a", expires_s=600.0)], [], b"jpeg 1")
        publisher.follow(masking(config))
        slow.finish()
        publisher.answers([an_answer("b", expires_s=600.0)], [], b"jpeg 2")
        slow.finish()
        subscriber.wait_for_topic(PICTURE)
        settled(publisher)
    subscriber.catch_up()
    assert ids(subscriber.of(PEOPLE)) == ["a", "b"]
    assert [message.payload for message in subscriber.of(PICTURE)] == [b"jpeg 2"]


def test_a_look_before_the_new_publisher_knows_the_config_keeps_its_picture(
    mosquitto: Mosquitto, subscriber: Subscriber, store: MemoryStore
) -> None:
    config = asking(dock=["people"])
    with publishing(mosquitto.port, store=store, config=config) as before:
        before.answers([an_answer("a", expires_s=600.0)], [], b"jpeg 1", (), config.cameras[0].pictures_digest)
        subscriber.wait_for_topic(PICTURE)
    successor = MqttPublisher(BrokerSpec(host=HOST, port=mosquitto.port), "box", store)
    successor.adopt(before.release())
    successor.answers([an_answer("b", expires_s=600.0)], [], b"jpeg 2", (), config.cameras[0].pictures_digest)
    successor.follow(config)
    successor.start()
    successor.online()
    assert [message.payload for message in subscriber.wait_for_topic(PICTURE, 2)] == [b"jpeg 1", b"jpeg 2"]
    settled(successor)
    successor.close()
    assert PICTURE in retained(mosquitto.port)


def test_a_look_with_a_picture_is_one_transaction(
    mosquitto: Mosquitto, subscriber: Subscriber, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    remembered: list[Fact] = []
    config = asking(dock=["people"])
    with publishing(mosquitto.port, store=store, config=config) as publisher:
        subscriber.wait_for(online_again)
        monkeypatch.setattr(publisher._store, "write", lambda messages, facts, then: then(True))
        monkeypatch.setattr(publisher._store, "remember", remembered.extend)
        publisher.answers([an_answer("a")], [], b"jpeg")
        subscriber.wait_for_topic(PICTURE)
        until(lambda: publisher.figures().published >= 3)
    assert remembered == []


def test_a_clock_that_was_set_back_does_not_keep_the_picture_of_an_earlier_process(
    mosquitto: Mosquitto, subscriber: Subscriber, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = asking(dock=["people"])
    with publishing(mosquitto.port, store=store, config=config) as publisher:
        publisher.answers([an_answer("a", expires_s=2.0)], [], b"jpeg 1")
        subscriber.wait_for_topic(PICTURE)
    now = time.time
    monkeypatch.setattr("edged.mqtt.publisher.time.time", lambda: now() - 86_400.0)
    with publishing(mosquitto.port, store=store, config=config):
        assert subscriber.wait_for_topic(PICTURE, 2)[1].payload == b""


@pytest.mark.parametrize("kind", [Wire, V311Wire])
def test_the_expired_picture_of_an_earlier_process_is_cleared_before_edged_is_online(
    mosquitto: Mosquitto, subscriber: Subscriber, store: MemoryStore, kind: type[Wire]
) -> None:
    wire = kind(mosquitto.port)
    config = asking(dock=["people"])
    with publishing(wire.port, store=store, config=config) as publisher:
        publisher.answers([an_answer("a", expires_s=0.5)], [], b"jpeg 1")
        subscriber.wait_for_topic(PICTURE)
    threading.Event().wait(0.5)
    subscriber.catch_up()
    subscriber.forget()
    with publishing(wire.port, store=store, config=config) as publisher:
        messages = subscriber.wait_for(online_again)
        assert [message.payload for message in messages if message.topic == PICTURE] == [b""]
        publisher.answers([an_answer("b")], [], b"jpeg 2")
        assert subscriber.wait_for_topic(PICTURE, 2)[1].payload == b"jpeg 2"
        publisher.follow(config)
    subscriber.catch_up()
    assert len(subscriber.of(PICTURE)) == 2
    assert PICTURE in retained(mosquitto.port)
    wire.cut()


def test_a_picture_stays_over_a_reload_of_the_login_and_is_cleared_when_it_expires(
    mosquitto: Mosquitto, subscriber: Subscriber, store: MemoryStore
) -> None:
    config = asking(dock=["people"], yard=["people"])
    with publishing(mosquitto.port, store=store, config=config) as before:
        before.answers([an_answer("a", expires_s=4.0)], [], b"jpeg 1")
        before.answers([an_answer("b", "yard")], [], b"jpeg 2")
        subscriber.wait_for_topic("edged/box/yard/image/jpeg")
    subscriber.catch_up()
    successor = MqttPublisher(BrokerSpec(host=HOST, port=mosquitto.port), "box", store)
    successor.adopt(before.release())
    successor.follow(config)
    successor.start()
    successor.online()
    assert [message.payload for message in subscriber.wait_for_topic(PICTURE, 2)] == [b"jpeg 1", b""]
    successor.close()
    subscriber.catch_up()
    assert [message.payload for message in subscriber.of("edged/box/yard/image/jpeg")] == [b"jpeg 2"]
