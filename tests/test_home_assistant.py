"""Discovery in a real Home Assistant: what its entities read over refusals, outages and restarts. With --long."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.broker import HOST, Mosquitto, Subscriber, an_answer
from support.home_assistant import HomeAssistant, check_installed
from support.making import question
from support.world import camera
from test_home_assistant_examples import EXAMPLES, entity_ids, named, read, shipped

from edged.core.answer_types import AnswerType, Choices, Json, Number, Text, YesNo
from edged.core.conditions import OneOf
from edged.core.specs import AlertSpec, BrokerSpec, Config, ModelSpec
from edged.core.types import AlertState, Answer, CameraState, utc_now
from edged.mqtt.publisher import MqttPublisher
from edged.store.store import DiskStore

pytestmark = [pytest.mark.long, pytest.mark.timeout(600), pytest.mark.usefixtures("home_assistant_is_installed")]

SCENE = "A yard with it's <gate>. " * 20
# question: its type, a value, what its entity reads
TYPES: dict[str, tuple[AnswerType, Any, str]] = {
    "people": (Number(True), 3, "3"),
    "level": (Number(False), 2.5, "2.5"),
    "gate": (YesNo(), True, "on"),
    "weather": (Choices((("a", "clear"), ("b", "none"))), "none", "none"),
    "scene": (Text(), SCENE, SCENE[:250].strip()),
    "safety": (Json("{}"), {"danger": False}, '{"danger":false}'),
}
FRESH = {name: state for name, (_, _, state) in TYPES.items()} | {"gate_alert": "on"}
UNKNOWN = dict.fromkeys(FRESH, "unknown")
UNAVAILABLE = dict.fromkeys(FRESH, "unavailable")
UNUSABLE = ("Skipping pip", "aiohttp_fast_zlib")  # warnings about how Home Assistant was installed


def asking(*names: str) -> Config:
    asked = [
        question("Q?", TYPES[name][0], name, alert=AlertSpec(OneOf((True,))) if name == "gate" else None)
        for name in names or TYPES
    ]
    return Config(
        "box",
        ModelSpec(Path("model")),
        BrokerSpec(),
        (camera("dock", *asked, image="each"),),
        None,
        "r",
        Path("e.yaml"),
    )


class Stage:
    """A broker, Home Assistant, and a publisher with a store on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.broker = Mosquitto(folder)
        self.broker.start()
        self.home = HomeAssistant(folder / "ha", self.broker.port)
        self.publisher: MqttPublisher | None = None
        self.store: DiskStore | None = None

    def close(self) -> None:
        if self.publisher:
            self.stop()
        self.home.__exit__()
        self.broker.kill()

    def start(self, config: Config) -> None:
        """Start edged, with its cameras online."""
        self.store = DiskStore(self.folder / "edged.db", lambda: True)
        self.store.open()
        self.publisher = MqttPublisher(BrokerSpec(HOST, self.broker.port), config.node, self.store, version="1.2.3")
        self.publisher.follow(config)
        self.publisher.start()
        self.publisher.online()
        for spec in config.cameras:
            self.publisher.camera(spec.name, CameraState(True, None, utc_now()))

    def stop(self) -> None:
        assert self.publisher
        assert self.store
        self.publisher.close()
        self.store.close()
        self.publisher = None

    def answer(self, expires_s: float = 180.0, **changes: Any) -> None:
        """Answer every question with its value, or as the changes say."""
        assert self.publisher
        self.publisher.answers([an_answer_to(name, expires_s, **changes) for name in TYPES], [], b"\xff\xd8 a picture")

    def reads(self, wanted: Mapping[str, str | None], timeout_s: float = 40.0) -> None:
        """Wait until the entities of these questions read so; None: there is none."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = self.read(*wanted)
            if found == wanted:
                return
            wrong = {name: state for name, state in found.items() if state != wanted[name]}
            assert time.monotonic() < deadline, f"{wrong}\n{self.home.log()[-2000:]}"
            time.sleep(0.1)

    def read(self, *names: str) -> dict[str, str | None]:
        states, ids = self.home.states(), self.ids()
        return {name: states.get(ids.get(name, "")) for name in names}

    def ids(self) -> dict[str, str]:
        """The entities of the dock, by the last part of their unique id; of the box as it stands."""
        return {unique.removeprefix("edged_box_dock_"): entity for entity, unique in self.home.ask("entities").items()}

    def has(self, wanted: Mapping[str, str], timeout_s: float = 40.0) -> None:
        """Wait until the entities with these unique ids have these entity ids, and there are no others."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = {unique: entity for entity, unique in self.home.ask("entities").items()}
            if found == wanted:
                return
            assert time.monotonic() < deadline, f"{set(found.items()) ^ set(wanted.items())}\n{self.home.log()[-2000:]}"
            time.sleep(0.1)

    def warnings(self) -> list[str]:
        lines = self.home.log().splitlines()
        return [line for line in lines if ("WARN" in line or "ERROR" in line) and not any(u in line for u in UNUSABLE)]


def an_answer_to(name: str, expires_s: float, **changes: Any) -> Answer:
    kind, value, _ = TYPES[name]
    now = time.time()
    own: dict[str, Any] = {"value": value, "type": kind.kind, "frame_ts": now, "answered_ts": now}
    if name == "gate":
        own["alert"] = AlertState(True, utc_now())
    return replace(an_answer(f"{name} {now}", question=name, expires_s=expires_s), **(own | changes))


@pytest.fixture(scope="session")
def home_assistant_is_installed() -> None:
    check_installed()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    try:
        stage.home.start()
        yield stage
    finally:
        stage.close()


REFUSAL: dict[str, Any] = {"value": None, "status": "unsure", "reason": "confidence 0.2 is below min_confidence 0.7"}


def test_every_type_of_answer_fresh_refused_expired_and_fresh_again(stage: Stage):
    stage.start(asking())
    stage.answer()
    stage.reads(FRESH)
    ids = stage.ids()
    assert stage.home.attributes(ids["scene"])["text"] == SCENE
    assert stage.home.attributes(ids["safety"])["danger"] is False
    assert stage.home.attributes(ids["weather"])["options"] == ["clear", "none"]
    assert stage.home.ask("image", entity=ids["image"]) == "ÿØ a picture"
    assert stage.home.ask("devices") == {"Box": None, "Dock": "Box"}
    stage.answer(**REFUSAL)
    stage.reads({**UNKNOWN, "gate_alert": "on"})
    assert stage.home.attributes(ids["people"])["reason"] == REFUSAL["reason"]
    stage.answer(expires_s=2.0)
    stage.reads(FRESH)
    stage.reads(UNKNOWN)
    stage.answer()
    stage.reads(FRESH)
    assert stage.warnings() == []


def test_a_camera_or_a_box_that_is_down_is_unavailable(stage: Stage):
    stage.start(asking())
    stage.answer()
    stage.reads({**FRESH, "availability": "on"})
    assert stage.publisher
    stage.publisher.camera("dock", CameraState(False, "no connection", utc_now()))
    stage.reads({**UNAVAILABLE, "availability": "off", "active": "unknown", "edged_box_bridge_state": "on"})
    stage.publisher.camera("dock", CameraState(True, None, utc_now()))
    stage.reads(FRESH)
    stage.stop()
    stage.reads({**UNAVAILABLE, "availability": "unavailable", "edged_box_bridge_state": "off"})


def test_answers_outlast_a_restart_of_each_of_the_three(stage: Stage):
    stage.start(asking())
    stage.answer()
    stage.reads(FRESH)
    stage.home.stop()
    stage.home.start()
    stage.reads(FRESH)
    stage.broker.kill()  # it has no store
    stage.reads(UNAVAILABLE)
    stage.broker.start()
    stage.reads(FRESH, 90.0)
    stage.stop()
    stage.reads(UNAVAILABLE)
    stage.start(asking())
    stage.reads(FRESH)
    # Of templates and entities; that the broker was gone is told by mqtt.client, and by asyncio.
    own = [line for line in stage.warnings() if "mqtt.client" not in line and "[asyncio]" not in line]
    assert own == []


def test_an_expired_answer_never_comes_back_whatever_is_restarted(stage: Stage):
    stage.start(asking())
    stage.answer(expires_s=3.0)
    stage.reads(FRESH)
    stage.stop()
    stage.reads(UNAVAILABLE)
    expired = time.monotonic() + 3.0
    while time.monotonic() < expired:
        stage.home.states()
    stage.start(asking())  # Home Assistant still remembers the values
    stage.reads(UNKNOWN)
    stage.home.stop()
    stage.home.start()
    stage.reads(UNKNOWN)
    stage.answer(expires_s=3.0)
    stage.reads(FRESH)
    stage.home.stop()  # with the values in its storage
    stage.home.start()
    stage.reads(UNKNOWN)


def test_a_refusal_while_home_assistant_is_off_is_read_after_its_start(stage: Stage):
    stage.start(asking())
    stage.answer()
    stage.reads(FRESH)
    stage.home.stop()
    stage.answer(**REFUSAL)
    stage.home.start()
    stage.reads({**UNKNOWN, "gate_alert": "on"})


@pytest.mark.parametrize("order", list(itertools.permutations(["edged", "broker", "home"])), ids="-".join)
def test_all_three_are_down_and_come_back_in_any_order(stage: Stage, order: tuple[str, ...]):
    starts = {"edged": lambda: stage.start(asking()), "broker": stage.broker.start, "home": stage.home.start}
    stage.start(asking())
    stage.answer()
    stage.reads(FRESH)
    stage.home.stop()
    stage.stop()
    stage.broker.kill()
    for name in order:
        starts[name]()
    stage.reads(FRESH, 90.0)


def test_what_leaves_the_config_leaves_home_assistant(stage: Stage):
    stage.start(asking())
    stage.answer()
    stage.reads(FRESH)
    assert stage.publisher
    stage.publisher.follow(asking("people", "gate"))
    stage.reads({"people": "3", "gate": "on", "weather": None, "scene": None, "safety": None, "level": None})
    stage.stop()
    changed = replace(asking("people"), cameras=(camera("dock", question("Q?", YesNo(), "people")),))
    stage.start(changed)  # of another type, and without a picture, since edged was off
    stage.reads({"people": "unknown", "gate": None, "gate_alert": None, "image": None})
    assert stage.ids()["people"].startswith("binary_sensor.")
    stage.home.stop()
    stage.home.start()
    stage.reads({"people": "unknown", "gate": None, "gate_alert": None, "image": None})
    stage.stop()
    stage.start(replace(asking(), cameras=()))
    stage.reads({"people": None, "availability": None, "edged_box_bridge_state": "on"})
    assert stage.publisher
    stage.publisher.follow(replace(asking(), homeassistant=None))
    stage.reads({"edged_box_bridge_state": None})
    assert stage.home.ask("devices") == {}


def test_a_device_that_is_changed_keeps_its_answers(stage: Stage):
    stage.start(asking())
    stage.answer()
    stage.reads(FRESH)
    assert stage.publisher
    [dock] = asking().cameras
    stage.publisher.follow(replace(asking(), cameras=(replace(dock, title="Dock 2", at_least_every_s=9.0),)))
    deadline = time.monotonic() + 20.0
    while "Dock 2" not in stage.home.ask("devices"):
        assert time.monotonic() < deadline
    stage.reads(FRESH)


def test_the_switch_and_the_button_send_requests(stage: Stage):
    listening = Subscriber(stage.broker.port)
    stage.start(asking())
    stage.reads({"active": "unknown", "look": "unknown"})
    ids = stage.ids()
    stage.home.call("button.press", entity_id=ids["look"])
    [look] = listening.wait_for_topic("edged/box/bridge/request/look")
    assert (look.json, look.retain) == ({"camera": "dock"}, False)
    stage.home.call("switch.turn_off", entity_id=ids["active"])
    [off] = listening.wait_for_topic("edged/box/bridge/request/active")
    assert (off.json, off.retain) == ({"camera": "dock", "active": False}, False)
    paused = {"active": False, "questions": {"people": False}, "since": 1.0}
    listening.publish("edged/box/dock/active", json.dumps(paused).encode(), retain=True)
    stage.reads({"active": "off"})
    listening.close()


def test_every_entity_has_the_id_that_the_readme_and_the_dashboard_say(stage: Stage):
    config = shipped()
    stage.start(config)
    stage.has(entity_ids(config))
    assert named(read(EXAMPLES / "dashboard.yaml")) - stage.home.states().keys() == set()
    assert stage.warnings() == []


def test_names_at_the_edge_of_what_a_config_allows_give_valid_entity_ids(stage: Stage):
    cameras = (
        camera("a", question("Q?", YesNo(), "b_c", alert=AlertSpec(OneOf((True,)))), image="each"),
        camera("a_b", question("Q?", YesNo(), "c", alert=AlertSpec(OneOf((True,))))),  # the same unique id
        camera("yard--2-", question("Q?", Number(True), "__1", title="Wie viele?")),
        camera("-", question("Q?", YesNo(), "_")),
        camera("x" * 60, question("Q?", Text(), "y" * 60)),
    )
    config = replace(asking(), node="box-1", cameras=cameras)
    wanted = entity_ids(config)
    assert len(set(wanted.values())) == len(wanted)
    stage.start(config)
    stage.has(wanted)
    stage.home.stop()
    stage.home.start()
    stage.has(wanted)
    assert stage.warnings() == []


AUTOMATION = """
- alias: gate
  use_blueprint:
    path: edged/alert_with_picture.yaml
    input:
      alert: binary_sensor.dock_gate_alert
      picture: image.dock_image
      notify: notify.phone
      tell_end: true
"""


def test_the_blueprint_notifies_with_the_picture_when_an_alert_goes_on_and_off(tmp_path: Path):
    stage = Stage(tmp_path)
    try:
        stage.home.start()
        stage.start(asking())
        stage.answer()
        stage.reads(FRESH)
        stage.home.stop()
        stage.home.automate(AUTOMATION)
        stage.home.start()
        stage.reads(FRESH)
        assert stage.home.states()["automation.gate"] == "on"
        for on in (False, True, False):
            stage.answer(alert=AlertState(on, utc_now()))
            stage.reads({"gate_alert": "on" if on else "off"})
        deadline = time.monotonic() + 10.0
        while len(notified := stage.home.ask("notified")) < 4:
            assert time.monotonic() < deadline, notified
        unseen, ends, begins, _ = notified  # the first went on before there was an automation
        assert unseen == begins | {"data": unseen["data"]}
        assert (ends["title"], ends["message"]) == ("edged", "Dock Gate alert is over")
        assert begins["message"] == "Dock Gate alert is on"
        assert begins["data"]["image"].startswith("/api/image_proxy/image.")
        assert stage.warnings() == []
        stage.answer(alert=AlertState(True, utc_now()))
        stage.reads({"gate_alert": "on"})
        stage.home.stop()
        stage.home.start()
        stage.reads({"gate_alert": "on"})
        assert stage.home.ask("notified") == []  # it was notified before the restart
    finally:
        stage.close()
