"""Topics and payloads are a contract with every subscriber, so they are compared to the letter."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from support.broker import an_answer

from edged.core.payloads import answer_payload, as_late, encode, event_payload
from edged.core.types import CameraState, Event
from edged.mqtt.topics import Message, Topics, availability_payload, bridge_payload

PEOPLE = replace(
    an_answer("01J9"),
    prompt="How many people are in this image? Answer with one number.",
    model="mobilint/Qwen2-VL-2B-Instruct",
)
PAYLOAD = (
    '{"schema":1,"id":"01J9","node":"dock-box","camera":"dock","region":null,"question":"people","type":"integer",'
    '"value":3,"status":"ok","reason":null,"confidence":0.87,"agreement":null,"settled":null,"alert":null,"text":"3","truncated":false,'
    '"prompt":"How many people are in this image? Answer with one number.","prompt_rev":"9c1e",'
    '"frame_ts":1785312000.412,"frame_age_s":0.31,"frame_sha256":"ab12","answered_ts":1785312001.23,'
    '"clock_synced":true,"reuse_of":null,"late":false,"trigger":"schedule",'
    '"timing_ms":{"grab":38.0,"encode":310.0,"answer":212.0},"model":"mobilint/Qwen2-VL-2B-Instruct","model_rev":"r1",'
    '"config_rev":"c1"}'
)


def test_every_topic_begins_with_prefix_and_node():
    topics = Topics("edged", "dock-box")
    assert [topics.state, topics.info, topics.health] == [
        "edged/dock-box/bridge/state",
        "edged/dock-box/bridge/info",
        "edged/dock-box/bridge/health",
    ]
    assert topics.availability("dock") == "edged/dock-box/dock/availability"
    assert topics.active("dock") == "edged/dock-box/dock/active"
    assert topics.answer("dock", "people") == "edged/dock-box/dock/people"
    assert topics.late("dock", "people") == "edged/dock-box/dock/people/late"
    assert topics.image("dock") == "edged/dock-box/dock/image/jpeg"
    assert topics.event("dock") == "edged/dock-box/dock/event"


def test_the_payload_of_an_answer_is_that_of_the_contract():
    assert encode(answer_payload(PEOPLE, "dock-box", late=False)).decode() == PAYLOAD


def test_a_refusal_has_every_key_of_an_answer():
    refusal = replace(
        PEOPLE,
        value=None,
        status="camera_down",
        reason="no connection to the camera",
        confidence=None,
        text=None,
        frame_ts=None,
        frame_age_s=None,
        frame_sha256=None,
        model=None,
        model_rev=None,
    )
    payload = answer_payload(refusal, "dock-box", late=True)
    assert list(payload) == list(json.loads(PAYLOAD))
    assert payload["value"] is None
    assert payload["frame_ts"] is None
    assert payload["late"] is True


def test_a_late_answer_differs_in_one_key_only():
    nested = replace(PEOPLE, type="json", value={"late": False, "trigger": "예"}, text='{"late":false}')
    before = encode(answer_payload(nested, "dock-box", late=False))
    after = as_late(before)
    assert after == encode(answer_payload(nested, "dock-box", late=True))
    assert list(json.loads(after)) == list(json.loads(before))


def test_an_event_has_both_states_since_when_the_first_was_true_and_the_value_that_ended_it():
    since, at = datetime(2026, 7, 1, 12, tzinfo=UTC), datetime(2026, 7, 1, 12, 5, tzinfo=UTC)
    event = Event("e1", "dock", "gate_open", "alert_on", False, True, since, at, value=True)
    assert event_payload(event, "dock-box", late=False) == {
        "event_type": "alert_on",
        "schema": 1,
        "id": "e1",
        "node": "dock-box",
        "camera": "dock",
        "question": "gate_open",
        "from": False,
        "to": True,
        "since": since.timestamp(),
        "value": True,
        "ts": at.timestamp(),
        "late": False,
    }
    assert event_payload(replace(event, since=None), "dock-box", late=False)["since"] is None


def test_payloads_of_availability_and_bridge_state():
    since = datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert availability_payload(CameraState(True, None, since)) == {
        "state": "online",
        "reason": None,
        "since": since.timestamp(),
    }
    assert availability_payload(CameraState(False, "no packet for 5.0 s", since))["state"] == "offline"
    assert encode(bridge_payload(True)) == b'{"state":"online"}'
    assert encode(bridge_payload(False)) == b'{"state":"offline"}'


def test_nan_is_an_error_and_a_lone_surrogate_is_replaced():
    with pytest.raises(ValueError, match="JSON"):
        encode({"value": float("nan")})
    assert json.loads(encode({"value": "a\ud800b", "word": "아니요"})) == {"value": "a?b", "word": "아니요"}


def test_a_message_does_not_print_its_payload():
    assert "secret" not in repr(Message("edged/dock-box/dock/image/jpeg", b"secret"))


@pytest.mark.parametrize("prefix", ["edged", "site/edged", "image/jpeg"])
def test_only_a_picture_is_taken_for_one(prefix: str) -> None:
    topics = Topics(prefix, "image")
    assert topics.is_picture(topics.image("dock"))
    assert topics.is_picture(topics.image("image"))
    others = [topics.answer("image", "jpeg"), topics.late("image", "jpeg"), topics.answer("dock", "jpeg")]
    foreign = ["other/image/dock/image/jpeg", "homeassistant/device/image/jpeg"]
    assert not any(topics.is_picture(topic) for topic in [*others, *foreign, f"{topics.own}image/jpeg"])
