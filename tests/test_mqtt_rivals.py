"""Two edged with one node name, and the last will of an edged that comes back."""

# ruff: noqa: F401, F811  # fixtures are imported, and then named as arguments

from __future__ import annotations

import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support.broker import (
    CONNACK_V5,
    HOST,
    Mosquitto,
    Received,
    Subscriber,
    Wire,
    an_answer,
    mosquitto,
    scripted_broker,
    subscriber,
    until,
    wire,
)
from support.publishing import OFFLINE, ONLINE, PEOPLE, SINCE, STATE, disconnected, logged, publishing

from edged.core.types import CameraState
from edged.mqtt import properties, rivals
from edged.mqtt.rivals import Rivals

HEALTH = "edged/box/bridge/health"
AVAILABILITY = "edged/box/dock/availability"
IMAGE = "edged/box/dock/image/jpeg"
UP, DOWN = CameraState(True, None, SINCE), CameraState(False, "edged is stopped", SINCE)
ANOTHER = 'another edged with the node name "box" is running; each edged needs its own node and client id'
GONE = "no other edged with the node name or client id any more"


def said(caplog: pytest.LogCaptureFixture, text: str, level: str = "WARNING") -> int:
    return sum(text in line for line in logged(caplog, level))


def newest(subscriber: Subscriber, topic: str) -> Received:
    return subscriber.of(topic)[-1]


def health(instance: str) -> bytes:
    return json.dumps({"instance": instance}).encode()


@pytest.mark.parametrize("ids", [("", ""), ("one", "two")])
def test_two_edged_with_one_node_name_report_each_other_once_and_when_it_is_over(
    mosquitto: Mosquitto,
    subscriber: Subscriber,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    ids: tuple[str, str],
) -> None:
    """After that, everything of the one that goes on is published again."""
    monkeypatch.setattr(rivals, "GONE_S", 4.0)
    caplog.set_level("INFO")
    with publishing(mosquitto.port, client_id=ids[0], instance="first") as first:
        first.health({})
        first.camera("dock", UP)
        first.answers([an_answer("of the first")], [], b"picture of the first")
        until(lambda: first.figures().published >= 5)
        with publishing(mosquitto.port, client_id=ids[1], instance="second") as second:

            def both_know() -> bool:
                for publisher in (first, second):  # as every minute
                    publisher.health({"uptime_s": time.monotonic()})
                return said(caplog, ANOTHER) == 2

            until(both_know, 40)
            second.camera("dock", DOWN)
            second.answers([an_answer("of the second")], [], b"picture of the second")
        until(lambda: said(caplog, GONE, "INFO") == 1, 20)
        until(lambda: newest(subscriber, STATE).json == ONLINE)
        until(lambda: newest(subscriber, AVAILABILITY).json["state"] == "online")
        until(lambda: newest(subscriber, PEOPLE).json["id"] == "of the first")
        until(lambda: newest(subscriber, IMAGE).payload == b"picture of the first")
        assert first.figures().connected
    assert said(caplog, ANOTHER) == 2


def test_a_restarted_edged_does_not_take_its_own_past_for_another(
    mosquitto: Mosquitto, subscriber: Subscriber, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        with publishing(mosquitto.port, instance=f"process-{number}") as publisher:
            publisher.health({"uptime_s": number})
            until(lambda: publisher.figures().published >= 2)
    assert subscriber.wait_for_topic(HEALTH, 3)[-1].json == {"uptime_s": 2, "instance": "process-2"}
    assert logged(caplog) == []


def test_who_takes_over_our_connection_is_not_fought_at_full_speed(caplog: pytest.LogCaptureFixture) -> None:
    connects: list[float] = []

    def answers(number: int, _: bytes) -> bytes:
        connects.append(time.monotonic())
        return CONNACK_V5 + b"\xe0\x02\x8e\x00"  # DISCONNECT: session taken over

    with scripted_broker(answers) as port, publishing(port):
        until(lambda: len(connects) >= 3)
    pauses = [after - before for before, after in pairwise(connects)]
    assert pauses[0] > 0.9
    assert pauses[1] > 1.9
    assert said(caplog, 'another client connected with the client id "edged-box"') == 1


def test_the_pause_between_takeovers_is_a_minute_at_most(caplog: pytest.LogCaptureFixture) -> None:
    of_two = Rivals("mqtt://b", "box", "edged-box", "own")
    assert [of_two.pause_s() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_what_others_publish_as_health_does_not_break_anything(caplog: pytest.LogCaptureFixture) -> None:
    alone = Rivals("mqtt://b", "box", "edged-box", "own")
    for payload in (b"", b"\xff", b"[1]", b"{}", b'{"instance":5}', b"[" * 100_000, health("own")):
        alone.heard(payload, False, 1.0)
    assert not alone.present


def test_what_a_broker_restores_from_an_old_copy_is_not_another_edged() -> None:
    alone = Rivals("mqtt://b", "box", "edged-box", "own")
    alone.heard(health("before"), True, 1.0)
    alone.heard(health("own"), False, 2.0)
    alone.heard(health("older"), True, 3.0)
    alone.heard(health("own"), False, 4.0)
    alone.heard(health("older"), True, 5.0)
    assert not alone.present
    alone.heard(health("other"), True, 6.0)
    assert alone.present


def test_a_live_message_of_another_edged_counts_at_once() -> None:
    of_two = Rivals("mqtt://b", "box", "edged-box", "own")
    of_two.heard(health("other"), False, 1.0)
    assert of_two.present


# The last will


def test_a_quick_reconnect_shows_no_offline(wire: Wire, mosquitto: Mosquitto, subscriber: Subscriber) -> None:
    with publishing(wire.port) as publisher:
        until(lambda: publisher.figures().published >= 1)
        subscriber.wait_for_topic(STATE)
        subscriber.forget()
        wire.cut()
        disconnected(publisher)
        wire.mend()
        until(lambda: publisher.figures().connected)
        subscriber.wait_for_topic(STATE)
        subscriber.catch_up()
        assert OFFLINE not in [message.json for message in subscriber.of(STATE)]


@pytest.mark.slow
def test_an_edged_that_does_not_come_back_is_offline_after_the_delay(
    wire: Wire, mosquitto: Mosquitto, subscriber: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert properties.WILL_DELAY_S == 5
    monkeypatch.setattr(properties, "WILL_DELAY_S", 2)
    with publishing(wire.port) as publisher:
        until(lambda: publisher.figures().published >= 1)
        subscriber.wait_for_topic(STATE)
        begun = time.monotonic()
        wire.cut()
        _, will = subscriber.wait_for_topic(STATE, 2)
        assert (will.json, will.retain, will.content_type) == (OFFLINE, True, "application/json")
        assert 0.5 < time.monotonic() - begun < 5  # mosquitto looks once a second
