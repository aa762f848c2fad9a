"""A box with far too much to do: 64 file cameras of 1920 x 1080, each to be looked at every second.

bench_overload.py [--seconds 300] [--cameras 64]

A real `edged run` with a real broker and a tiny model. Memory has to stay flat, the lateness on bridge/health has to be
true, and the log has to stay short. The truth about lateness comes from the answers alone: a camera's ticks are a
second apart from its phase on, the camera's first look tells where the grid begins, and each look was due at the first
tick after the answer before it. Exits 1 if a limit is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
os.environ.setdefault("OMP_NUM_THREADS", "1")

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from PIL import Image
from support import tiny_model
from support.broker import Mosquitto
from support.making import picture
from support.process import resident_mb
from support.results.figures import Figure
from support.results.record import Recording
from support.running import EDGED, Edged

from edged.service.scheduler import phase_s

PICTURES = 4
EVERY_S = 1.0
FLAT = 1.05
TRUE = 0.20
LINES = 20


@dataclass
class Answers:
    """When each camera's frames were taken and answered, in the order of the answers; and what health said."""

    frames: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    statuses: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    health: list[tuple[float, dict]] = field(default_factory=list)

    def take(self, message: mqtt.MQTTMessage) -> None:
        _, _, camera, what = message.topic.split("/")[:4]
        payload = json.loads(message.payload)
        if camera == "bridge" and what == "health":
            self.health.append((time.time(), payload))
        elif what == "q":
            self.statuses[payload["status"]] += 1
            if payload["status"] == "ok":
                self.frames[camera].append((payload["frame_ts"], payload["answered_ts"]))

    def lateness_s(self, begin: float, end: float) -> float:
        """The mean over the looks whose frames were taken between these times."""
        grid = min(looks[0][0] - phase_s(camera, EVERY_S) for camera, looks in self.frames.items())
        late = [
            taken - due(grid + phase_s(camera, EVERY_S), answered)
            for camera, looks in self.frames.items()
            for (_, answered), (taken, _) in pairwise(looks)
            if begin <= taken < end
        ]
        return statistics.mean(late)


def due(first: float, after: float) -> float:
    """The first tick after this time."""
    return first + EVERY_S * (int((after - first) / EVERY_S) + 1)


def write(folder: Path, port: int, cameras: int) -> Path:
    tiny_model.build(folder / "tiny")
    pictures = folder / "pictures"
    pictures.mkdir()
    for number in range(PICTURES):
        Image.fromarray(picture(number, 1920, 1080)).save(pictures / f"{number}.jpg")
    path = folder / "edged.yaml"
    lines = [f"node: box\nmodel: {{path: {folder / 'tiny'}}}\nmqtt: {{url: 'mqtt://127.0.0.1:{port}'}}\ncameras:"]
    for number in range(cameras):
        lines.append(
            f"  c{number}: {{source: {pictures}, every: {EVERY_S:g}s, ask: {{q: {{prompt: Well?, answer: yes_no}}}}}}"
        )
    path.write_text("\n".join(lines) + "\n")
    return path


def sample_memory(edged: Edged, samples: list[tuple[float, float]], end: threading.Event) -> None:
    while not end.wait(2.0):
        samples.append((time.time(), resident_mb(edged.pid)))


def run(seconds: float, cameras: int) -> list[Figure]:
    answers, end = Answers(), threading.Event()
    samples: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as name, Mosquitto(Path(name)) as broker:
        path = write(Path(name), broker.port, cameras)
        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.on_message = lambda _client, _data, message: answers.take(message)
        client.connect("127.0.0.1", broker.port)
        client.subscribe("edged/box/+/+", qos=1)
        client.loop_start()
        with Edged("run", "--config", path, verbose=False, program=EDGED) as edged:
            edged.wait_for("INFO ready")
            began = time.time()
            sampler = threading.Thread(target=sample_memory, args=(edged, samples, end))
            sampler.start()
            end.wait(seconds)
            end.set()
            sampler.join()
            code, stop_s = edged.stop()
            lines = [line for line in edged.lines if not line.startswith(" ")]
        client.loop_stop()
    return report(answers, samples, lines, began, seconds, (code, stop_s))


def report(
    answers: Answers,
    samples: list[tuple[float, float]],
    lines: list[str],
    began: float,
    seconds: float,
    stop: tuple[int, float],
) -> list[Figure]:
    count = sum(answers.statuses.values())
    print(
        f"{count / seconds:.1f} answers a second of {len(answers.frames) / EVERY_S:g} wanted; {dict(answers.statuses)}"
    )
    early = statistics.median(mb for at, mb in samples if began + seconds * 0.2 <= at < began + seconds * 0.4)
    late = statistics.median(mb for at, mb in samples if at >= began + seconds * 0.8)
    print(f"resident: {early:.0f} MB early, {late:.0f} MB at the end, ratio {late / early:.3f} (at most {FLAT})")
    at, health = answers.health[-1]
    truth = answers.lateness_s(at - 60, at)
    claimed = health["lateness_s"]
    error = abs(claimed - truth) / truth
    print(f"lateness: {claimed:.2f} s on bridge/health, {truth:.2f} s in truth, {100 * error:.0f} % apart (at most 20)")
    print(f"log: {len(lines)} lines (fewer than {LINES}); stop: exit code {stop[0]} after {stop[1]:.2f} s")
    print("\n".join(lines))
    return [
        Figure("answers", f"answers, {len(answers.frames) / EVERY_S:g} are due", count / seconds, "a second"),
        Figure("memory", "memory at the end", late / early, at_most=FLAT, against="memory after a fifth of the time"),
        Figure("lateness", "error of the lateness on bridge/health", 100 * error, "%", at_most=100 * TRUE),
        Figure("log", "log lines", len(lines), at_most=LINES - 1),
        Figure("exit", "from SIGTERM to the exit", stop[1], "s"),
        Figure("code", "exit code", stop[0], at_most=0),
    ]


def main() -> int:
    recording = Recording(__file__, __doc__)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--cameras", type=int, default=64)
    options = parser.parse_args(recording.words)
    return recording.finish(run(options.seconds, options.cameras))


if __name__ == "__main__":
    sys.exit(main())
