"""edged with the model of clock_model.py, and with failures that the storm turns on and off.

daemon.py FAILURES edged's arguments. FAILURES is a file with a JSON object, such as {"model": "error"}. A failure that
took effect is written, one a line, to the file FAILURES.effects. The wall clock that Python code sees can be set;
everything else is edged as it is.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from support.own_model import edged_with
from support.storm import shifted_clock

if TYPE_CHECKING:
    from edged.core.specs import ModelSpec
    from support.storm.clock_model import ClockModel, Failures

CLOCK_POLL_S = 0.05
JUMPS_S = 2.0


def follow_clock(failures: Failures) -> None:
    """Set the clock as planted, within CLOCK_POLL_S. In looks it jumps there and back, JUMPS_S apart at least."""
    before_s, jumped_at = 0.0, 0.0
    while True:
        in_looks = shifted_clock.wanted.wait(CLOCK_POLL_S)
        shifted_clock.wanted.clear()
        ahead_s: float = failures.peek("clock_s") or 0.0
        if jump_s := failures.peek("clock_in_looks_s"):
            due = in_looks and time.monotonic() > jumped_at + JUMPS_S
            ahead_s = (0.0 if before_s else jump_s) if due else before_s
        if ahead_s != before_s:
            before_s = shifted_clock.ahead_s[0] = ahead_s
            jumped_at = time.monotonic()
            if ahead_s and not jump_s:
                failures.get("clock_s")


def main(failures: str, *arguments: str) -> int:
    shifted_clock.install()  # before anything of edged is imported
    from support.storm.clock_model import ClockModel, Failures

    planted = Failures(Path(failures))
    threading.Thread(target=follow_clock, args=(planted,), daemon=True).start()

    def load(spec: ModelSpec) -> ClockModel:
        return ClockModel(planted)

    return edged_with(load, arguments)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
