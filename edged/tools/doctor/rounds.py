"""`edged doctor`: everything that edged needs on this machine, looked at once, and what to do about each thing.

Nothing here is imported, opened or started that can take this process down: what may crash or hang runs in a child or
in a thread that is waited for only so long. An unexpected error in a check is a line of its own, and no line holds a
credential.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from edged.tools.doctor.check import Check, Machine, guarded
from edged.tools.doctor.host import clock_row, disks, opencv, packages, python, unit
from edged.tools.doctor.model import is_compiled, model_files, question
from edged.tools.doctor.npu import npu
from edged.tools.doctor.peers import broker, cameras, read_config


def examine(path: Path, machine: Machine | None = None) -> list[Check]:
    """Look at everything, with the config at `path` if it can be read. Bounded by the machine's times."""
    here = machine or Machine()
    config, of_config = read_config(path)
    model = config.model if config else None
    compiled = is_compiled(model)
    rounds: list[Callable[[], Iterable[Check]]] = [
        lambda: [python(), *packages(compiled)],
        lambda: [opencv(here)],
        lambda: npu(here, model, compiled),
        lambda: model_files(model),
        lambda: [broker(config, here)],
        lambda: cameras(config, here),
        lambda: disks(path, here),
        lambda: [clock_row(), unit(here)],
    ]
    found = [*of_config, *(check for checks in _side_by_side(rounds) for check in checks)]
    # alone, so that its time says something
    sound = not any(check.ok is False and check.name.startswith("model") for check in found)
    return [*found, *guarded(lambda: [question(path, config, compiled, sound, here)])]


def _side_by_side(looks: Sequence[Callable[[], Iterable[Check]]]) -> list[list[Check]]:
    """Each in a thread of its own; all of them are bounded."""
    found: list[list[Check]] = [[] for _ in looks]

    def run(number: int) -> None:
        found[number] = guarded(looks[number])

    threads = [threading.Thread(target=run, args=[number], daemon=True) for number in range(len(looks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
