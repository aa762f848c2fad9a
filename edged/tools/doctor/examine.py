"""`edged doctor`: checks everything that edged needs on this machine.

A check that may crash or hang runs in a child process, or in a thread with a time limit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from edged.tools.doctor.broker import broker
from edged.tools.doctor.cameras import cameras
from edged.tools.doctor.check import Check, run_checks
from edged.tools.doctor.config import read_config
from edged.tools.doctor.host import clock_check, disks, unit
from edged.tools.doctor.machine import Machine
from edged.tools.doctor.model import is_compiled, model_files
from edged.tools.doctor.npu import npu
from edged.tools.doctor.packages import opencv, packages, python
from edged.tools.doctor.page import page
from edged.tools.doctor.question import question
from edged.tools.doctor.running import running


def examine(path: Path, machine: Machine | None = None) -> list[Check]:
    """Run every check, with the config at `path` if it can be read. Bounded by the machine's time limits."""
    machine = machine or Machine()
    config, config_checks = read_config(path)
    model, node = (config.model, config.node) if config else (None, "")
    compiled = is_compiled(model)
    folder_checks = run_checks(lambda: model_files(model))
    results = _side_by_side(
        [
            lambda: [python(), *packages(compiled)],
            lambda: [opencv(machine)],
            lambda: npu(machine, model, compiled),
            lambda: folder_checks,
            lambda: [broker(config, machine)],
            lambda: cameras(config, machine),
            lambda: page(config),
            lambda: disks(path, machine, node),
            lambda: [clock_check(), unit(machine)],
        ]
    )
    folder_ok = all(check.ok is not False for check in folder_checks)
    # last and alone, so that the times it prints are not disturbed
    answered = run_checks(lambda: [question(path, config, compiled, folder_ok, machine)])
    return [*config_checks, *(check for checks in results for check in checks), *answered]


def examine_quickly(path: Path, machine: Machine | None = None) -> list[Check]:
    """What takes a few seconds at most and opens no device: for the health check of a running edged."""
    machine = machine or Machine()
    config, config_checks = read_config(path)
    results = _side_by_side(
        [
            lambda: [broker(config, machine)],
            lambda: [running(config, machine)],
            lambda: page(config, served=True),
            lambda: disks(path, machine, config.node if config else ""),
        ]
    )
    return [*config_checks, *(check for checks in results for check in checks)]


def _side_by_side(groups: Sequence[Callable[[], Iterable[Check]]]) -> list[list[Check]]:
    """Run each group of checks in its own thread. Every group is bounded."""
    results: list[list[Check]] = [[] for _ in groups]

    def run(number: int) -> None:
        results[number] = run_checks(groups[number])

    threads = [threading.Thread(target=run, args=[number], daemon=True) for number in range(len(groups))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
