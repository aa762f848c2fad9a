"""What Home Assistant is told: every key that its platforms demand and no other, and what its entities read."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment
from support.broker import an_answer
from support.config import SHIPPED
from support.making import question
from support.world import CONFIG, World, camera

from edged.config.load import load
from edged.core.answer_types import AnswerType, Choices, Json, Number, Text, YesNo
from edged.core.conditions import OneOf
from edged.core.payloads import answer_payload
from edged.core.specs import AlertSpec, Config, HomeAssistantSpec
from edged.core.types import AlertState, Answer, CameraState
from edged.mqtt.discovery import discovery, in_words
from edged.mqtt.topics import Topics, availability_payload, bridge_payload
from edged.service import bridge

NOW = round(time.time(), 3)
EXPIRY_S = 180.0  # of a camera that looks every 60 s
TOPICS = Topics("edged", "box")

# From the schemas of Home Assistant 2026.11, components/mqtt: the keys that each platform needs, and those it may have.
EVERY = {"platform", "unique_id", "default_entity_id", "name"}
MAY = {
    "availability", "availability_mode", "qos", "icon", "entity_category", "enabled_by_default", "device_class",
    "json_attributes_topic", "json_attributes_template",
}  # fmt: skip
PLATFORMS: dict[str, tuple[set[str], set[str]]] = {
    "sensor": (
        {"state_topic", "value_template"},
        {"state_class", "options", "unit_of_measurement", "suggested_display_precision"},
    ),
    "binary_sensor": ({"state_topic", "value_template"}, set()),
    "image": ({"image_topic", "content_type"}, set()),
    "event": ({"state_topic", "event_types"}, set()),
    "button": ({"command_topic", "payload_press"}, {"retain"}),
    "switch": (
        {"command_topic", "state_topic", "value_template", "payload_on", "payload_off", "state_on", "state_off"},
        {"retain"},
    ),
}
DEVICE_CLASSES = {
    "sensor": {"enum", "duration", "data_size"},
    "binary_sensor": {"connectivity", "problem"},
}


def one(answer: AnswerType, **more: Any) -> dict[str, Any]:
    """The components of a camera with one question, `q`, of this type."""
    asked = question("Q?", answer, "q", **more)
    components: dict[str, Any] = devices(replace(CONFIG, cameras=(camera("dock", asked),)))["edged_box_dock"][
        "components"
    ]
    return components


def devices(config: Config) -> dict[str, dict[str, Any]]:
    messages = discovery(config, TOPICS, "1.2.3")
    assert all(topic.startswith("homeassistant/device/") and topic.endswith("/config") for topic in messages)
    return {topic.split("/")[2]: message for topic, message in messages.items()}


def whole() -> Config:
    """The shipped config, with pictures."""
    config = load(SHIPPED / "edged.yaml")
    return replace(config, node="box", cameras=tuple(replace(each, image="each") for each in config.cameras))


def test_every_component_of_the_shipped_config_has_the_keys_of_its_platform():
    found = set()
    for device in devices(whole()).values():
        assert device.keys() == {"device", "origin", "qos", "availability_mode", "availability", "components"}
        assert device["origin"] == {"name": "edged", "sw_version": "1.2.3"}
        assert len(device["device"]["identifiers"]) == 1
        for key, component in device["components"].items():
            found.add(component["platform"])
            needs, may = PLATFORMS[component["platform"]]
            assert (EVERY | needs) - component.keys() == set(), key
            assert component.keys() - EVERY - needs - may - MAY == set(), key
            check_sensor(key, component)
            json.dumps(component, allow_nan=False)
    assert found == PLATFORMS.keys()


def check_sensor(key: str, component: dict[str, Any]) -> None:
    """The rules that Home Assistant checks beyond the keys."""
    device_class = component.get("device_class")
    if device_class is not None:
        assert device_class in DEVICE_CLASSES[component["platform"]], key
    assert ("options" in component) == (device_class == "enum"), key
    if device_class == "enum":
        assert component["options"], key
        assert component.keys() & {"state_class", "unit_of_measurement"} == set(), key
    assert component.get("state_class", "measurement") in ("measurement", "total_increasing"), key
    assert component.get("entity_category", "diagnostic") == "diagnostic", key
    assert component["default_entity_id"].split(".")[0] == component["platform"], key
    assert ("json_attributes_topic" in component) == ("json_attributes_template" in component), key


def test_the_ids_are_those_of_the_contract_and_cameras_refer_to_the_box():
    told = devices(whole())
    assert list(told) == ["edged_box", "edged_box_dock", "edged_box_counter"]
    dock = told["edged_box_dock"]
    assert dock["device"] | {"model": None} == {
        "identifiers": ["edged_box_dock"], "name": "Loading dock", "manufacturer": "edged", "model": None,
        "sw_version": "1.2.3", "via_device": "edged_box",
    }  # fmt: skip
    assert dock["device"]["model"] == "qwen2-vl-2b"
    assert "via_device" not in told["edged_box"]["device"]
    people, gate = dock["components"]["people"], dock["components"]["gate_open"]
    assert (people["unique_id"], people["default_entity_id"]) == ("edged_box_dock_people", "sensor.dock_people")
    assert (people["name"], gate["name"], in_words("what-is_it")) == ("People", "Gate", "What is it")
    assert people["state_topic"] == "edged/box/dock/people"
    assert {"vehicle", "gate_open_alert"} <= dock["components"].keys()  # a follow-up, and an alert


def test_each_type_of_answer_has_its_platform():
    def kind(answer: AnswerType) -> tuple[Any, ...]:
        component = one(answer)["q"]
        return component["platform"], component.get("device_class"), component.get("state_class")

    assert kind(Number(True)) == kind(Number(False)) == ("sensor", None, "measurement")
    assert kind(YesNo()) == ("binary_sensor", None, None)
    assert kind(Text()) == kind(Json("{}")) == ("sensor", None, None)
    assert kind(Choices((("a", "a"), ("b", "b")))) == ("sensor", "enum", None)
    assert one(Number(True))["q"]["suggested_display_precision"] == 0
    assert "suggested_display_precision" not in one(Number(False))["q"]


def test_the_options_of_an_enum_are_the_states_that_its_template_renders():
    values = ["clear", 1, 2.5, True, None, "", " fog ", {"a": 1}, "x" * 300, "clear"]
    component = one(Choices(tuple((f"label {number}", value) for number, value in enumerate(values))))["q"]
    rendered = [state(component, value=value, type="choices") for value in values]
    assert component["options"] == ["clear", "1", "2.5", "True", "fog", "{'a': 1}", "x" * 250]
    assert {each for each in rendered if each not in ("None", "")} == set(component["options"])
    assert "options" not in one(Choices((("a", None), ("b", ""))))["q"]


def test_names_that_give_the_same_id_are_told_apart_for_ever():
    first = camera("a", question("Q?", YesNo(), "b_c"), question("Q?", YesNo(), "look"))
    alert = camera(
        "a_b", question("Q?", YesNo(), "c", alert=AlertSpec(OneOf((True,)))), question("Q?", YesNo(), "c_alert")
    )
    told = devices(replace(CONFIG, cameras=(first, alert)))
    swapped = devices(replace(CONFIG, cameras=(alert, first)))
    ids = [entity["unique_id"] for device in told.values() for entity in device["components"].values()]
    assert len(set(ids)) == len(ids)
    assert swapped == told
    assert len(told["edged_box_a"]["components"]) == 2 + 4  # nothing has replaced another: event, look, active, state
    assert len(told["edged_box_a_b"]["components"]) == 3 + 4


def test_a_question_with_the_name_of_something_else_has_the_ids_of_the_contract():
    asked = question("Q?", YesNo(), "c", alert=AlertSpec(OneOf((True,))))
    names = ("look", "active", "c_alert")
    told = devices(replace(CONFIG, cameras=(camera("a", asked, *(question("Q?", YesNo(), name) for name in names)),)))
    components = told["edged_box_a"]["components"]
    for name in ("c", *names):
        ids = components[name]["unique_id"], components[name]["default_entity_id"]
        assert ids == (f"edged_box_a_{name}", f"binary_sensor.a_{name}")
        assert components[name]["state_topic"] == f"edged/box/a/{name}"
    others = [component["platform"] for key, component in components.items() if re.fullmatch(r".+_[0-9a-f]{6}", key)]
    assert sorted(others) == ["binary_sensor", "button", "switch"]


def test_a_question_with_the_name_of_an_id_that_was_told_apart_is_told_apart_too():
    look = question("Q?", YesNo(), "look")
    told_apart = next(
        key
        for key in devices(replace(CONFIG, cameras=(camera("a", look),)))["edged_box_a"]["components"]
        if key.startswith("look_")
    )
    told = devices(replace(CONFIG, cameras=(camera("a", look, question("Q?", YesNo(), told_apart)),)))
    assert len(told["edged_box_a"]["components"]) == 2 + 4


def test_entity_ids_have_no_characters_that_home_assistant_refuses():
    told = devices(replace(CONFIG, cameras=(camera("-yard-2_", question("Q?", YesNo(), "is__it-open")),)))
    components = told["edged_box_-yard-2_"]["components"]
    assert components["is__it-open"]["default_entity_id"] == "binary_sensor.yard_2_is_it_open"


def test_nothing_is_announced_if_it_is_switched_off_and_the_prefix_is_that_of_the_config():
    assert discovery(replace(CONFIG, homeassistant=None), TOPICS, "1") == {}
    other = discovery(replace(CONFIG, homeassistant=HomeAssistantSpec("home/ha")), TOPICS, "1")
    assert next(iter(other)) == "home/ha/device/edged_box/config"


def test_a_picture_is_announced_only_if_the_camera_publishes_one():
    asked = question("Q?", YesNo(), "q")
    told = devices(replace(CONFIG, cameras=(camera("a", asked, image="each"), camera("b", asked), camera("c"))))
    assert told["edged_box_a"]["components"]["image"]["image_topic"] == "edged/box/a/image/jpeg"
    assert "image" not in told["edged_box_b"]["components"]
    assert told["edged_box_c"]["components"].keys() == {"active", "availability"}


# What the templates render, as Home Assistant does: its filter to_json, its function now(), and blanks cut off


def render(template: str, payload: dict[str, Any] | None) -> str:
    environment = ImmutableSandboxedEnvironment()
    environment.filters["to_json"] = lambda value: json.dumps(value, ensure_ascii=False)
    environment.globals["now"] = lambda: datetime.fromtimestamp(NOW, UTC)
    given = {} if payload is None else {"value_json": json.loads(json.dumps(payload))}
    return environment.from_string(template).render(given).strip()


def answer(age_s: float = 1.0, **changes: Any) -> Answer:
    return replace(an_answer("a"), **{"frame_ts": NOW - age_s, "answered_ts": NOW - age_s, **changes})


def state(component: dict[str, Any], **changes: Any) -> str:
    return render(component["value_template"], answer_payload(answer(**changes), "box", late=False))


def attributes(component: dict[str, Any], **changes: Any) -> dict[str, Any]:
    payload = answer_payload(answer(**changes), "box", late=False)
    read: dict[str, Any] = json.loads(render(component["json_attributes_template"], payload))
    return read


REFUSED = {"value": None, "status": "unsure", "reason": "confidence 0.20 is below min_confidence 0.7"}
NO_FRAME = {"value": None, "status": "camera_down", "reason": "no connection", "frame_ts": None, "clock_synced": True}
LONG = "x" * 249 + "yz"


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (Number(True), 0, "0"),
        (Number(False), -2.5, "-2.5"),
        (YesNo(), True, "ON"),
        (YesNo(), False, "OFF"),
        (Choices((("a", "none"), ("b", 7))), "none", "none"),
        (Choices((("a", "none"), ("b", 7))), 7, "7"),
        (Text(), LONG, "x" * 249 + "y"),
        (Json("{}"), {"danger": True}, '{"danger": true}'),
        (Json("{}"), ["a" * 300], '["' + "a" * 248),
        (Json("{}"), "text", "text"),
    ],
)
def test_an_answer_reads_as_its_value_and_as_unknown_when_it_is_refused_or_old(
    kind: AnswerType, value: Any, expected: str
):
    component, given = one(kind)["q"], {"value": value, "type": kind.kind}
    assert state(component, **given) == state(component, **given, age_s=EXPIRY_S - 1) == expected
    assert state(component, **given, age_s=EXPIRY_S + 1) == "None"
    assert state(component, **given, age_s=1e6, clock_synced=False) == expected  # no clock: nothing is old
    assert state(component, value=value, type="another") == "None"  # from before the question was changed
    assert state(component, **REFUSED) == state(component, **NO_FRAME) == "None"
    assert render(component["value_template"], None) == "None"  # the topic is cleared


def test_the_attributes_say_why_there_is_no_value():
    component = one(Number(True))["q"]
    assert attributes(component, **REFUSED) | {"frame_ts": None} == {
        "status": "unsure", "reason": REFUSED["reason"], "confidence": 0.87, "frame_ts": None, "late": False,
    }  # fmt: skip
    assert render(component["json_attributes_template"], None) == "{}"


def test_the_whole_text_and_the_properties_of_json_are_attributes():
    assert attributes(one(Text())["q"], value=LONG)["text"] == LONG
    json_one = one(Json("{}"))["q"]
    read = attributes(json_one, value={"danger": True, "status": "own"})
    assert (read["danger"], read["status"]) == (True, "own")
    assert attributes(json_one, value=[1, 2])["value"] == [1, 2]
    assert attributes(json_one, **REFUSED)["value"] is None


def test_an_alert_outlasts_refusals_but_not_its_expiry():
    component = one(YesNo(), alert=AlertSpec(OneOf((True,))))["q_alert"]
    since = datetime.fromtimestamp(NOW - 9, UTC)
    on, off = AlertState(True, since), AlertState(False, None)
    assert state(component, alert=on) == state(component, alert=on, **NO_FRAME) == "ON"
    assert state(component, alert=off) == "OFF"
    assert state(component, alert=on, age_s=EXPIRY_S + 1) == state(component, alert=None) == "None"
    assert render(component["value_template"], None) == "None"
    assert attributes(component, alert=on) == {"since": since.timestamp()}
    assert "q_alert" not in one(YesNo())


def test_a_camera_is_available_while_it_and_its_box_are_online():
    device = devices(CONFIG)["edged_box_dock"]
    assert device["availability_mode"] == "all"
    assert [each["topic"] for each in device["availability"]] == [
        "edged/box/bridge/state",
        "edged/box/dock/availability",
    ]
    for each in device["availability"]:
        assert render(each["value_template"], bridge_payload(True)) == "online"
        assert render(each["value_template"], bridge_payload(False)) == "offline"
        assert render(each["value_template"], None) == "offline"


def test_a_switch_and_a_connection_stay_available_while_the_camera_is_paused_or_down():
    components = devices(CONFIG)["edged_box_dock"]["components"]
    for key in ("active", "availability"):
        assert [each["topic"] for each in components[key]["availability"]] == ["edged/box/bridge/state"]
    down = availability_payload(CameraState(False, "paused", datetime.fromtimestamp(NOW, UTC)))
    connection = components["availability"]
    assert (render(connection["value_template"], down), render(connection["value_template"], None)) == ("OFF", "OFF")
    assert json.loads(render(connection["json_attributes_template"], down)) == {"reason": "paused", "since": NOW}


def test_the_switch_and_the_button_send_requests_of_the_contract():
    components = devices(CONFIG)["edged_box_dock"]["components"]
    switch, button = components["active"], components["look"]
    assert switch["command_topic"] == "edged/box/bridge/request/active"
    assert json.loads(switch["payload_on"]) == {"camera": "dock", "active": True}
    assert json.loads(switch["payload_off"]) == {"camera": "dock", "active": False}
    assert (button["command_topic"], json.loads(button["payload_press"])) == (
        "edged/box/bridge/request/look",
        {"camera": "dock"},
    )
    assert (switch["retain"], button["retain"]) == (False, False)
    said = [render(switch["value_template"], payload) for payload in ({"active": True}, {"active": False}, None)]
    assert said == ["ON", "OFF", "None"]


def test_the_box_is_read_from_the_health_that_edged_publishes():
    world = World()
    world.start()
    world.look()
    health = bridge.health(world.service, 12.0) | {"ts": NOW, "clock_synced": True}
    components = devices(world.config)["edged_box"]["components"]
    read = {
        key: render(component["value_template"], health)
        for key, component in components.items()
        if component["state_topic"] == "edged/box/bridge/health"
    }
    assert len(read) == 15
    assert [key for key, value in read.items() if value in ("", "None")] == []
    assert (read["bridge_looks"], read["bridge_uptime"], read["bridge_store"], read["bridge_clock"]) == (
        "3", "12", "OFF", "OFF",
    )  # fmt: skip
    old = {**health, "ts": NOW - 181}
    assert {render(components[key]["value_template"], old) for key in read} == {"None"}
    assert {render(components[key]["value_template"], None) for key in read} == {"None"}
    assert render(components["bridge_clock"]["value_template"], {**old, "clock_synced": False}) == "ON"


def test_a_config_that_was_not_reloaded_is_a_problem_with_its_reasons():
    config = devices(CONFIG)["edged_box"]["components"]["bridge_config"]
    assert render(config["value_template"], {"config_problems": ["edged.yaml:3: x"]}) == "ON"
    assert render(config["value_template"], {"config_problems": []}) == "OFF"
    assert json.loads(render(config["json_attributes_template"], {"config_problems": ["p"]})) == {"problems": ["p"]}


def test_the_boxes_connection_is_always_available():
    connection = devices(CONFIG)["edged_box"]["components"]["bridge_state"]
    assert connection["availability"] == []
    assert render(connection["value_template"], bridge_payload(False)) == "OFF"
