"""How long edged takes to start: importing, `edged --version`, `edged check`, `edged run` until ready and first answer.

bench_start.py [TIMES]: each of them TIMES times (default 10), in turns. CPU time is that of the process and its
threads; a busy machine changes it less than the time until something happens.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
os.environ.setdefault("OMP_NUM_THREADS", "1")

from support import tiny_model
from support.broker import Mosquitto
from support.process import cpu_s
from support.results.figures import Figure, Spread
from support.results.record import Recording
from support.running import EDGED, Edged
from support.scale.box import ModelTimes, timed_edged, write_config

ROOT = Path(__file__).parent.parent.parent
CAMERA = {"c0": 0.5}


def command_s(*words: str) -> tuple[float, float]:
    """Seconds, and CPU seconds, of a Python process with these arguments."""
    begun = time.monotonic()
    with subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, words
    return time.monotonic() - begun, usage.ru_utime + usage.ru_stime


def run_s(start: Callable[[], Edged]) -> list[tuple[float, float]]:
    """Seconds, and CPU seconds, from the start of the process until it is ready, and until the first answer."""
    begun, reached = time.monotonic(), []
    with start() as edged:
        for line in ("INFO ready", "camera c0: q: "):
            edged.wait_for(line)
            reached.append((time.monotonic() - begun, cpu_s(edged.pid)))
        assert edged.stop()[0] == 0
    return reached


def main(times: int) -> list[Figure]:
    measured: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as name, Mosquitto(Path(name)) as broker:
        tiny = Path(name) / "tiny"
        tiny_model.build(tiny)
        config = write_config(Path(name), broker.port, CAMERA)
        for _ in range(times):
            commands = {"python": ("-c", "pass"), "version": ("-m", "edged", "--version")}
            commands["check"] = ("-m", "edged", "check", str(ROOT / "config" / "edged.yaml"))
            for what, words in commands.items():
                measured.setdefault(what, []).append(command_s(*words))
            for what, start in starts(config, tiny).items():
                ready, answer = run_s(start)
                measured.setdefault(f"ready-{what}", []).append(ready)
                measured.setdefault(f"answer-{what}", []).append(answer)
    return [figure for what, pairs in measured.items() for figure in figures(what, pairs)]


def starts(config: Path, tiny: Path) -> dict[str, Callable[[], Edged]]:
    real = config.with_name("tiny.yaml")
    real.write_text(config.read_text().replace(f"path: {config.parent}}}", f"path: {tiny}}}"))
    return {
        "fake": lambda: timed_edged(config, ModelTimes(), verbose=True),
        "tiny": lambda: Edged(
            "run", "--config", real, env={"XDG_STATE_HOME": str(config.parent / "state")}, program=EDGED
        ),
    }


WHAT = {
    "python": "Python alone",
    "version": "`edged --version`",
    "check": "`edged check` of config/edged.yaml",
    "ready-fake": "`edged run` until ready, without torch",
    "answer-fake": "`edged run` until the first answer, without torch",
    "ready-tiny": "`edged run` until ready, a very small model",
    "answer-tiny": "`edged run` until the first answer, a very small model",
}


def figures(what: str, pairs: list[tuple[float, float]]) -> list[Figure]:
    seconds, cpu = (Spread.of(each) for each in zip(*pairs, strict=True))
    print(f"{WHAT[what]}: {seconds.median:.2f} s, CPU {cpu.median:.2f} s")
    return [Figure(what, WHAT[what], seconds, "s"), Figure(f"{what}-cpu", f"{WHAT[what]}: CPU", cpu, "s")]


if __name__ == "__main__":
    recording = Recording(__file__, __doc__)
    sys.exit(recording.finish(main(int(recording.words[0]) if recording.words else 10)))
