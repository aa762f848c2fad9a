"""SIGTERM at a random moment of a state that edged is in, and what must hold afterwards."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

from support.broker import HOST, Mosquitto, Subscriber, free_port, until
from support.process import cpu_s
from support.running import Edged
from support.scale.box import QUESTION, ModelTimes, listening, timed_edged, write_config

CAMERAS = {f"c{number}": 0.2 for number in range(4)}
TIMES = ModelTimes(encode_s=0.03, ask_s=0.03, load_s=0.8)
START_CPU_S = 1.0  # about as much as edged needs until it is ready
MARK = "EDGED_TEST_MOMENT"  # in the environment of edged and of all its children
STATE = "edged/box/bridge/state"


@dataclass(frozen=True, slots=True)
class Stopped:
    """`seconds` from the signal to the exit. `problems` is empty if everything held. `log` is that of edged."""

    state: str
    seed: int
    seconds: float
    problems: list[str]
    log: list[str]


@dataclass(frozen=True, slots=True)
class Scene:
    """A running edged, its broker and its config, for one moment."""

    edged: Edged
    broker: Mosquitto
    config: Path
    chance: Random

    def within(self, seconds: float) -> None:
        """The random part of the moment."""
        time.sleep(self.chance.uniform(0.0, seconds))


# how edged comes into the state; the signal follows at once


def starting(scene: Scene) -> None:
    """By its CPU time: how far edged has come after some seconds depends on the machine."""
    spent_s = scene.chance.uniform(0.0, START_CPU_S)
    until(lambda: cpu_s(scene.edged.pid) >= spent_s)


def loading(scene: Scene) -> None:
    scene.edged.wait_for("model: loading")
    scene.within(TIMES.load_s)


def looking(scene: Scene) -> None:
    scene.edged.wait_for("INFO ready")
    scene.edged.wait_for("camera c0: q: ")
    scene.within(0.3)


def publishing(scene: Scene) -> None:
    with listening(scene.broker.port) as published:
        scene.edged.wait_for("INFO ready")
        count = scene.chance.randint(1, 8)
        published.wait_for(lambda now: sum(map(len, now.answers.values())) >= count)
        scene.within(0.01)


def broker_away(scene: Scene) -> None:
    looking(scene)
    scene.broker.kill()
    scene.edged.wait_for("broker .* retrying")
    scene.within(1.0)


def broker_frozen(scene: Scene) -> None:
    looking(scene)
    scene.broker.freeze()
    scene.within(1.0)


def camera_away(scene: Scene) -> None:
    """Of the two cameras, one refuses connections, and the other does not answer."""
    scene.edged.wait_for("camera refuses: .* trying again")
    scene.within(1.0)


def reloading(scene: Scene) -> None:
    looking(scene)
    write_config(scene.config.parent, scene.broker.port, {"c0": 0.2, "c9": 0.1, "c1": 0.5})
    scene.edged.send(signal.SIGHUP)
    scene.within(0.3)


STATES: dict[str, Callable[[Scene], None]] = {
    "starting": starting,
    "loading": loading,
    "looking": looking,
    "publishing": publishing,
    "broker away": broker_away,
    "broker frozen": broker_frozen,
    "camera away": camera_away,
    "reloading": reloading,
}


def stop(state: str, seed: int, folder: Path) -> Stopped:
    """Start edged, bring it into the state, end it there by SIGTERM, and see what is left."""
    mark = uuid.uuid4().hex
    with ExitStack() as stack:
        broker = stack.enter_context(Mosquitto(folder))
        config = write_config(folder, broker.port, CAMERAS)
        if state == "camera away":
            stack.enter_context(with_cameras_away(config))
        edged = stack.enter_context(timed_edged(config, TIMES, verbose=True, **{MARK: mark}))
        STATES[state](Scene(edged, broker, config, Random(seed)))
        logged = list(edged.lines)
        code, seconds = edged.stop()
        broker.thaw() if state == "broker frozen" else None
        told = _told(broker) if state not in ("broker away", "broker frozen") else "offline"
        problems = [*_of_process(code, logged, edged.lines), *_left(mark, told, folder)]
        return Stopped(state, seed, seconds, problems, edged.lines)


@contextmanager
def with_cameras_away(config: Path) -> Iterator[None]:
    with socket.create_server((HOST, 0)) as silent:
        lines = [
            f"  refuses: {{source: 'rtsp://{HOST}:{free_port()}/x', every: 1s, ask: {QUESTION}}}",
            f"  silent: {{source: 'rtsp://{HOST}:{silent.getsockname()[1]}/x', every: 1s, ask: {QUESTION}}}",
        ]
        config.write_text(config.read_text() + "\n".join(lines) + "\n")
        yield


def _of_process(code: int, before: list[str], lines: list[str]) -> Iterator[str]:
    """Until Python has run so far that edged handles it, the signal ends the process: nothing has begun yet."""
    begun = any("model: loading" in line for line in before)
    if code != 0 and (begun or code != -signal.SIGTERM):
        yield f"exit code {code}"
    if begun and not lines[-1].endswith("INFO stopped"):
        yield f"the last line of the log is {lines[-1]!r}"
    yield from (line for line in lines if "Traceback" in line or "ERROR" in line or "unexpected" in line)


def _left(mark: str, told: str | None, folder: Path) -> Iterator[str]:
    if told not in (None, "offline"):
        yield f"{STATE} is {told}"
    yield from (f"process {pid} is left" for pid in marked(mark))
    for path in (folder / "state").rglob("edged.db"):
        with closing(sqlite3.connect(path)) as connection:
            (sound,) = connection.execute("PRAGMA quick_check").fetchone()
        if sound != "ok":
            yield f"{path.name}: {sound}"


def _told(broker: Mosquitto) -> str | None:
    """The state that is retained; None if edged never was online."""
    with closing(Subscriber(broker.port)) as subscriber:
        states = [
            message.json["state"] for message in subscriber.messages if message.topic == STATE and message.payload
        ]
    return states[-1] if states else None


def marked(mark: str) -> list[int]:
    """The processes that have inherited this mark."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            if folder.name.isdigit() and wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return [pid for pid in found if pid != os.getpid()]
