"""A real edged in its own process, with its log and real signals."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from support.broker import WITHIN_S
from support.fork_server import ForkedEdged, can_fork

EDGED = ("-m", "edged")


def _started(
    program: Sequence[str] | None, arguments: list[str], env: dict[str, str]
) -> subprocess.Popen[str] | ForkedEdged:
    if program is None and can_fork(env):
        return ForkedEdged(arguments, os.environ | env)
    return subprocess.Popen(
        [sys.executable, *(program or EDGED), *arguments],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=os.environ | env,
    )


class Edged:
    """Runs `edged COMMAND…`. Leaving the context kills the process if it still runs.

    The process is forked from one that has imported torch and transformers, which most tests would wait for in vain.
    With `program`, such as EDGED, it is a new interpreter that runs this.
    """

    def __init__(
        self,
        *arguments: str | Path,
        verbose: bool = True,
        env: dict[str, str] | None = None,
        program: Sequence[str] | None = None,
    ) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()
        flags = ["-v"] if verbose else []
        self._process = _started(program, [*flags, *map(str, arguments)], env or {})
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Edged:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(10)
        self._reader.join(10)
        assert self._process.stderr
        self._process.stderr.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait_for(self, pattern: str, timeout_s: float = WITHIN_S, after: int = 0) -> int:
        """Wait for a log line that matches, from number `after` on; its number."""
        end = time.monotonic() + timeout_s
        with self._changed:
            while True:
                for number in range(after, len(self.lines)):
                    if re.search(pattern, self.lines[number]):
                        return number
                left_s = end - time.monotonic()
                assert left_s > 0, self._last_lines(pattern)
                assert self._reader.is_alive(), self._last_lines(pattern)
                self._changed.wait(min(left_s, 0.5))

    def said(self, pattern: str) -> list[str]:
        """The log lines that match."""
        with self._changed:
            return [line for line in self.lines if re.search(pattern, line)]

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Send the signal and wait for the end; the exit code, and the seconds it took."""
        begun = time.monotonic()
        self.send(number)
        return self.exit_code(), time.monotonic() - begun

    def exit_code(self, timeout_s: float = WITHIN_S) -> int:
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(self._last_lines("the end of edged")) from None
        self._reader.join(10)
        return code

    def _read(self) -> None:
        assert self._process.stderr
        for line in self._process.stderr:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def _last_lines(self, pattern: str) -> str:
        return f"{pattern!r} was not logged:\n" + "\n".join(self.lines[-40:])
