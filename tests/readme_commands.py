"""Runs the commands of the README as typed, in a fresh clone: .venv/bin/python tests/readme_commands.py

Takes every line of the README's `sh` blocks in their order. A real broker, an RTSP camera and the demo's model stand in
for those of the reader. Where it is root, it works on copies (overlays) of /etc, /opt, /usr and /var, so that the
commands with sudo run too and leave nothing behind; elsewhere they are listed as not run. Needs the packages of
tests/run, the package index and free port 1883. Prints one line for each command; exits with 1 if one failed.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from support.broker import MOSQUITTO
from support.rtsp import serving

ROOT = Path(__file__).parent.parent
OVERLAID = ("etc", "opt", "usr", "var")
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"  # the service cannot run a Python below /root or /home
LIMIT_S = 1800  # for an installation
FOLLOW_S = 120  # until a command that runs for ever prints what is expected

NOT_RUN = {
    r"/bridge/(request|response)/": "for the node dock-box; tests/test_mqtt_clients.py runs it",
    r"pipx run uv": "for Debian 13; uv downloads a Python",
    r"pipx ": "for Debian 13",
    r"systemctl restart": "needs systemd; tests/test_install_debian.py runs it",
    r"mosquitto_passwd|/etc/mosquitto/passwd": "asks for a password; mosquitto is no service here",
    r"systemd/(compose|edged|models)": "needs a container engine, and a config for it",
    r"edged prepare": "needs a compiled model; tests/test_npu_prepare.py runs it on a simulated one",
    r"-u edged .*edged doctor": "needs the compiled model",
}
STAND_INS = {
    r"^\.venv/bin/hf download \S+ --local-dir (\S+)$": r"mkdir -p models && cp -r edged/demo/model \1",
    r"^sudo (\S+) install$": r"sudo \1 install --root /",  # a container has no systemd
    r"^sudo systemctl enable --now (\w+)$": (
        r"sudo systemd-analyze verify --man=no --recursive-errors=no /usr/local/lib/systemd/system/\1.service"
    ),
}
RUNS_UNTIL = {  # what a command that does not end by itself prints when it works
    r"edged demo": r" right$",
    r"edged run": r"INFO ready",
    r"edged watch": r"people",
    r"mosquitto_sub": r'/people \{.*"status":"(ok|unsure)"',
}
KEPT_RUNNING = r"edged run"
MAY_EXIT_1 = r"edged doctor"  # a container's clock is not synchronised


@dataclass(frozen=True, slots=True)
class Outcome:
    verdict: str
    detail: str
    output: str = ""


def readme_commands() -> list[str]:
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


def first_match(patterns: dict[str, str], command: str) -> str | None:
    return next((value for pattern, value in patterns.items() if re.search(pattern, command)), None)


def stand_in(command: str, camera: str) -> str:
    for pattern, replacement in STAND_INS.items():
        command = re.sub(pattern, replacement, command)
    return command.replace("'rtsp://USER:PASSWORD@CAMERA:554/PATH'", f"'{camera}'")


class Runner:
    """Runs commands in the clone, one after the other; what is kept running ends with the block."""

    def __init__(self, clone: Path, environment: dict[str, str], camera: str, as_root: bool) -> None:
        self.clone = clone
        self.environment = environment
        self.camera = camera
        self.as_root = as_root
        self.kept: list[subprocess.Popen[str]] = []

    def run(self, command: str) -> Outcome:
        if reason := first_match(NOT_RUN, command):
            return Outcome("not run", reason)
        if "sudo" in command and not self.as_root:
            return Outcome("not run", "changes the system; run this script as root")
        typed = stand_in(command, self.camera)
        note = "" if typed == command else f"as: {typed}"
        expected = first_match(RUNS_UNTIL, command)
        outcome = self._until(typed, expected) if expected else self._to_the_end(typed)
        return Outcome(outcome.verdict, " ".join(part for part in (outcome.detail, note) if part), outcome.output)

    def _to_the_end(self, command: str) -> Outcome:
        process = self._start(command)
        try:
            output, _ = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return Outcome("FAILED", f"did not end within {LIMIT_S} s")
        allowed = (0, 1) if re.search(MAY_EXIT_1, command) else (0,)
        return Outcome("ok" if process.returncode in allowed else "FAILED", f"exit {process.returncode}", output)

    def _until(self, command: str, expected: str) -> Outcome:
        process = self._start(command)
        timer = threading.Timer(FOLLOW_S, os.killpg, (process.pid, signal.SIGKILL))
        timer.start()
        lines: list[str] = []
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if re.search(expected, line):
                break
        timer.cancel()
        appeared = bool(lines and re.search(expected, lines[-1]))
        if appeared and re.search(KEPT_RUNNING, command):
            self.kept.append(process)
            return Outcome("ok", "left running for the commands below")
        code = self._end(process)
        return Outcome("ok" if appeared else "FAILED", f"until /{expected}/, then Ctrl-C: exit {code}", "".join(lines))

    def _start(self, command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", "-c", command],
            cwd=self.clone,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def _end(self, process: subprocess.Popen[str]) -> int:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=60)
        return process.returncode

    def close(self) -> None:
        for process in self.kept:
            code = self._end(process)
            print(f"the edged that was left running: Ctrl-C, exit {code}")


@contextmanager
def broker() -> Iterator[None]:
    """mosquitto on 127.0.0.1:1883, as `apt-get install mosquitto` starts it on a real system."""
    process = subprocess.Popen([MOSQUITTO, "-p", "1883"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    lines = iter(process.stderr.readline, "")
    if not any("running" in line for line in lines):
        raise SystemExit("mosquitto did not start; is port 1883 in use?")
    threading.Thread(target=lambda: [None for _ in lines], daemon=True).start()
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def on_overlays(folder: Path) -> int:
    """Run this script in a mount namespace in which changes to /etc, /opt, /usr and /var go to `folder`."""
    mounts = []
    for name in OVERLAID:
        upper, work = folder / f"{name}.upper", folder / f"{name}.work"
        upper.mkdir()
        work.mkdir()
        options = f"lowerdir=/{name},upperdir={upper},workdir={work}"
        mounts.append(f"mount -t overlay overlay -o {options} /{name}")
    script = " && ".join([*mounts, 'exec "$@"'])
    arguments = [sys.executable, __file__, "--on-overlays", str(folder)]
    return subprocess.run(["unshare", "--mount", "bash", "-c", script, "bash", *arguments]).returncode


def fresh_clone(folder: Path) -> Path:
    clone = folder / "edged"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    draw_picture(clone / "picture.jpg")
    return clone


def draw_picture(path: Path) -> None:
    Image.linear_gradient("L").resize((640, 480)).convert("RGB").save(path)


def environment(folder: Path) -> dict[str, str]:
    """The caller's, without a virtual environment, with the system's Python and a sudo that only runs its arguments."""
    commands = folder / "bin"
    commands.mkdir()
    (commands / "sudo").write_text('#!/bin/sh\nexec env "$@"\n')
    (commands / "sudo").chmod(0o755)
    dropped = {"PYTHONPATH", "VIRTUAL_ENV"}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, "PATH": f"{commands}:{SYSTEM_PATH}:{os.environ['PATH']}", "DEBIAN_FRONTEND": "noninteractive"}


def main() -> int:
    if sys.argv[1:2] == ["--on-overlays"]:
        return run_all(Path(sys.argv[2]), as_root=True)
    with tempfile.TemporaryDirectory(prefix="readme-") as folder:
        return on_overlays(Path(folder)) if os.geteuid() == 0 else run_all(Path(folder), as_root=False)


def run_all(folder: Path, as_root: bool) -> int:
    clone = fresh_clone(folder)
    picture = folder / "yard.png"
    draw_picture(picture)
    os.environ["YARD"] = str(picture)
    with ExitStack() as stack:
        stack.enter_context(broker())
        server = stack.enter_context(serving("basic", "viewer", "secret"))
        runner = Runner(clone, environment(folder), server.url("yard"), as_root)
        stack.callback(runner.close)
        return report(runner)


def report(runner: Runner) -> int:
    failed = 0
    for command in readme_commands():
        began = time.monotonic()
        outcome = runner.run(command)
        print(f"{outcome.verdict:8}{time.monotonic() - began:6.1f} s  {command}\n{'':19}{outcome.detail}", flush=True)
        if outcome.verdict == "FAILED":
            failed += 1
            print("".join(f"    | {line}\n" for line in outcome.output.splitlines()[-30:]))
    print(f"{failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
