"""`edged demo`: a broker, two synthetic cameras, the daemon itself, and its answers held against the truth.

The daemon is a process of its own, started as `edged run` with a config file, and knows nothing of the demo.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event as StopSignal
from typing import Any

from edged.core.errors import EXIT_OK, EXIT_WRONG, EdgedError
from edged.core.specs import BrokerSpec
from edged.demo.broker import DemoBroker
from edged.demo.cameras import HOST, SIZE, Yards
from edged.demo.scenes import Sequence, Truth
from edged.mqtt.follower import Follower
from edged.tools.view import Board, Verdict
from edged.tools.watch import follow

MODEL = Path(__file__).parent / "model"
NODE = "demo"
STOP_S = 20.0
START_S = 120.0

CONFIG = """\
# Written by `edged demo`. Change a prompt while it runs: it is asked from the next look on.
version: 1
node: {node}
model: {{path: {model}, max_new_tokens: 48}}
mqtt: {{url: "mqtt://{host}:{broker}"}}
questions:
  people: {{prompt: How many people are in this image?, answer: integer, range: [0, 9], min_confidence: 0.5}}
  cars: {{prompt: How many cars are there?, answer: integer, range: [0, 9], min_confidence: 0.5}}
  door_open: {{prompt: Is the door open?, answer: yes_no}}
cameras:
  yard: # a stream
    source: http://{host}:{cameras}/yard.mjpeg
    every: 2s
    ask:
      people: {{}}
      cars: {{}}
      door_open: {{}}
      anyone: {{prompt: Is there anyone in the picture?, answer: yes_no}}
      scene: {{prompt: Describe the scene., every: 10s}}
  back: # a picture at each look
    source: http://{host}:{cameras}/back.jpg
    every: 3s
    ask:
      people: {{}}
      door_open: {{}}
      night: {{prompt: 지금은 밤인가요?, answer: yes_no, language: ko}}
      report:
        prompt: Report what you see.
        answer:
          json:
            type: object
            properties:
              people: {{type: integer, minimum: 0, maximum: 9}}
              cars: {{type: integer, minimum: 0, maximum: 9}}
              door_open: {{type: boolean}}
              night: {{type: boolean}}
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that the demo runs: what is known so far, who listens, and edged itself."""

    board: Board
    follower: Follower
    process: subprocess.Popen[bytes]
    port: int
    config: Path
    log: Path


@contextmanager
def staged() -> Iterator[Stage]:
    """Start broker, cameras and edged; at the end stop edged with SIGTERM, then the others. Raises EdgedError."""
    if not (MODEL / "model.safetensors").is_file():
        raise EdgedError(f"the demo's model is not there ({MODEL}); install edged again")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edged-demo-")))
        broker = DemoBroker()
        port = broker.start()
        stack.callback(broker.close)
        seed = int(time.time())
        yards = Yards({"yard": Sequence(seed, size=SIZE), "back": Sequence(seed + 1, size=SIZE)})
        cameras = yards.start()
        stack.callback(yards.close)
        config, log = folder / "edged.yaml", folder / "log"
        config.write_text(CONFIG.format(node=NODE, model=MODEL, host=HOST, broker=port, cameras=cameras))
        follower = Follower(BrokerSpec(host=HOST, port=port), NODE)
        stack.callback(follower.close)
        follower.start()
        board = Board("edged demo", judge=lambda payload: judged(payload, yards.truth(payload.get("frame_sha256"))))
        process = stack.enter_context(_running(config, log))
        yield Stage(board, follower, process, port, config, log)


def demo(seconds: float | None, plain: bool, stop: StopSignal) -> int:
    """Run the demo until `stop`, or for so many seconds from the first answer on; the exit code."""
    with staged() as stage:
        _explain(stage)
        clock = _Clock(seconds, stage, stop)
        follow(stage.board, stage.follower, plain, clock.ended)
        _say(f"stopping edged (process {stage.process.pid}) with SIGTERM …")
        code, took = _stopped(stage)
        _say(f"edged ended with exit code {code} after {took:.1f} s; the broker has {_last_word(stage)}")
        if clock.failed or code != EXIT_OK:
            _say(stage.log.read_text(errors="replace").strip())
        print(stage.board.summary(), flush=True)
        return EXIT_OK if code == EXIT_OK and not clock.failed else EXIT_WRONG


def _stopped(stage: Stage) -> tuple[int, float]:
    begun = time.monotonic()
    _stop(stage.process)
    return stage.process.returncode, time.monotonic() - begun


def _last_word(stage: Stage) -> str:
    """What edged said of itself last, as the broker keeps it."""
    while said := stage.follower.next(0.5):
        if said.topic == ("bridge", "state"):  # answers that came meanwhile have not been shown and do not count
            stage.board.hear(said.node, said.topic, said.payload)
    return f'heard "{stage.board.nodes.get(NODE, "nothing")}"'


def judged(payload: dict[str, Any], truth: Truth | None) -> Verdict | None:
    """Whether an answer is what the frame's truth says; None where nobody knows."""
    expected = None if truth is None else _expected(truth).get(str(payload.get("question")))
    if expected is None:
        return None
    return "right" if payload.get("value") in expected else "wrong"


def _expected(truth: Truth) -> dict[str, list[Any]]:
    report = {"people": truth.people, "cars": truth.cars, "door_open": truth.door_open, "night": truth.night}
    return {
        "people": [truth.people],
        "cars": [truth.cars],
        "door_open": [truth.door_open],
        "anyone": [truth.people > 0],
        "night": [truth.night],
        "scene": [truth.description, truth.description_ko],
        "report": [report],
    }


class _Clock:
    """When the demo is over: told to stop, its time is up, or edged has ended by itself."""

    def __init__(self, seconds: float | None, stage: Stage, stop: StopSignal) -> None:
        self._seconds = seconds
        self._stage = stage
        self._stop = stop
        self._begun = time.monotonic()
        self._first: float | None = None
        self.failed = False

    def ended(self) -> bool:
        now = time.monotonic()
        if self._stage.board.counts["answers"] and self._first is None:
            self._first = now
        waited = self._first is None and now - self._begun > START_S
        self.failed = waited or self._stage.process.poll() is not None
        over = self._seconds is not None and self._first is not None and now - self._first >= self._seconds
        return self.failed or over or self._stop.is_set()


@contextmanager
def _running(config: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`edged run` in a session of its own, so that Ctrl-C is ours."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "edged", "run", "--config", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
            # a model as small as this one is slower on several threads
            env=os.environ | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")},
        )
        try:
            yield process
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_S)


def _explain(stage: Stage) -> None:
    _say(
        "A broker, two synthetic cameras and edged itself, with a small model that knows these scenes and nothing else."
    )
    _say(f"Listen to it:      mosquitto_sub -p {stage.port} -t 'edged/#' -v")
    _say(f"Change a prompt:   edit {stage.config} while this runs")
    _say("Your own camera:   edged init rtsp://USER:PASSWORD@HOST/PATH, then edged run --config edged.yaml")
    _say("Ctrl-C stops it. Loading the model takes some seconds …")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
