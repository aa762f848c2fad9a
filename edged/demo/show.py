"""`edged demo`: a broker, two synthetic cameras, edged itself, and its answers compared with the truth of each frame.

edged is a separate process, started as `edged run` with a config file; it knows nothing of the demo.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event as StopSignal

from edged.core.errors import EXIT_OK, EXIT_WRONG, EdgedError
from edged.core.specs import DEFAULT_PAGE, BrokerSpec
from edged.demo.broker import DemoBroker
from edged.demo.cameras import HOST, SIZE, Yards
from edged.demo.next_steps import own_camera
from edged.demo.questions import write_config
from edged.demo.sequence import Sequence
from edged.demo.verdict_file import VerdictFile
from edged.mqtt.follower import Follower
from edged.tools.board import Board
from edged.tools.watch import follow

MODEL = Path(__file__).parent / "model"
NODE = "demo"
STOP_S = 20.0
FIRST_ANSWER_S = 120.0
LOG_LINES = 20
# Runs Python with the arguments after the first, which is the parent's process id; SIGTERM when that has ended.
WITH_PARENT = """\
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


@dataclass(frozen=True, slots=True)
class RunningDemo:
    """Everything that the demo has started."""

    board: Board
    follower: Follower
    process: subprocess.Popen[bytes]
    port: int
    page: int
    config: Path
    log: Path


def free_port() -> int:
    """The page's usual port, or another one if that is in use."""
    for port in (DEFAULT_PAGE.port, 0):
        with suppress(OSError), socket.create_server((HOST, port)) as listening:
            return int(listening.getsockname()[1])
    raise EdgedError("there is no free port for the page")


@contextmanager
def running_demo() -> Iterator[RunningDemo]:
    """Start broker, cameras and edged. On leaving, stop edged with SIGTERM, then the others. Raises EdgedError."""
    if not (MODEL / "model.safetensors").is_file():
        raise EdgedError(f"the demo's model is missing ({MODEL}); install edged again")
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
        page = free_port()
        write_config(config, NODE, MODEL, HOST, port, cameras, page)
        follower = Follower(BrokerSpec(host=HOST, port=port), NODE)
        stack.callback(follower.close)
        follower.start()
        verdicts = VerdictFile(folder / "verdicts")
        board = Board(
            "edged demo", judge=lambda payload: verdicts.judge(payload, yards.truth(payload.get("frame_sha256")))
        )
        process = stack.enter_context(_edged(config, log, verdicts.path))
        yield RunningDemo(board, follower, process, port, page, config, log)


def demo(seconds: float | None, plain: bool, stop: StopSignal) -> int:
    """Run the demo until `stop`, or for `seconds` after the first answer; the exit code."""
    with running_demo() as running:
        _explain(running)
        clock = _Clock(seconds, running, stop)
        follow(running.board, running.follower, plain, clock.ended)
        code = _report_end(running, clock)
        print(running.board.summary(), flush=True)
    if code == EXIT_OK:
        _say(own_camera())
    return code


def _report_end(running: RunningDemo, clock: _Clock) -> int:
    """Stop edged and say how it ended; the demo's exit code."""
    process = running.process
    if process.poll() is not None:
        _say(f"edged exited by itself with exit code {process.returncode}; {_log_end(running.log)}")
        return EXIT_WRONG
    if clock.overdue:
        _say(f"no answer within {FIRST_ANSWER_S:.0f} s; {_log_end(running.log)}")
    _say(f"stopping edged (process {process.pid}) with SIGTERM …")
    begun = time.monotonic()
    _stop(process)
    took = time.monotonic() - begun
    state = _last_state(running)
    _say(f'edged ended with exit code {process.returncode} after {took:.1f} s; its state on the broker is "{state}"')
    if process.returncode != EXIT_OK:
        _say(_log_end(running.log))
    return EXIT_OK if process.returncode == EXIT_OK and not clock.overdue else EXIT_WRONG


def _log_end(log: Path) -> str:
    """The last lines of edged's log, which is removed with the demo's folder."""
    lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
    return "\n".join(["the end of its log:", *(lines or ["(empty)"])])


def _last_state(running: RunningDemo) -> str:
    """The state that edged published last. Answers that arrived meanwhile were not shown and are not counted."""
    while message := running.follower.next(0.5):
        if message.topic == ("bridge", "state"):
            running.board.hear(message)
    return running.board.node(NODE).state


class _Clock:
    """When the demo ends: on a signal, when its time is up, when edged has exited, or when no answer comes."""

    def __init__(self, seconds: float | None, running: RunningDemo, stop: StopSignal) -> None:
        self._seconds = seconds
        self._running = running
        self._stop = stop
        self._begun = time.monotonic()
        self._first_answer: float | None = None
        self.overdue = False

    def ended(self) -> bool:
        now = time.monotonic()
        if self._first_answer is None and self._running.board.counts["answers"]:
            self._first_answer = now
        if self._first_answer is None:
            self.overdue = now - self._begun > FIRST_ANSWER_S
            time_is_up = self.overdue
        else:
            time_is_up = self._seconds is not None and now - self._first_answer >= self._seconds
        return time_is_up or self._running.process.poll() is not None or self._stop.is_set()


@contextmanager
def _edged(config: Path, log: Path, verdicts: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`edged run` in a session of its own, so that Ctrl-C does not reach it; it ends even if this process is killed."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", WITH_PARENT, str(os.getpid()), "-m", "edged", "run", "--config", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
            env=os.environ
            | {
                "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),  # a small model is slower on several threads
                "STATE_DIRECTORY": str(config.parent / "state"),
                "EDGED_PAGE_VERDICTS": str(verdicts),
            },
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


def _explain(running: RunningDemo) -> None:
    _say("A broker, two synthetic cameras, and edged with a small model trained on these\nscenes only.")
    _say(f"  Subscribe:        mosquitto_sub -p {running.port} -t 'edged/#' -v")
    _say(f"  Open the page:    http://{HOST}:{running.page}/")
    _say(f"  Change a prompt:  edit {running.config}")
    _say(own_camera())
    _say("Ctrl-C stops the demo. Loading the model takes a few seconds …")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
