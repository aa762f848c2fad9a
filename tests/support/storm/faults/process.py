"""Signals to edged, and what its host does to it."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from random import Random

from support.storm.faults.kinds import Running, kind
from support.storm.parts import Parts
from support.storm.schedule import Fault


@kind("edged killed", (("edged",),), 0.1, 12)
def edged_killed(parts: Parts, fault: Fault) -> Running:
    return _ended(parts, signal.SIGKILL)


@kind("edged stopped (SIGTERM)", (("edged",),), 0.1, 6)
def edged_terminated(parts: Parts, fault: Fault) -> Running:
    return _ended(parts, signal.SIGTERM)


def _ended(parts: Parts, number: signal.Signals) -> Running:
    was_running = parts.life.edged.running
    parts.end_edged(number)
    yield
    parts.await_end()
    parts.start_edged()
    return int(was_running)


@kind("edged frozen (SIGSTOP)", (("edged",),), 0.5, 8)
def edged_frozen(parts: Parts, fault: Fault) -> Running:
    parts.life.edged.send(signal.SIGSTOP)
    stopped = is_stopped(parts.life.edged.pid)
    yield
    parts.life.edged.send(signal.SIGCONT)
    return stopped


@kind("SIGHUP", (("edged",),), 0.1, 2)
def hang_up(parts: Parts, fault: Fault) -> Running:
    if not parts.life.ready:
        yield
        return 0
    for _ in range(Random(fault.seed).choice((1, 1, 20))):
        parts.life.edged.send(signal.SIGHUP)
    yield
    return int(parts.life.edged.running)


def is_stopped(pid: int) -> int:
    """1 once the process is stopped, 0 if it is not within a second."""
    end = time.monotonic() + 1
    while time.monotonic() < end:
        if (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] == "T":
            return 1
        time.sleep(0.01)
    return 0
