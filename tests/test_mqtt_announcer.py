"""What is sent to Home Assistant, when, and what is taken back: at a real broker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import pytest
from support.broker import HOST, Mosquitto, Received, Subscriber, an_answer, until
from support.making import question
from support.publishing import OFFLINE, ONLINE, PEOPLE, SINCE, STATE, asking, retained, store

from edged.core.answer_types import YesNo
from edged.core.memory_store import MemoryStore
from edged.core.specs import BrokerSpec, Config, HomeAssistantSpec
from edged.core.types import CameraState
from edged.mqtt import announcer
from edged.mqtt.publisher import MqttPublisher

__all__ = ["store"]  # a fixture
BOX = "homeassistant/device/edged_box/config"
DOCK = "homeassistant/device/edged_box_dock/config"
YARD = "homeassistant/device/edged_box_yard/config"
FIXED = {"event", "look", "active", "availability"}


def told(config: Config, **more: Any) -> Config:
    return replace(config, homeassistant=HomeAssistantSpec(**more))


BOTH = told(asking(image=False, dock=["people", "gate_open"], yard=["people"]))
DOCK_ONLY = told(asking(image=False, dock=["people"]))


@contextmanager
def announcing(broker: Mosquitto, config: Config, store: MemoryStore, node: str = "box") -> Iterator[MqttPublisher]:
    publisher = MqttPublisher(BrokerSpec(host=HOST, port=broker.port), node, store, version="1.2.3")
    publisher.follow(config)
    publisher.start()
    publisher.online()
    try:
        yield publisher
    finally:
        assert publisher.close() is True


def components(message: Received) -> dict[str, Any]:
    read: dict[str, Any] = message.json["components"]
    return read


def platforms(message: Received) -> dict[str, str]:
    """Of the components that are nothing but a platform."""
    return {key: each["platform"] for key, each in components(message).items() if len(each) == 1}


def acknowledged(publisher: MqttPublisher, store: MemoryStore, *topics: str) -> Callable[[], bool]:
    """True once the store says that exactly these topics have what the config wants."""

    def check() -> bool:
        [kind] = [kind for kind in kinds(store) if kind.startswith("discovery")] or ["discovery"]
        facts = store.facts(kind)
        return set(facts) == set(topics) and all(fact["rev"] for fact in facts.values())

    return check


def kinds(store: MemoryStore) -> set[str]:
    return set(store._facts)


def test_the_box_and_its_cameras_are_announced_before_edged_is_online(
    mosquitto: Mosquitto, subscriber: Subscriber, store: MemoryStore
):
    with announcing(mosquitto, BOTH, store):
        subscriber.wait_for_topic(STATE)
        topics = [message.topic for message in subscriber.messages]
        assert topics[:3] == [BOX, DOCK, YARD]
        assert topics[-1] == STATE
        [dock] = subscriber.of(DOCK)
        assert (dock.retain, dock.expires_s, dock.content_type) == (True, None, "application/json")
        assert components(dock).keys() == {"people", "gate_open"} | FIXED
        assert dock.json["device"]["sw_version"] == "1.2.3"
    assert {BOX, DOCK, YARD} <= retained(mosquitto.port)  # a box that is off is unavailable, not gone


def test_a_question_that_left_the_config_is_reduced_to_its_platform_and_then_left_out(
    mosquitto: Mosquitto, subscriber: Subscriber, store: MemoryStore
):
    with announcing(mosquitto, BOTH, store) as publisher:
        until(acknowledged(publisher, store, BOX, DOCK, YARD))
        publisher.follow(told(asking(image=False, dock=["people"], yard=["people"])))
        _, reduced, without = subscriber.wait_for_topic(DOCK, 3)
        assert platforms(reduced) == {"gate_open": "sensor"}
        assert components(reduced).keys() == {"people", "gate_open"} | FIXED
        assert components(without).keys() == {"people"} | FIXED
        assert (reduced.retain, without.retain) == (True, True)
        assert len(subscriber.of(YARD)) == len(subscriber.of(BOX)) == 1  # these have not changed


def test_a_question_whose_answer_has_another_platform_is_removed_before_it_is_added_again(
    mosquitto: Mosquitto, subscriber: Subscriber, store: MemoryStore
):
    [dock] = DOCK_ONLY.cameras
    with announcing(mosquitto, DOCK_ONLY, store) as publisher:
        until(acknowledged(publisher, store, BOX, DOCK))
        asked = (question("Anyone?", YesNo(), "people"),)
        publisher.follow(replace(DOCK_ONLY, cameras=(replace(dock, questions=asked),)))
        _, reduced, again = subscriber.wait_for_topic(DOCK, 3)
        assert platforms(reduced) == {"people": "sensor"}
        assert components(again)["people"]["platform"] == "binary_sensor"


def test_a_camera_that_left_the_config_is_removed(mosquitto: Mosquitto, subscriber: Subscriber, store: MemoryStore):
    with announcing(mosquitto, BOTH, store) as publisher:
        until(acknowledged(publisher, store, BOX, DOCK, YARD))
        publisher.follow(DOCK_ONLY)
        _, removed = subscriber.wait_for_topic(YARD, 2)
        assert (removed.payload, removed.retain) == (b"", True)
        until(acknowledged(publisher, store, BOX, DOCK))


def test_what_left_the_config_while_edged_was_off_is_removed_at_the_next_start(
    mosquitto: Mosquitto, subscriber: Subscriber, store: MemoryStore
):
    with announcing(mosquitto, BOTH, store) as publisher:
        until(acknowledged(publisher, store, BOX, DOCK, YARD))
    subscriber.catch_up()
    subscriber.forget()
    with announcing(mosquitto, DOCK_ONLY, store) as publisher:
        reduced, without = subscriber.wait_for_topic(DOCK, 2)
        assert platforms(reduced) == {"gate_open": "sensor"}
        assert components(without).keys() == {"people"} | FIXED
        assert [message.payload for message in subscriber.wait_for_topic(YARD)] == [b""]
        until(acknowledged(publisher, store, BOX, DOCK))


def test_what_may_not_have_arrived_is_removed_all_the_same(
    mosquitto: Mosquitto, subscriber: Subscriber, store: MemoryStore
):
    mosquitto.kill()
    away = MqttPublisher(BrokerSpec(host=HOST, port=mosquitto.port), "box", store)
    away.follow(BOTH)  # as if edged were killed after it was sent and before it was acknowledged
    mosquitto.start()
    with announcing(mosquitto, DOCK_ONLY, store):
        fresh = Subscriber(mosquitto.port)
        fresh.wait_for(lambda messages: any(m.topic == STATE and m.json == ONLINE for m in messages))
        fresh.close()
        assert {BOX, DOCK} <= retained(mosquitto.port)
        assert YARD not in retained(mosquitto.port)


@pytest.mark.parametrize("off", [True, False], ids=["while edged is off", "while it runs"])
@pytest.mark.parametrize("after", [None, HomeAssistantSpec("other")], ids=["off", "prefix"])
def test_nothing_of_the_old_prefix_remains_when_it_is_changed_or_switched_off(
    mosquitto: Mosquitto, store: MemoryStore, after: HomeAssistantSpec | None, off: bool
):
    config = replace(BOTH, homeassistant=after)
    with announcing(mosquitto, BOTH, store) as publisher:
        until(acknowledged(publisher, store, BOX, DOCK, YARD))
        if not off:
            publisher.follow(config)
    if off:
        with announcing(mosquitto, config, store) as publisher:
            until(lambda: publisher.figures().connected)
    found = {topic for topic in retained(mosquitto.port) if "/device/" in topic}
    assert found == ({f"other{topic.removeprefix('homeassistant')}" for topic in (BOX, DOCK, YARD)} if after else set())


def test_a_node_that_leaves_takes_its_devices_with_it(mosquitto: Mosquitto, store: MemoryStore):
    with announcing(mosquitto, BOTH, store) as publisher:
        until(acknowledged(publisher, store, BOX, DOCK, YARD))
        publisher.withdraw(told(asking("other")))
        until(acknowledged(publisher, store))
    fresh = Subscriber(mosquitto.port)
    fresh.close()
    assert [(message.topic, message.json) for message in fresh.messages] == [(STATE, OFFLINE)]


def test_devices_stay_in_home_assistant_when_only_the_prefix_of_the_topics_changes(
    mosquitto: Mosquitto, subscriber: Subscriber, store: MemoryStore
):
    spec = BrokerSpec(host=HOST, port=mosquitto.port, prefix="other")
    following = replace(DOCK_ONLY, mqtt=spec)
    with announcing(mosquitto, BOTH, store) as publisher:
        until(acknowledged(publisher, store, BOX, DOCK, YARD))
        publisher.withdraw(following)
    with closing(MqttPublisher(spec, "box", store, version="1.2.3")) as successor:
        successor.follow(following)
        successor.adopt(publisher.release())
        successor.start()
        until(acknowledged(successor, store, BOX, DOCK))
    subscriber.catch_up()
    assert [message.payload == b"" for message in subscriber.of(YARD)] == [False, True]
    dock = subscriber.of(DOCK)
    assert all(message.payload for message in dock)
    assert components(dock[-1])["people"]["state_topic"] == "other/box/dock/people"


def test_the_same_config_is_announced_once(mosquitto: Mosquitto, subscriber: Subscriber, store: MemoryStore):
    with announcing(mosquitto, BOTH, store) as publisher:
        until(acknowledged(publisher, store, BOX, DOCK, YARD))
        publisher.follow(replace(BOTH, rev="r2"))
        publisher.info({"last": True})
        subscriber.wait_for_topic("edged/box/bridge/info")
        assert [len(subscriber.of(topic)) for topic in (BOX, DOCK, YARD)] == [1, 1, 1]


def born(subscriber: Subscriber, payload: bytes = b"online", retain: bool = False) -> None:
    """As Home Assistant announces that it has started."""
    subscriber.publish("homeassistant/status", payload, retain)


@pytest.mark.slow
def test_everything_is_sent_again_when_home_assistant_has_started(
    mosquitto: Mosquitto, subscriber: Subscriber, store: MemoryStore
):
    with announcing(mosquitto, DOCK_ONLY, store) as publisher:
        publisher.camera("dock", CameraState(True, None, SINCE))
        publisher.answers([an_answer("a")], [], None)
        subscriber.wait_for_topic(PEOPLE)
        until(lambda: publisher.figures().published >= 5)
        until(lambda: "homeassistant/status" in mosquitto.log())  # subscribed
        subscriber.catch_up()
        subscriber.forget()
        born(subscriber)
        subscriber.wait_for_topic(STATE)
        topics = [message.topic for message in subscriber.messages if message.topic != "homeassistant/status"]
        assert topics[:2] == [BOX, DOCK]
        assert set(topics[2:-1]) == {"edged/box/dock/availability", PEOPLE}
        assert topics[-1] == STATE


@pytest.mark.parametrize("topic", ["homeassistant/status", "ha/status"])
def test_with_another_discovery_prefix_the_birth_may_come_on_its_default_topic_too(
    mosquitto: Mosquitto, subscriber: Subscriber, store: MemoryStore, topic: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(announcer, "AFTER_BIRTH_S", (0.0, 0.1))
    config = told(asking(image=False, dock=["people"]), prefix="ha")
    with announcing(mosquitto, config, store) as publisher:
        until(acknowledged(publisher, store, *(each.replace("homeassistant", "ha") for each in (BOX, DOCK))))
        until(lambda: mosquitto.log().count("/status (QoS 1)") >= 2)  # subscribed
        subscriber.publish(topic, b"online")
        assert len(subscriber.wait_for_topic("ha/device/edged_box_dock/config", 2)) == 2


def test_an_old_birth_or_a_death_is_nothing_to_answer(mosquitto: Mosquitto, subscriber: Subscriber, store: MemoryStore):
    born(subscriber, retain=True)
    with announcing(mosquitto, DOCK_ONLY, store) as publisher:
        until(lambda: "homeassistant/status" in mosquitto.log())
        born(subscriber, b"offline")
        born(subscriber, b"\xff\x00")
        publisher.health({"last": 1})
        until(acknowledged(publisher, store, BOX, DOCK))
        assert publisher._announcer._again_at == float("inf")


@pytest.mark.slow
def test_answers_are_sent_again_after_a_device_was_changed(
    mosquitto: Mosquitto, subscriber: Subscriber, store: MemoryStore
):
    [dock] = DOCK_ONLY.cameras
    with announcing(mosquitto, DOCK_ONLY, store) as publisher:
        publisher.answers([an_answer("a")], [], None)
        subscriber.wait_for_topic(PEOPLE)
        until(acknowledged(publisher, store, BOX, DOCK))
        publisher.follow(replace(DOCK_ONLY, cameras=(replace(dock, title="Dock 2"),)))
        first, again = subscriber.wait_for_topic(PEOPLE, 2)
        assert again.payload == first.payload
        assert subscriber.of(DOCK)[-1].json["device"]["name"] == "Dock 2"


def test_a_damaged_fact_is_as_if_nothing_had_been_announced(
    mosquitto: Mosquitto, subscriber: Subscriber, store: MemoryStore
):
    with announcing(mosquitto, DOCK_ONLY, store) as publisher:
        until(acknowledged(publisher, store, BOX, DOCK))
    [kind] = [kind for kind in kinds(store) if kind.startswith("discovery")]
    damaged: tuple[Any, ...] = ([], {"components": 3}, {"components": {"gone": 7}}, "text")
    for broken in damaged:
        store._facts[kind][DOCK] = broken
        with announcing(mosquitto, DOCK_ONLY, store) as publisher:
            until(acknowledged(publisher, store, BOX, DOCK))
    assert json.loads(subscriber.of(DOCK)[-1].payload)["components"].keys() == {"people"} | FIXED
