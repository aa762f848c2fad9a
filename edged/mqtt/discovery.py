"""What Home Assistant is told: one retained message for the box and one for each camera, with their entities. Pure.

The keys are those of Home Assistant's MQTT discovery by device. Nothing has `expire_after`: an entity with it reads
unavailable instead of unknown, and Home Assistant restores the value that it had before its own restart.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from edged.core.answer_types import Choices, Json, Number, Text, YesNo
from edged.core.intervals import expiry_s
from edged.core.specs import DEFAULT_DISCOVERY_PREFIX, CameraSpec, Config, QuestionSpec, revision, with_follow_ups
from edged.mqtt import discovery_templates as templates
from edged.mqtt.topics import JPEG_TYPE, Topics

EVENT_TYPES = ["changed", "alert_on", "alert_off"]
DIAGNOSTIC = {"entity_category": "diagnostic"}
HIDDEN = {"entity_category": "diagnostic", "enabled_by_default": False}
Taken: TypeAlias = dict[bool, set[str]]  # the ids that an answer (True), or another entity, has with a digest only


@dataclass(frozen=True, slots=True)
class Entity:
    """One entity of a device: `key` names it within the device, `name` is shown, `keys` are those of its platform.

    `what` tells apart entities whose keys would be the same, such as an alert and a question named like it.
    """

    what: str
    platform: str
    key: str
    name: str
    keys: dict[str, Any]

    @property
    def is_answer(self) -> bool:
        return self.what == "answer"


@dataclass(frozen=True, slots=True)
class Device:
    """The box (`camera` is None) or a camera. `availability` has the topics that its entities depend on."""

    camera: str | None
    name: str
    availability: tuple[str, ...]
    entities: tuple[Entity, ...]


def birth_topics(prefix: str) -> list[str]:
    """Where Home Assistant may publish `online` when it has started, and `offline`.

    Its default does not depend on the discovery prefix.
    """
    return sorted({f"{DEFAULT_DISCOVERY_PREFIX}/status", f"{prefix}/status"})


def discovery(config: Config, topics: Topics, version: str) -> dict[str, dict[str, Any]]:
    """The messages by topic, the box first, because the cameras refer to it. Empty if it is switched off."""
    if config.homeassistant is None:
        return {}
    devices = [_box(config, topics), *(_camera(spec, topics) for spec in config.cameras)]
    taken = _taken(config.node, devices)
    prefix = config.homeassistant.prefix
    return {
        f"{prefix}/device/{_device_id(config.node, device)}/config": _payload(config, device, taken, version)
        for device in devices
    }


def in_words(name: str) -> str:
    """`gate_open` -> `Gate open`."""
    words = " ".join(re.split("[_-]+", name)).strip() or name
    return words[0].upper() + words[1:]


# The messages


def _payload(config: Config, device: Device, taken: Taken, version: str) -> dict[str, Any]:
    about = {
        "identifiers": [_device_id(config.node, device)],
        "name": device.name,
        "manufacturer": "edged",
        "model": config.model.path.name or "edged",
        "sw_version": version,
    }
    if device.camera is not None:
        about["via_device"] = f"edged_{config.node}"
    components = dict(_component(config.node, device, entity, taken) for entity in device.entities)
    return {
        "device": about,
        "origin": {"name": "edged", "sw_version": version},
        "qos": 1,
        "availability_mode": "all",
        "availability": _availability(device.availability),
        "components": components,
    }


def _component(node: str, device: Device, entity: Entity, taken: Taken) -> tuple[str, dict[str, Any]]:
    """The entity, and its name in the message. One whose id is taken is told apart by a digest, for ever."""
    unique_id, key = _unique_id(node, device, entity), entity.key
    if unique_id in taken[entity.is_answer]:
        digest = _digest(device, entity)
        unique_id, key = f"{unique_id}_{digest}", f"{key}_{digest}"
    return key, {
        "platform": entity.platform,
        "unique_id": unique_id,
        "default_entity_id": f"{entity.platform}.{_object_id(f'{device.camera or node}_{key}')}",
        "name": entity.name,
        **entity.keys,
    }


def _taken(node: str, devices: Sequence[Device]) -> Taken:
    """An answer's id is taken only by another answer, or by something else with its digest."""
    entities = [(_unique_id(node, device, entity), device, entity) for device in devices for entity in device.entities]
    ids = {one for one, _, _ in entities}
    taken = {
        True: _repeated(one for one, _, entity in entities if entity.is_answer),
        False: _repeated(one for one, _, _ in entities),
    }
    while True:
        told_apart = {
            f"{one}_{_digest(device, entity)}" for one, device, entity in entities if one in taken[entity.is_answer]
        }
        more = (ids & told_apart) - taken[True]
        if not more:
            return taken
        taken = {is_answer: before | more for is_answer, before in taken.items()}


def _repeated(ids: Iterable[str]) -> set[str]:
    return {one for one, count in Counter(ids).items() if count > 1}


def _digest(device: Device, entity: Entity) -> str:
    return revision([device.camera, entity.what, entity.key])[:6]


def _device_id(node: str, device: Device) -> str:
    return f"edged_{node}" if device.camera is None else f"edged_{node}_{device.camera}"


def _unique_id(node: str, device: Device, entity: Entity) -> str:
    return f"{_device_id(node, device)}_{entity.key}"


def _object_id(name: str) -> str:
    return re.sub("[_-]+", "_", name).strip("_") or "unnamed"  # of a name such as "-"


def _availability(topics: Sequence[str]) -> list[dict[str, str]]:
    return [{"topic": topic, "value_template": templates.STATE} for topic in topics]


# A camera


def _camera(camera: CameraSpec, topics: Topics) -> Device:
    entities = [
        entity
        for question in camera.questions
        for asked in with_follow_ups([question])
        for entity in _question(camera, asked, expiry_s(camera, question.every_s), topics)
    ]
    entities += _camera_entities(camera, topics)
    available = (topics.state, topics.availability(camera.name))
    return Device(camera.name, camera.title or in_words(camera.name), available, tuple(entities))


def _question(camera: CameraSpec, question: QuestionSpec, expires_s: float, topics: Topics) -> Iterator[Entity]:
    topic, name = topics.answer(camera.name, question.name), question.title or in_words(question.name)
    platform, keys = _answer(question, expires_s)
    attributes = {"json_attributes_template": templates.provenance(), "json_attributes_topic": topic}
    yield Entity("answer", platform, question.name, name, {"state_topic": topic, **attributes, **keys})
    if question.alert is not None:
        since = {"json_attributes_topic": topic, "json_attributes_template": templates.ALERT_SINCE}
        keys = {"state_topic": topic, "value_template": templates.alert(expires_s), **since}
        yield Entity("alert", "binary_sensor", f"{question.name}_alert", f"{name} alert", keys)


def _answer(question: QuestionSpec, expires_s: float) -> tuple[str, dict[str, Any]]:
    """The platform, and the keys that depend on the answer's type."""
    match question.answer:
        case Number() as number:
            precision = {"suggested_display_precision": 0} if number.whole else {}
            return "sensor", {
                "value_template": templates.number(number.kind, expires_s),
                "state_class": "measurement",
                **precision,
            }
        case YesNo():
            return "binary_sensor", {"value_template": templates.yes_no(expires_s)}
        case Choices() as choices:
            return "sensor", {"value_template": templates.choice(expires_s), **_options(choices)}
        case Text():
            return "sensor", {
                "value_template": templates.text(expires_s),
                "json_attributes_template": templates.whole_text(),
            }
        case Json():
            return "sensor", {
                "value_template": templates.json_value(expires_s),
                "json_attributes_template": templates.properties(),
            }


def _options(choices: Choices) -> dict[str, Any]:
    """The states of an enum. A value that reads as unknown is none; without any other it is no enum."""
    states = dict.fromkeys(templates.choice_state(value) for _, value in choices.options)
    options = [state for state in states if state not in ("", "None")]
    return {"device_class": "enum", "options": options} if options else {}


def _camera_entities(camera: CameraSpec, topics: Topics) -> Iterator[Entity]:
    if camera.image and camera.questions:
        yield Entity(
            "image", "image", "image", "Picture", {"image_topic": topics.image(camera.name), "content_type": JPEG_TYPE}
        )
    if camera.questions:
        yield Entity(
            "event", "event", "event", "Event", {"event_types": EVENT_TYPES, "state_topic": topics.event(camera.name)}
        )
        yield Entity("look", "button", "look", "Look now", _look(camera, topics))
    yield Entity("active", "switch", "active", "Active", _active(camera, topics))
    # It stays available while the camera is not, because that is what it says.
    keys = {
        "state_topic": topics.availability(camera.name),
        "value_template": templates.CONNECTED,
        "json_attributes_topic": topics.availability(camera.name),
        "json_attributes_template": templates.WHY_OFFLINE,
        "device_class": "connectivity",
        "availability": _availability([topics.state]),
        **DIAGNOSTIC,
    }
    yield Entity("availability", "binary_sensor", "availability", "Connection", keys)


def _look(camera: CameraSpec, topics: Topics) -> dict[str, Any]:
    return {
        "command_topic": topics.request("look"),
        "payload_press": f'{{"camera":"{camera.name}"}}',
        "retain": False,
        "icon": "mdi:eye-refresh",
    }


def _active(camera: CameraSpec, topics: Topics) -> dict[str, Any]:
    """A paused camera is offline; the switch that resumes it has to be available."""
    return {
        "command_topic": topics.request("active"),
        "payload_on": f'{{"camera":"{camera.name}","active":true}}',
        "payload_off": f'{{"camera":"{camera.name}","active":false}}',
        "retain": False,
        "state_topic": topics.active(camera.name),
        "value_template": templates.ACTIVE,
        "state_on": "ON",
        "state_off": "OFF",
        "availability": _availability([topics.state]),
        "icon": "mdi:eye",
    }


# The box


def _box(config: Config, topics: Topics) -> Device:
    info = {
        "state_topic": topics.info,
        "value_template": templates.CONFIG_PROBLEM,
        "json_attributes_topic": topics.info,
        "json_attributes_template": templates.CONFIG_PROBLEMS,
        "device_class": "problem",
        **DIAGNOSTIC,
    }
    state = {
        "state_topic": topics.state,
        "value_template": templates.CONNECTED,
        "device_class": "connectivity",
        "availability": [],
        **DIAGNOSTIC,
    }
    entities = [
        Entity("state", "binary_sensor", "bridge_state", "Connection", state),
        Entity("config", "binary_sensor", "bridge_config", "Config", info),
    ]
    entities += [
        Entity("health", platform, f"bridge_{key}", name, {"state_topic": topics.health, **keys})
        for platform, key, name, keys in _HEALTH
    ]
    return Device(None, in_words(config.node), (topics.state,), tuple(entities))


def _count(expression: str, **keys: Any) -> dict[str, Any]:
    counts = {"state_class": "total_increasing", "suggested_display_precision": 0}
    return {"value_template": templates.health(expression), **counts, **DIAGNOSTIC, **keys}


def _now(expression: str, **keys: Any) -> dict[str, Any]:
    return {"value_template": templates.health(expression), "state_class": "measurement", **DIAGNOSTIC, **keys}


def _problem(expression: str) -> dict[str, Any]:
    return {"value_template": templates.health_problem(expression), "device_class": "problem", **DIAGNOSTIC}


_SECONDS = {"device_class": "duration", "unit_of_measurement": "s"}
_BYTES = {"device_class": "data_size", "unit_of_measurement": "B"}
_HEALTH: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("sensor", "looks", "Looks", _count(templates.over_cameras("looks"))),
    ("sensor", "skipped", "Skipped looks", _count(templates.over_cameras("skipped"))),
    ("sensor", "camera_reconnects", "Camera reconnects", _count(templates.over_cameras("reconnects"))),
    ("sensor", "lateness", "Lateness", _now("value_json.lateness_s", **_SECONDS)),
    ("sensor", "longest_lateness", "Longest lateness", _now("value_json.lateness_longest_s", **_SECONDS, **HIDDEN)),
    ("sensor", "waiting_looks", "Waiting looks", _now("value_json.waiting_looks", **HIDDEN)),
    ("sensor", "reconnects", "Broker reconnects", _count("value_json.broker.reconnects")),
    ("sensor", "outbox", "Outbox", _now("value_json.broker.waiting")),
    ("sensor", "dropped", "Dropped messages", _count("value_json.broker.dropped")),
    ("sensor", "refused", "Refused messages", _count("value_json.broker.refused", **HIDDEN)),
    ("binary_sensor", "store", "Store", _problem("not value_json.store.working")),
    ("sensor", "store_size", "Store size", _now("value_json.store.bytes", **_BYTES, **HIDDEN)),
    ("binary_sensor", "clock", "Clock", _problem("not value_json.clock_synced")),
    ("sensor", "memory", "Memory", _now("value_json.process.resident_bytes", **_BYTES, **HIDDEN)),
    ("sensor", "uptime", "Uptime", _now("value_json.uptime_s", **_SECONDS, **HIDDEN)),
)
