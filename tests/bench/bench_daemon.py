"""How soon a saved prompt is in force, and how soon edged has stopped: a real `edged run`, several times.

bench_daemon.py [TIMES]
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
os.environ.setdefault("OMP_NUM_THREADS", "1")

from PIL import Image
from support import tiny_model
from support.broker import Mosquitto, Received, Subscriber
from support.making import picture
from support.results.figures import Figure, Spread
from support.results.record import Recording
from support.running import EDGED, Edged

CAMERA = "  yard:\n    source: {pictures}\n    every: 200ms\n    ask: {{a: {{prompt: '{prompt}', answer: yes_no}}}}\n"
TALK = "  yard:\n    source: {pictures}\n    ask: {{a: {{prompt: Tell all., max_new_tokens: 3900}}}}\n"


def write(folder: Path, port: int, camera: str, **words) -> Path:
    path = folder / "edged.yaml"
    cameras = camera.format(pictures=folder / "pictures", **words)
    path.write_text(
        f"node: box\nmodel: {{path: {folder / 'tiny'}}}\nmqtt: {{url: 'mqtt://127.0.0.1:{port}'}}\ncameras:\n{cameras}"
    )
    return path


def newest_contains(text: str) -> Callable[[list[Received]], bool]:
    return lambda messages: text.encode() in messages[-1].payload


def in_force_s(folder: Path, broker: Mosquitto, times: int) -> tuple[list[float], float]:
    """Seconds from saving a prompt to its first answer on the broker; and from SIGTERM to the exit of an idle edged."""
    path = write(folder, broker.port, CAMERA, prompt="number 0?")
    with Edged("run", "--config", path, program=EDGED) as edged:
        edged.wait_for("INFO ready")
        listening = Subscriber(broker.port)
        listening.wait_for_topic("edged/box/yard/a")
        taken = []
        for number in range(1, times + 1):
            saved = time.monotonic()
            write(folder, broker.port, CAMERA, prompt=f"number {number}?")
            listening.wait_for(newest_contains(f"number {number}?"))
            taken.append(time.monotonic() - saved)
        assert len(edged.said("model: loading")) == len(edged.said("camera yard: connected")) == 1
        code, stopped = edged.stop()
        assert code == 0
        listening.close()
    return taken, stopped


def stop_in_the_middle_s(folder: Path, broker: Mosquitto) -> float:
    """Seconds from SIGTERM in the middle of a generation to the exit."""
    with Edged("run", "--config", write(folder, broker.port, TALK), program=EDGED) as edged:
        edged.wait_for("asking a")
        code, stopped = edged.stop()
        assert code == 0
    return stopped


def main(times: int) -> list[Figure]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tiny_model.build(folder / "tiny")
        (folder / "pictures").mkdir()
        Image.fromarray(picture()).save(folder / "pictures" / "0.png")
        with Mosquitto(folder) as broker:
            taken, idle = in_force_s(folder, broker, times)
            stops = [stop_in_the_middle_s(folder, broker) for _ in range(times)]
    print(f"config saved -> new prompt's answer: {told(taken)}")
    print(f"SIGTERM -> exit: idle {idle:.2f} s; in a generation {told(stops)}")
    return [
        Figure("prompt", "from saving a prompt to its first answer", Spread.of(taken), "s", at_most=1),
        Figure("exit-idle", "from SIGTERM to the exit, idle", idle, "s", at_most=1),
        Figure("exit-busy", "from SIGTERM to the exit, during a generation", Spread.of(stops), "s", at_most=1),
    ]


def told(seconds: list[float]) -> str:
    return f"median {statistics.median(seconds):.2f} s, worst {max(seconds):.2f} s of {len(seconds)}"


if __name__ == "__main__":
    recording = Recording(__file__, __doc__)
    sys.exit(recording.finish(main(int(recording.words[0]) if recording.words else 5)))
