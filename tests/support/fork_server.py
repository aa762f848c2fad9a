"""Processes of edged that need not import torch and transformers, which takes 5 s of CPU each time.

`ForkedEdged` is forked from a process that has imported what edged imports from others, and nothing of edged. From
there on it is the same program: it has its own process, log, signals and exit code. What tests the start of a process
itself uses a new interpreter, see support.running.Edged.

Run as a program, this file is the process that forks: it reads requests from the socket that is its standard input.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TextIO

IMPORTED = (
    "PIL.Image",
    "apscheduler.schedulers.background",
    "av",
    "cv2",
    "numpy",
    "paho.mqtt.client",
    "pydantic",
    "rich.console",
    "ruamel.yaml",
    "starlette.applications",
    "torch",
    "transformers.models.auto.modeling_auto",
    "transformers.models.qwen2_vl.modeling_qwen2_vl",
    "transformers.models.qwen2_vl.processing_qwen2_vl",
    "uvicorn",
)  # fmt: skip
LARGEST_REQUEST = 1 << 20  # bytes
EARLY = ("PYTHON", "LD_", "HF_")  # environment variables that count at the first import, or before
START_S = 120.0


def can_fork(env: Mapping[str, str]) -> bool:
    """False if a variable in `env` is read by the linker, the interpreter or a package that is imported."""
    return not any(name.startswith(EARLY) for name in env)


class ForkedEdged:
    """`edged COMMAND…` in a process of its own, with the interface of subprocess.Popen that support.running needs."""

    def __init__(self, arguments: Sequence[str], env: Mapping[str, str]) -> None:
        log, log_end = os.pipe()
        status, status_end = os.pipe()
        request = {"arguments": list(arguments), "env": dict(env), "folder": str(Path.cwd())}
        try:
            socket.send_fds(_server(), [json.dumps(request).encode()], [log_end, status_end])
        finally:
            os.close(log_end)
            os.close(status_end)
        self.stderr: TextIO = os.fdopen(log)
        self._status = os.fdopen(status)
        self.returncode: int | None = None
        self.pid = int(self._line(START_S))

    def poll(self) -> int | None:
        if self.returncode is None and self._has_line(0.0):
            self._ended()
        return self.returncode

    def wait(self, timeout: float) -> int:
        if self.returncode is None:
            if not self._has_line(timeout):
                raise subprocess.TimeoutExpired("edged", timeout)
            self._ended()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _ended(self) -> None:
        self.returncode = int(self._line(START_S))
        self._status.close()

    def _has_line(self, timeout_s: float) -> bool:
        return bool(select.select([self._status], [], [], timeout_s)[0])

    def _line(self, timeout_s: float) -> str:
        assert self._has_line(timeout_s), "the fork server does not answer"
        line = self._status.readline()
        assert line, "the fork server has gone"
        return line


@cache
def _server() -> socket.socket:
    """The connection to the server, which ends with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:  # -P: the modules beside this file hide none of others
        command = [sys.executable, "-P", __file__]
        process = subprocess.Popen(command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL)
    atexit.register(process.wait, 10)
    atexit.register(ours.close)  # before that
    return ours


def serve(requests: socket.socket) -> None:
    """Fork a process for each request, until the other end is closed."""
    for name in IMPORTED:
        importlib.import_module(name)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the keepers
    while True:
        request, fds, _, _ = socket.recv_fds(requests, LARGEST_REQUEST, 2)
        if not request:
            os._exit(0)  # an ordinary exit with torch takes a second
        if os.fork() == 0:
            requests.close()
            _keep(json.loads(request), *fds)
        for fd in fds:
            os.close(fd)


def _keep(request: dict[str, object], log: int, status: int) -> None:
    """Start edged, wait for its end, and write its process id and exit code, each in a line."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        os.close(status)
        _become_edged(request, log)
    os.close(log)
    os.write(status, f"{pid}\n".encode())
    _, ended = os.waitpid(pid, 0)
    os.write(status, f"{os.waitstatus_to_exitcode(ended)}\n".encode())
    os._exit(0)


def _become_edged(request: dict[str, object], log: int) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd, own in ((nothing, 0), (nothing, 1), (log, 2)):
        os.dup2(fd, own)
    if nothing > 2:
        os.close(nothing)
    os.close(log)
    os.environ.clear()
    os.environ.update(request["env"])  # type: ignore[call-overload]
    time.tzset()
    os.chdir(str(request["folder"]))
    from edged.cli import main

    sys.exit(main(request["arguments"]))  # type: ignore[arg-type]


if __name__ == "__main__":
    serve(socket.socket(fileno=0))
