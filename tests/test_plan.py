"""A reload disturbs only what changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from support.making import question

from edged.core.answer_types import YesNo
from edged.core.secret import Secret
from edged.core.specs import BrokerSpec, CameraSpec, Config, Every, ModelSpec, SourceSpec
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
    found = plan(OLD, changed(replace(DOCK, questions=(replace(GATE, prompt="Shut?"),))))
    assert (found.changed, found.reopen, found.reschedule, found.model) == (("dock",), (), (), False)
    assert str(found) == "1 camera changed, 1 untouched"


def test_a_rotated_password_reopens_the_camera():
    source = replace(DOCK.source, address=Secret("rtsp://a:2@h/"))
    assert plan(OLD, changed(replace(DOCK, source=source))).reopen == ("dock",)


def test_a_changed_interval_only_changes_the_schedule():
    found = plan(OLD, changed(replace(DOCK, schedule=Every(5.0))))
    assert (found.reopen, found.reschedule) == ((), ("dock",))


def test_questions_that_left_are_retired_with_their_follow_ups():
    assert plan(OLD, changed(replace(DOCK, questions=()))).retired == (("dock", ("gate", "car")),)


def test_cameras_come_and_go():
    found = plan(OLD, replace(OLD, cameras=(YARD, replace(YARD, name="shop"))))
    assert (found.stop, found.start, found.untouched) == (("dock",), ("shop",), ("yard",))
    assert str(found) == "1 camera started, 1 camera stopped, 1 untouched"


def test_model_and_broker_are_rebuilt_only_when_they_change():
    assert plan(OLD, replace(OLD, model=ModelSpec(Path("n")))).model
    assert plan(OLD, replace(OLD, node="other")).mqtt
    assert plan(OLD, replace(OLD, mqtt=BrokerSpec(password=Secret("new")))).mqtt


def test_another_time_zone_reschedules_all():
    assert plan(OLD, replace(OLD, timezone="Asia/Seoul")).reschedule == ("dock", "yard")
