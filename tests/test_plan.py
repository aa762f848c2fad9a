"""A reload disturbs only what changed."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from support.making import question

from edged.core.answer_types import YesNo
from edged.core.secret import Secret
from edged.core.specs import (
    BrokerSpec,
    CameraSpec,
    ClientCertificate,
    Config,
    Every,
    FramesSpec,
    Generation,
    ListenAddress,
    ModelSpec,
    PageSpec,
    SourceSpec,
)
from edged.service.plan import plan

GATE = question("Open?", YesNo(), "gate", then=(question("A car?", YesNo(), "car"),))
DOCK = CameraSpec("dock", SourceSpec("rtsp", Secret("rtsp://a:1@h/"), "rtsp://h/"), questions=(GATE,))
YARD = CameraSpec("yard", SourceSpec("path", Secret("x"), "x"), questions=(GATE,))
OLD = Config("box", ModelSpec(Path("m")), BrokerSpec(), (DOCK, YARD), None, "r1", Path("edged.yaml"))


def changed(camera: CameraSpec) -> Config:
    return replace(OLD, cameras=(camera, YARD), rev="r2")


def test_nothing_changed_is_no_plan():
    same = plan(OLD, replace(OLD, rev="r2"))
    assert not same
    assert str(same) == "2 cameras untouched"


def test_a_changed_prompt_reopens_nothing():
    change = plan(OLD, changed(replace(DOCK, questions=(replace(GATE, prompt="Shut?"),))))
    assert (change.changed, change.reopen, change.model) == (("dock",), (), False)
    assert str(change) == "1 camera changed, 1 untouched"


def test_a_rotated_password_reopens_the_camera():
    source = replace(DOCK.source, address=Secret("rtsp://a:2@h/"))
    assert plan(OLD, changed(replace(DOCK, source=source))).reopen == ("dock",)


def test_a_changed_interval_reopens_nothing():
    change = plan(OLD, changed(replace(DOCK, schedule=Every(5.0))))
    assert (change.changed, change.reopen) == (("dock",), ())


def test_cameras_are_started_and_stopped():
    change = plan(OLD, replace(OLD, cameras=(YARD, replace(YARD, name="shop"))))
    assert (change.stop, change.start, change.untouched) == (("dock",), ("shop",), ("yard",))
    assert str(change) == "1 camera started, 1 stopped, 1 untouched"


BROKER = replace(OLD.mqtt, username="edged", password=Secret("old"))
MUTUAL = ClientCertificate(Path("client.pem"), Path("client.key"))
CERTIFICATE = "the broker's certificate"


@pytest.mark.parametrize(
    ("changes", "summary"),
    [
        ({}, "2 cameras untouched"),
        ({"model": ModelSpec(Path("n"))}, "2 cameras untouched, model changed"),
        ({"node": "other"}, "2 cameras untouched, node changed"),
        ({"mqtt": replace(BROKER, host="other")}, "2 cameras untouched, broker changed"),
        ({"mqtt": replace(BROKER, password=Secret("new"))}, "2 cameras untouched, broker login changed"),
        ({"mqtt": replace(BROKER, ca=Path("ca.pem"))}, "2 cameras untouched, broker CA changed"),
        ({"mqtt": replace(BROKER, prefix="site")}, "2 cameras untouched, topic prefix changed"),
        ({"node": "other", "mqtt": replace(BROKER, client_id="edged-other")}, "2 cameras untouched, node changed"),
        ({"mqtt": replace(BROKER, port=8883, tls=True)}, "2 cameras untouched, broker changed"),
        ({"mqtt": replace(BROKER, client_id="mine")}, "2 cameras untouched, client id changed"),
        ({"mqtt": replace(BROKER, insecure=True)}, f"2 cameras untouched, verification of {CERTIFICATE} changed"),
        ({"mqtt": replace(BROKER, files_rev="r2")}, f"2 cameras untouched, content of {CERTIFICATE} files changed"),
        ({"mqtt": replace(BROKER, client_certificate=MUTUAL)}, "2 cameras untouched, client certificate changed"),
        ({"mqtt": replace(BROKER, password_files=(Path("secret"),))}, "2 cameras untouched, broker settings changed"),
        ({"mqtt": replace(BROKER, allow_prompts=True)}, "2 cameras untouched, allow_prompts changed"),
        ({"homeassistant": None, "metrics": ("::1", 9)}, "2 cameras untouched, metrics changed, homeassistant changed"),
        ({"frames": FramesSpec()}, "2 cameras untouched, frames changed"),
        ({"language": "ko", "page": PageSpec()}, "2 cameras untouched, language changed, page changed"),
        ({"generation": Generation(max_new_tokens=9)}, "2 cameras untouched, generation changed"),
        ({"history": None, "model": ModelSpec(Path("n"))}, "2 cameras untouched, model changed, history changed"),
    ],
)
def test_the_summary_names_what_changed(changes: dict[str, Any], summary: str):
    before = replace(OLD, mqtt=BROKER)
    assert str(plan(before, replace(before, **changes))) == summary


def test_model_and_publisher_are_replaced_only_when_they_change():
    assert plan(OLD, replace(OLD, model=ModelSpec(Path("n")))).model
    assert plan(OLD, replace(OLD, node="other")).mqtt
    assert plan(OLD, replace(OLD, mqtt=BrokerSpec(password=Secret("new")))).mqtt
    assert not plan(OLD, changed(replace(DOCK, max_age_s=9.0))).mqtt


def test_another_time_zone_changes_every_camera():
    change = plan(OLD, replace(OLD, timezone="Asia/Seoul"))
    assert (change.changed, change.reopen) == (("dock", "yard"), ())


CHANGES: dict[str, list[Any]] = {
    "node": ["other"],
    "model": [ModelSpec(Path("n"))],
    "mqtt": [BrokerSpec(port=8883), BrokerSpec(allow_prompts=True)],
    "cameras": [(DOCK,), (DOCK, YARD, replace(YARD, name="shop")), (DOCK, replace(YARD, max_age_s=9.0))],
    "timezone": ["Asia/Seoul"],
    "language": ["ko"],
    "generation": [Generation(max_new_tokens=9)],
    "history": [None],
    "frames": [FramesSpec()],
    "metrics": [ListenAddress("127.0.0.1", 9)],
    "page": [PageSpec()],
    "homeassistant": [None],
}


def test_every_key_that_is_compared_is_known_to_the_next_test():
    assert {field.name for field in fields(Config) if field.compare} - {"rev"} == set(CHANGES)


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in CHANGES.items() for value in values])
def test_each_change_alone_is_a_plan(key: str, value: Any):
    change = plan(OLD, replace(OLD, **{key: value}))
    assert change
    assert str(change) != "2 cameras untouched"
