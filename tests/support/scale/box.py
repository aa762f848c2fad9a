"""A box with many file cameras: its config, a daemon with a model of known times, and all that it publishes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from PIL import Image

from support.broker import HOST, WITHIN_S
from support.making import picture
from support.own_model import SEARCH_PATH
from support.running import Edged

DAEMON = Path(__file__).with_name("daemon.py")
QUESTION = "{q: {prompt: Well?, answer: yes_no}}"


@dataclass(frozen=True, slots=True)
class ModelTimes:
    """What a look costs the model, with one question."""

    encode_s: float = 0.0
    ask_s: float = 0.0
    load_s: float = 0.0

    @property
    def look_s(self) -> float:
        return self.encode_s + self.ask_s


@dataclass(slots=True)
class Published:
    """The answers of each camera in their order, and what bridge/health said."""

    answers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    health: list[dict[str, Any]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def take(self, topic: str, payload: bytes) -> None:
        camera, what = topic.split("/")[2:4]
        with self.changed:
            if camera == "bridge" and what == "health":
                self.health.append(json.loads(payload))
            elif what == "q":
                self.answers.setdefault(camera, []).append(json.loads(payload))
            self.changed.notify_all()

    def wait_for(self, condition: Callable[[Published], bool], timeout_s: float = WITHIN_S) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: condition(self), timeout_s), "what was awaited was not published"


@contextmanager
def listening(port: int) -> Iterator[Published]:
    published = Published()
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda _client, _data, message: published.take(message.topic, bytes(message.payload))
    client.connect(HOST, port)
    client.subscribe("edged/box/+/+", qos=1)
    client.loop_start()
    yield published
    client.disconnect()
    client.loop_stop()


def write_config(
    folder: Path, port: int, cameras: Mapping[str, float], more: str = "", source: str | None = None
) -> Path:
    """Cameras by name, with the seconds from one look to the next. Without a source, each has a picture of its own."""
    lines = [f"node: box\nmodel: {{path: {folder}}}\nmqtt: {{url: 'mqtt://{HOST}:{port}'}}\n{more}cameras:"]
    for number, (name, every_s) in enumerate(cameras.items()):
        path = source or picture_file(folder / f"{name}.png", number)
        lines.append(f"  {name}: {{source: '{path}', every: {every_s:g}s, ask: {QUESTION}}}")
    (folder / "edged.yaml").write_text("\n".join(lines) + "\n")
    return folder / "edged.yaml"


def picture_file(path: Path, seed: int) -> Path:
    if not path.exists():
        Image.fromarray(picture(seed, 64, 64)).save(path)
    return path


def timed_edged(config: Path, times: ModelTimes, verbose: bool = False, **env: str) -> Edged:
    """`edged run` with a model of these times. What the model did is in `served(config)`."""
    seconds = (str(each) for each in (times.load_s, times.encode_s, times.ask_s))
    program = (str(DAEMON), str(trace_of(config)), *seconds)
    own = {"XDG_STATE_HOME": str(config.parent / "state"), "PYTHONPATH": SEARCH_PATH}
    return Edged("run", "--config", config, verbose=verbose, env=own | env, program=program)


def trace_of(config: Path) -> Path:
    return config.with_name("trace")


@dataclass(frozen=True, slots=True)
class Served:
    """A question that the model has answered. `sha256` is that of its picture; times since the epoch."""

    sha256: str
    begun: float
    ended: float


def served(config: Path) -> list[Served]:
    lines = (line.split() for line in trace_of(config).read_text().splitlines())
    return [Served(sha256, float(begun), float(ended)) for sha256, begun, ended in lines]


def first_ticks(config: Path) -> dict[str, float]:
    """Of each camera, since the epoch."""
    lines = (line.split() for line in trace_of(config).with_name("trace.ticks").read_text().splitlines())
    return {camera: float(first) for camera, first in lines}
