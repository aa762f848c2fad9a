"""A plan is all that a reload needs to know: applied to what runs for one config, it gives what runs for the other."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field, fields, replace
from datetime import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from support.properties import examples

from edged.core.answer_types import Choices, Number, Text, YesNo
from edged.core.conditions import Comparison, OneOf
from edged.core.secret import Secret
from edged.core.specs import (
    ANY,
    AlertSpec,
    BrokerSpec,
    CameraSpec,
    ClientCertificate,
    Config,
    ConfigWarning,
    Cron,
    Every,
    FramesSpec,
    Generation,
    HistorySpec,
    HomeAssistantSpec,
    Hours,
    ListenAddress,
    ModelSpec,
    PageSpec,
    QuestionSpec,
    RegionSpec,
    SourceSpec,
)
from edged.service.plan import Plan, plan

pytestmark = pytest.mark.timeout(3600)  # with --long
GATE = RegionSpec("gate", (0.1, 0.2, 0.6, 0.9))
NIGHT = Hours(frozenset(range(7)), time(22), time(6))
CAR = QuestionSpec("car", "A car? Answer Yes or No.", YesNo(), when=True)
ANSWERS = [Text(), YesNo(), YesNo("Open", "Shut"), Number(whole=True), Choices((("in front", "front"), ("no", None)))]

# For each field of a spec, values that differ from each other.
Values = dict[str, list[Any]]
QUESTION: Values = {
    "name": ["people", "gate", "weather"],
    "prompt": ["How many? Answer with one number.", "Is it open? Answer Yes or No."],
    "answer": ANSWERS,
    "title": ["", "Gate"],
    "region": [None, GATE],
    "generation": [Generation(), Generation(max_new_tokens=8), Generation(deadline_s=5.0)],
    "every_s": [None, 600.0],
    "min_confidence": [0.0, 0.7],
    "alert": [None, AlertSpec(OneOf((True,))), AlertSpec(Comparison(">", 3), after=2, quiet=(NIGHT,))],
    "when": [ANY, True, False, 1],
    "then": [(), (CAR,), (replace(CAR, when=False),)],
    "keep_tokens": [False],
}
SOURCES = [
    SourceSpec("rtsp", Secret("rtsp://a:1@h/"), "rtsp://h/"),
    SourceSpec("rtsp", Secret("rtsp://a:2@h/"), "rtsp://h/"),
    SourceSpec("rtsp", Secret("rtsp://h/"), "rtsp://h/", "the secret is missing"),
    SourceSpec("path", Secret("pictures"), "pictures"),
]
CAMERA: Values = {
    "name": ["dock", "yard", "shop", "gate"],
    "source": SOURCES,
    "title": ["", "Dock"],
    "schedule": [Every(30.0), Every(60.0), Cron("*/5 * * * *")],
    "hours": [(), (NIGHT,)],
    "max_age_s": [5.0, 9.0],
    "frozen_after_s": [30.0, None],
    "rotate": [0, 90],
    "mask": [(), (((0.0, 0.0), (0.5, 0.0), (0.5, 0.5)),)],
    "regions": [(), (GATE,)],
    "at_least_every_s": [None, 3600.0],
    "image": [None, "each", "on_event"],
    "size": [None, (640, 480)],
    "fps": [None, 15],
    "warm_up_s": [1.0, 0.0],
    "new_only": [False, True],
    "questions": [],
}
BROKER: Values = {
    "host": ["localhost", "broker"],
    "port": [1883, 8883],
    "tls": [False, True],
    "ca": [None, Path("ca.pem")],
    "username": [None, "edged"],
    "password": [None, Secret("1"), Secret("2")],
    "prefix": ["edged", "site"],
    "client_id": ["", "edged-dock"],
    "problem": [None, "the secret is missing"],
    "client_certificate": [None, ClientCertificate(Path("box.pem"), Path("box-key.pem"))],
    "insecure": [False, True],
    "password_files": [(), (Path("credentials/mqtt"),)],
    "files_rev": ["", "a1"],
    "allow_prompts": [False, True],
}
CORES = (("text", "0:0"),)
MODEL: Values = {
    "path": [Path("m"), Path("n")],
    "cores": [(), CORES],
    "fit": ["stretch", "letterbox"],
    "workers": [(), (CORES, (("text", "1:0"),))],
}
CONFIG: Values = {
    "node": ["box", "barn"],
    "model": [],
    "mqtt": [],
    "cameras": [],
    "timezone": [None, "UTC", "Asia/Seoul"],
    "rev": ["r1", "r2"],
    "path": [Path("edged.yaml")],
    "language": ["en", "ko"],
    "generation": [Generation(), Generation(temperature=0.5)],
    "history": [HistorySpec(), HistorySpec(keep_s=60.0), None],
    "frames": [None, FramesSpec(), FramesSpec(sample=0.5)],
    "metrics": [None, ListenAddress("127.0.0.1", 9817)],
    "page": [None, PageSpec(), PageSpec(token=Secret("1")), PageSpec(token=Secret("2"))],
    "homeassistant": [HomeAssistantSpec(), HomeAssistantSpec("ha"), None],
    "warnings": [(), (ConfigWarning("no_cameras", "edged.yaml:1: no cameras are configured"),)],
}
IRRELEVANT = {"rev", "path", "warnings"}  # nothing that runs depends on these


@pytest.mark.parametrize(
    ("spec", "values"),
    [(QuestionSpec, QUESTION), (CameraSpec, CAMERA), (BrokerSpec, BROKER), (ModelSpec, MODEL), (Config, CONFIG)],
)
def test_every_field_is_varied(spec: Any, values: Values) -> None:
    assert set(values) == {each.name for each in fields(spec)}


def varied(values: Values, **more: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """The fields of a spec. The first of their values are the likeliest, so that two specs are often equal."""
    drawn = {name: st.sampled_from([*each[:1], *each]) for name, each in values.items() if name not in more}
    return st.fixed_dictionaries({**drawn, **more})


QUESTIONS = st.lists(varied(QUESTION).map(lambda each: QuestionSpec(**each)), max_size=2).map(tuple)
CAMERAS = st.lists(
    varied(CAMERA, questions=QUESTIONS).map(lambda each: CameraSpec(**each)),
    max_size=4,
    unique_by=lambda camera: camera.name,
).map(tuple)
PARTS = {
    "model": varied(MODEL).map(lambda each: ModelSpec(**each)),
    "mqtt": varied(BROKER).map(lambda each: BrokerSpec(**each)),
    "cameras": CAMERAS,
}
CONFIGS = varied(CONFIG, **PARTS).map(lambda each: Config(**each))


@st.composite
def neighbours(draw: st.DrawFn, config: Config) -> Config:
    """The config after somebody has edited it in a few places."""
    for name in draw(st.lists(st.sampled_from([*CONFIG, "cameras"]), max_size=3)):
        strategy = PARTS.get(name, st.sampled_from(CONFIG[name] or [None]))
        config = replace(config, **{name: draw(strategy)})
    for index in draw(st.lists(st.integers(0, len(config.cameras) - 1), max_size=2)) if config.cameras else []:
        name = draw(st.sampled_from([name for name in CAMERA if name != "name"]))
        value = draw(QUESTIONS if name == "questions" else st.sampled_from(CAMERA[name]))
        cameras = list(config.cameras)
        cameras[index] = replace(cameras[index], **{name: value})
        config = replace(config, cameras=tuple(draw(st.permutations(cameras))))
    return config


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Config, Config]:
    old = draw(CONFIGS)
    return old, draw(st.one_of(neighbours(old), neighbours(old), CONFIGS))


@dataclass
class Running:
    """What runs for a config, with nothing but a plan to tell what has to change for another one."""

    cameras: dict[str, tuple[CameraSpec, str | None]] = field(default_factory=dict)  # with the zone of the schedule
    connections: dict[str, Any] = field(default_factory=dict)
    model: ModelSpec | None = None
    publisher: tuple[str, BrokerSpec] | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def for_config(cls, config: Config) -> Running:
        return cls(
            {camera.name: (camera, config.timezone) for camera in config.cameras},
            {camera.name: camera.connection for camera in config.cameras},
            config.model,
            (config.node, config.mqtt),
            settings(config),
        )

    def apply(self, change: Plan, new: Config) -> None:
        for name in change.stop:
            del self.cameras[name], self.connections[name]
        for camera in new.cameras:
            if camera.name in (*change.start, *change.changed):
                self.cameras[camera.name] = (camera, new.timezone)
            if camera.name in (*change.start, *change.reopen):
                self.connections[camera.name] = camera.connection
        self.model = new.model if change.model else self.model
        self.publisher = (new.node, new.mqtt) if change.mqtt else self.publisher
        for key in change.settings:
            self.settings[key] = settings(new)[key]


def settings(config: Config) -> dict[str, Any]:
    others = set(CONFIG) - IRRELEVANT - {"node", "model", "mqtt", "cameras", "timezone"}
    return {name: getattr(config, name) for name in others} | {"allow_prompts": config.mqtt.allow_prompts}


@examples(200)
@given(pairs())
def test_a_plan_applied_to_what_runs_gives_what_runs_for_the_new_config(both: tuple[Config, Config]) -> None:
    old, new = both
    change = plan(old, new)
    running = Running.for_config(old)
    running.apply(change, new)
    assert running == Running.for_config(new)
    assert bool(change) == (Running.for_config(old) != running)
    running.apply(plan(new, old), old)
    assert running == Running.for_config(old)


@examples(100)
@given(pairs())
def test_a_plan_names_each_camera_once_and_disturbs_no_other(both: tuple[Config, Config]) -> None:
    old, new = both
    before, after = ({camera.name: camera for camera in config.cameras} for config in both)
    change = plan(old, new)
    assert sorted(change.stop + change.changed + change.untouched) == sorted(before)
    assert sorted(change.start + change.changed + change.untouched) == sorted(after)
    assert set(change.reopen) <= set(change.changed)
    same_zone = old.timezone == new.timezone
    assert not [name for name in change.changed if before[name] == after[name] and same_zone]
    assert not [name for name in change.reopen if before[name].connection == after[name].connection]
    event(f"{len(change.untouched)} untouched, {len(change.reopen)} reopened")


@examples(50)
@given(CONFIGS, st.sampled_from(CONFIG["rev"]), st.sampled_from(CONFIG["warnings"]))
def test_the_plan_to_an_equal_config_is_empty(config: Config, rev: str, warnings: tuple[ConfigWarning, ...]) -> None:
    again = replace(copy.deepcopy(config), rev=rev, warnings=warnings)
    assert not plan(config, again)
    assert re.fullmatch(r"\d cameras? untouched", str(plan(config, again)))


@examples(50)
@given(pairs())
def test_the_summary_counts_each_camera_once_and_names_every_part_that_changed(both: tuple[Config, Config]) -> None:
    old, new = both
    change = plan(old, new)
    counted = re.findall(r"(\d+)(?: cameras?)? (started|stopped|changed|untouched)", str(change))
    assert {what: int(count) for count, what in counted if int(count)} == {
        what: len(names)
        for what, names in (
            ("started", change.start),
            ("stopped", change.stop),
            ("changed", change.changed),
            ("untouched", change.untouched),
        )
        if names
    }
    for part in (*(["model"] if change.model else []), *change.mqtt, *change.settings):
        assert f"{part} changed" in str(change)
