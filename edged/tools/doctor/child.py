"""Child processes with a time limit, for checks that may crash, hang or run out of memory.

A probe is a child that reports one line of JSON on standard output: `{"result": {…}}`, or `{"error": …, "kind": …}`
with the kind of an EdgedError.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edged.cameras.environment import OPENCV
from edged.core.errors import EdgedError
from edged.core.text import spoken


@dataclass(frozen=True, slots=True)
class Finished:
    """A child that ended before its time limit. A negative `code` is the signal that ended it."""

    code: int
    output: str


def run_child(command: list[str], limit_s: float) -> Finished | None:
    """Run a command; None if it did not end in time, or does not exist."""
    discard = subprocess.DEVNULL
    try:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=discard, text=True, env=os.environ | OPENCV)  # noqa: S603  # no foreign input
    except OSError:
        return None
    with child:
        with suppress(OSError):  # if memory runs out, the kernel kills this child and not a running edged
            Path(f"/proc/{child.pid}/oom_score_adj").write_text("1000")
        try:
            output, _ = child.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            return None
    return Finished(child.returncode, output)


def probe_command(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "edged.tools.doctor.probe", name, *arguments]


def run_probe(command: list[str], limit_s: float) -> dict[str, Any]:
    """The result that a probe reports. Raises EdgedError with the kind that it reports, `timeout` or `signal`."""
    finished = run_child(command, limit_s)
    if finished is None:
        raise EdgedError(f"did not finish within {spoken(limit_s)}", "timeout")
    report = _report(finished.output)
    if report is None and finished.code < 0:
        raise EdgedError(f"the process was ended by signal {-finished.code}", "signal")
    if report is None:
        raise EdgedError(f"the process ended with exit code {finished.code} and no report")
    if "error" in report:
        raise EdgedError(report["error"], report["kind"])
    result: dict[str, Any] = report["result"]
    return result


def _report(output: str) -> dict[str, Any] | None:
    lines = output.splitlines()
    try:
        report = json.loads(lines[-1]) if lines else None
    except ValueError:
        return None
    return report if isinstance(report, dict) else None
