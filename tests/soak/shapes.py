"""Configs as data: their YAML, the topics that follow from them, and every kind of change from one to the next."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from ruamel.yaml import YAML

FAST = ("200ms", "300ms", "400ms", "500ms")
NODES = ("box", "box-b", "box-c")
PREFIXES = ("edged", "site/edged", "plant")
ZONES = ("UTC", "Asia/Seoul", "America/New_York")
TYPES: tuple[Any, ...] = ("yes_no", "integer", "number", ["clear", "rain", "snow"], "text")
INSTRUCTIONS = {
    "yes_no": "Answer Yes or No.",
    "integer": "Answer with one number.",
    "number": "Answer with one number.",
    "choices": "Answer with one of: clear, rain, snow.",
    "text": "",
}
LONG = 100  # tokens
MOST_CAMERAS = 6
FEWEST_CAMERAS = 3

Question = dict[str, Any]
Camera = dict[str, Any]


class NotNow(Exception):
    """This change is not possible with the present config."""


@dataclass(frozen=True)
class Setting:
    """The surroundings of edged: ports, folders, and the valid passwords."""

    folder: Path
    ports: tuple[int, int]
    rtsp_port: int
    passwords: dict[str, str]  # by the name of the secret

    @property
    def models(self) -> tuple[Path, Path]:
        return (self.folder / "tiny", self.folder / "copy")

    @property
    def pictures(self) -> tuple[Path, Path]:
        return (self.folder / "pictures-a", self.folder / "pictures-b")

    def rtsp(self, path: str) -> str:
        return f"rtsp://viewer:{{secret:dock}}@127.0.0.1:{self.rtsp_port}/{path}"


@dataclass
class Shape:
    """One config and its secrets (None: the file is missing)."""

    model: str
    cameras: dict[str, Camera]
    secrets: dict[str, str | None]
    node: str = NODES[0]
    prefix: str = PREFIXES[0]
    broker: int = 0
    user: str = "one"
    zone: str = ZONES[0]
    names: int = 0  # how many names and prompts were generated
    ca: str | None = None

    @property
    def place(self) -> tuple[int, str, str]:
        return (self.broker, self.prefix, self.node)

    def connected(self, setting: Setting) -> bool:
        return self.secrets[f"mqtt-{self.user}"] == setting.passwords[f"mqtt-{self.user}"]

    def looks_often(self, name: str) -> bool:
        """True if this camera looks several times a second."""
        camera = self.cameras[name]
        return bool(camera["ask"]) and camera.get("every") in FAST and "hours" not in camera

    def text(self, setting: Setting, number: int) -> str:
        scheme = "mqtts" if self.ca else "mqtt"
        mqtt: dict[str, Any] = {
            "url": f"{scheme}://127.0.0.1:{setting.ports[self.broker]}",
            "username": self.user,
            "password": {"secret": f"mqtt-{self.user}"},
            "prefix": self.prefix,
        }
        if self.ca:
            mqtt["ca"] = self.ca
        tree = {
            "node": self.node,
            "timezone": self.zone,
            "model": {"path": self.model, "max_new_tokens": 8},
            "mqtt": mqtt,
            "cameras": copy.deepcopy(self.cameras),
        }
        yaml, out = YAML(typ="safe", pure=True), io.StringIO()
        yaml.default_flow_style = False
        yaml.dump(tree, out)
        return f"# save {number}\n{out.getvalue()}"

    def questions(self) -> dict[tuple[str, str], tuple[str, str]]:
        """Prompt, as it is asked, and type of every question, by camera and name."""
        return {
            (name, key): _asked(question)
            for name, camera in self.cameras.items()
            for key, question in _all(camera["ask"])
        }

    def topics(self) -> set[tuple[int, str]]:
        """The topics that may have a retained message under this config, each with the number of its broker."""
        names = ["bridge/state", "bridge/info", "bridge/health"]
        names += [f"{camera}/{state}" for camera in self.cameras for state in ("availability", "active")]
        names += [f"{camera}/{question}" for camera, question in self.questions()]
        names += [
            f"{name}/image/jpeg" for name, camera in self.cameras.items() if camera.get("image") and camera["ask"]
        ]
        devices = [f"edged_{self.node}", *(f"edged_{self.node}_{camera}" for camera in self.cameras)]
        topics = [f"{self.prefix}/{self.node}/{name}" for name in names]
        topics += [f"homeassistant/device/{device}/config" for device in devices]
        return {(self.broker, topic) for topic in topics}

    def new_number(self) -> int:
        self.names += 1
        return self.names


def _all(questions: dict[str, Question]) -> list[tuple[str, Question]]:
    flat: list[tuple[str, Question]] = []
    for name, question in questions.items():
        flat += [(name, question), *_all(question.get("then", {}))]
    return flat


def kind(question: Question) -> str:
    answer = question.get("answer", "text")
    return "choices" if isinstance(answer, list) else str(answer)


def _asked(question: Question) -> tuple[str, str]:
    return f"{question['prompt']} {INSTRUCTIONS[kind(question)]}".strip(), kind(question)


def first(setting: Setting) -> Shape:
    """Four cameras, one of them RTSP."""
    pictures, others = map(str, setting.pictures)
    gate: Question = {
        "prompt": "Is the gate open?",
        "answer": "yes_no",
        "then": {"car": {"prompt": "Is there a car?", "answer": "yes_no", "when": True}},
    }
    people: Question = {"prompt": "How many people?", "answer": "integer", "range": [0, 40]}
    return Shape(
        model=str(setting.models[0]),
        secrets=dict(setting.passwords),
        cameras={
            "dock": {"source": setting.rtsp("h264"), "every": "400ms", "image": True, "ask": {"gate": gate}},
            "yard": {"source": pictures, "every": "300ms", "ask": {"people": people, "gate": copy.deepcopy(gate)}},
            "shop": {"source": others, "every": "500ms", "image": True, "ask": {"people": copy.deepcopy(people)}},
            "hall": {
                "source": f"{pictures}/0.png",
                "every": "400ms",
                "when_changed": {"at_least_every": "2s"},
                "ask": {"gate": copy.deepcopy(gate), "scene": {"prompt": "Describe it.", "max_new_tokens": LONG}},
            },
        },
    )


Change = Callable[[Shape, Random, Setting], None]


@dataclass
class Kinds:
    """Changes by name, with their weights."""

    changes: dict[str, Change] = field(default_factory=dict)
    weights: dict[str, int] = field(default_factory=dict)

    def kind(self, name: str, weight: int = 2) -> Callable[[Change], Change]:
        def add(change: Change) -> Change:
            self.changes[name], self.weights[name] = change, weight
            return change

        return add


GOOD = Kinds()


def _a_camera(shape: Shape, chance: Random, fits: Callable[[Camera], Any] = lambda _: True) -> str:
    names = [name for name, camera in shape.cameras.items() if fits(camera)]
    if not names:
        raise NotNow
    return chance.choice(names)


def _a_question(shape: Shape, chance: Random, fits: Callable[[Question], Any] = lambda _: True) -> Question:
    questions = [each for camera in shape.cameras.values() for _, each in _all(camera["ask"]) if fits(each)]
    if not questions:
        raise NotNow
    return chance.choice(questions)


def _new_question(shape: Shape, chance: Random) -> Question:
    question = {"prompt": f"Question {shape.new_number()}?", "answer": copy.copy(chance.choice(TYPES))}
    if question["answer"] == "text":
        question["max_new_tokens"] = LONG  # so that reloads come in the middle of a look
    return question


def _is_rtsp(camera: Camera) -> bool:
    return str(camera["source"]).startswith("rtsp:")


@GOOD.kind("camera added", 4)
def _(shape: Shape, chance: Random, setting: Setting) -> None:
    if len(shape.cameras) >= MOST_CAMERAS:
        raise NotNow
    has_rtsp = any(_is_rtsp(camera) for camera in shape.cameras.values())
    source = str(chance.choice(setting.pictures)) if has_rtsp else setting.rtsp("h264")
    ask = {"people": _new_question(shape, chance), f"q{shape.new_number()}": _new_question(shape, chance)}
    name = "dock" if not has_rtsp and "dock" not in shape.cameras else f"camera-{shape.new_number() % 4}"
    if name in shape.cameras:
        raise NotNow
    shape.cameras[name] = {"source": source, "every": chance.choice(FAST), "image": chance.random() < 0.5, "ask": ask}


@GOOD.kind("camera removed", 4)
def _(shape: Shape, chance: Random, setting: Setting) -> None:
    if len(shape.cameras) <= FEWEST_CAMERAS:
        raise NotNow
    del shape.cameras[_a_camera(shape, chance)]


@GOOD.kind("camera renamed", 4)
def _(shape: Shape, chance: Random, setting: Setting) -> None:
    old, new = _a_camera(shape, chance), f"camera-{shape.new_number() % 4}"
    if new in shape.cameras:
        raise NotNow
    shape.cameras = {new if name == old else name: camera for name, camera in shape.cameras.items()}


@GOOD.kind("source changed", 4)
def _(shape: Shape, chance: Random, setting: Setting) -> None:
    camera = shape.cameras[_a_camera(shape, chance)]
    if _is_rtsp(camera):
        camera["source"] = setting.rtsp("sdp" if camera["source"].endswith("/h264") else "h264")
    else:
        camera["source"] = str(setting.pictures[camera["source"] == str(setting.pictures[0])])


@GOOD.kind("mask changed", 4)
def _(shape: Shape, chance: Random, setting: Setting) -> None:
    camera = shape.cameras[_a_camera(shape, chance)]
    right = round(chance.uniform(0.1, 0.9), 3)
    camera["mask"] = [{"polygon": [[0.0, 0.0], [right, 0.0], [right, 0.3]]}]


@GOOD.kind("camera's secret wrong", 2)
def _(shape: Shape, chance: Random, setting: Setting) -> None:
    _spoil(shape, "dock", "wrong pass/1")


@GOOD.kind("camera's secret missing", 2)
def _(shape: Shape, chance: Random, setting: Setting) -> None:
    _spoil(shape, "dock", None)


@GOOD.kind("broker's secret wrong", 2)
def _(shape: Shape, chance: Random, setting: Setting) -> None:
    _spoil(shape, f"mqtt-{shape.user}", "wrong pass-2")


@GOOD.kind("broker's secret missing", 2)
def _(shape: Shape, chance: Random, setting: Setting) -> None:
    _spoil(shape, f"mqtt-{shape.user}", None)


def _spoil(shape: Shape, name: str, value: str | None) -> None:
    if shape.secrets[name] == value:
        raise NotNow
    shape.secrets[name] = value


@GOOD.kind("secrets put right", 0)
def put_right(shape: Shape, chance: Random, setting: Setting) -> None:
    if shape.secrets == setting.passwords:
        raise NotNow
    shape.secrets = dict(setting.passwords)


@GOOD.kind("broker's user changed", 3)
def _(shape: Shape, chance: Random, setting: Setting) -> None:
    shape.user = "two" if shape.user == "one" else "one"


@GOOD.kind("broker switched", 4)
def _(shape: Shape, chance: Random, setting: Setting) -> None:
    # On a broker that edged cannot reach, nothing can be cleared.
    if not shape.connected(setting):
        raise NotNow
    shape.broker = 1 - shape.broker


@GOOD.kind("node renamed", 4)
def _(shape: Shape, chance: Random, setting: Setting) -> None:
    shape.node = chance.choice([name for name in NODES if name != shape.node])


@GOOD.kind("prefix changed", 4)
def _(shape: Shape, chance: Random, setting: Setting) -> None:
    shape.prefix = chance.choice([name for name in PREFIXES if name != shape.prefix])


@GOOD.kind("prompt changed", 8)
def change_prompt(shape: Shape, chance: Random, setting: Setting) -> None:
    _a_question(shape, chance)["prompt"] = f"Prompt {shape.new_number()}?"


@GOOD.kind("question added", 4)
def _(shape: Shape, chance: Random, setting: Setting) -> None:
    ask = shape.cameras[_a_camera(shape, chance, lambda camera: len(camera["ask"]) < 3)]["ask"]
    taken = {name for name, _ in _all(ask)}
    name = chance.choice([name for name in ("people", "gate", "scene", "q1", "q2") if name not in taken])
    ask[name] = _new_question(shape, chance)


@GOOD.kind("question removed", 4)
def _(shape: Shape, chance: Random, setting: Setting) -> None:
    ask = shape.cameras[_a_camera(shape, chance, lambda camera: len(camera["ask"]) > 1)]["ask"]
    del ask[chance.choice(list(ask))]


@GOOD.kind("all questions removed", 1)
def _(shape: Shape, chance: Random, setting: Setting) -> None:
    shape.cameras[_a_camera(shape, chance, lambda camera: camera["ask"])]["ask"] = {}


@GOOD.kind("question's type changed", 5)
def _(shape: Shape, chance: Random, setting: Setting) -> None:
    question = _a_question(shape, chance)
    question["answer"] = copy.copy(chance.choice([answer for answer in TYPES if answer != question.get("answer")]))
    for key in ("range", "min_confidence"):
        question.pop(key, None)
    for follow_up in question.get("then", {}).values():
        follow_up.pop("when", None)


@GOOD.kind("follow-up added", 4)
def _(shape: Shape, chance: Random, setting: Setting) -> None:
    question = _a_question(shape, chance, lambda question: "then" not in question)
    name = f"then-{shape.new_number() % 50}"
    question["then"] = {name: _new_question(shape, chance)}
    if kind(question) == "yes_no" and chance.random() < 0.5:
        question["then"][name]["when"] = True


@GOOD.kind("follow-up removed", 4)
def _(shape: Shape, chance: Random, setting: Setting) -> None:
    del _a_question(shape, chance, lambda question: "then" in question)["then"]


@GOOD.kind("min_confidence changed", 3)
def _(shape: Shape, chance: Random, setting: Setting) -> None:
    question = _a_question(shape, chance, lambda question: kind(question) != "text")
    question["min_confidence"] = round(chance.uniform(0.0, 0.9), 2)


@GOOD.kind("every changed", 4)
def _(shape: Shape, chance: Random, setting: Setting) -> None:
    camera = shape.cameras[_a_camera(shape, chance)]
    camera.pop("cron", None)
    camera["every"] = chance.choice([every for every in FAST if every != camera.get("every")])


@GOOD.kind("cron set", 2)
def _(shape: Shape, chance: Random, setting: Setting) -> None:
    _all_but_one_fast(shape)
    camera = shape.cameras[_a_camera(shape, chance, lambda camera: "every" in camera)]
    del camera["every"]
    camera["cron"] = chance.choice(["* * * * *", "*/5 6-22 * * mon-fri"])


@GOOD.kind("hours set", 2)
def _(shape: Shape, chance: Random, setting: Setting) -> None:
    _all_but_one_fast(shape)
    camera = shape.cameras[_a_camera(shape, chance, lambda camera: "hours" not in camera)]
    camera["hours"] = chance.choice(["mon-sun 00:00-24:00", "sat 03:00-03:01"])


def _all_but_one_fast(shape: Shape) -> None:
    if sum(not shape.looks_often(name) for name in shape.cameras) >= 1:
        raise NotNow


@GOOD.kind("schedules put right", 4)
def _(shape: Shape, chance: Random, setting: Setting) -> None:
    make_fast(shape)


def make_fast(shape: Shape) -> None:
    """Make every camera look several times a second, at any hour. Raises NotNow if they do already."""
    if all(shape.looks_often(name) for name in shape.cameras):
        raise NotNow
    for camera in shape.cameras.values():
        camera.pop("cron", None)
        camera.pop("hours", None)
        camera.setdefault("every", "400ms")
        camera["ask"] = camera["ask"] or {"people": _new_question(shape, Random(0))}


@GOOD.kind("time zone changed", 3)
def _(shape: Shape, chance: Random, setting: Setting) -> None:
    shape.zone = chance.choice([zone for zone in ZONES if zone != shape.zone])


@GOOD.kind("when_changed on or off", 3)
def _(shape: Shape, chance: Random, setting: Setting) -> None:
    camera = shape.cameras[_a_camera(shape, chance)]
    if not camera.pop("when_changed", None):
        camera["when_changed"] = {"at_least_every": "2s"}


@GOOD.kind("image on or off", 4)
def _(shape: Shape, chance: Random, setting: Setting) -> None:
    camera = shape.cameras[_a_camera(shape, chance)]
    camera["image"] = not camera.get("image", False)


@GOOD.kind("model changed", 1)
def _(shape: Shape, chance: Random, setting: Setting) -> None:
    shape.model = str(setting.models[shape.model == str(setting.models[0])])


@GOOD.kind("nothing but a comment", 1)
def _(shape: Shape, chance: Random, setting: Setting) -> None:
    return


@GOOD.kind("several at once", 4)
def _(shape: Shape, chance: Random, setting: Setting) -> None:
    """Three other changes in one save. Not the model, because its reload has another time limit."""
    single = [name for name in GOOD.changes if name not in ("several at once", "model changed")]
    done = 0
    while done < 3:
        try:
            GOOD.changes[chance.choice(single)](shape, chance, setting)
        except NotNow:
            continue
        done += 1


# files that edged must reject


Spoil = Callable[[Shape, str, Setting], str | None]  # None: not a regular file


def _broken_model(shape: Shape, text: str, setting: Setting) -> str:
    return text.replace(shape.model, str(setting.folder / "no-such-model"))


def _missing_ca(shape: Shape, text: str, setting: Setting) -> str:
    other = copy.deepcopy(shape)
    other.ca = "no-such-ca.pem"
    return other.text(setting, 0) + text.splitlines()[0]


BAD: dict[str, Spoil] = {
    "typo": lambda shape, text, setting: text.replace("cameras:", "camras:", 1),
    "half-written": lambda shape, text, setting: text[: text.index("cameras:") + 5],
    "nested 500 deep": lambda shape, text, setting: f"{text}deep: {'[' * 500}{']' * 500}\n",
    "99999999999h": lambda shape, text, setting: text.replace("every: ", "every: 99999999999h #", 1),
    "empty": lambda shape, text, setting: "",
    "broken model.path": _broken_model,
    "missing CA": _missing_ca,
    "FIFO": lambda shape, text, setting: None,
    "removed": lambda shape, text, setting: None,
}
