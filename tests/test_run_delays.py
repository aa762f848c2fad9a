"""Delays that other processes cause."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import closing

from support.broker import until
from support.run_delays import RunDelays

BUSY = "import os, sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"


def test_processes_that_share_a_processor_delay_each_other() -> None:
    """Two that never wait for anything else, so together they are delayed all the time."""
    processor = str(min(os.sched_getaffinity(0)))
    busy = [subprocess.Popen([sys.executable, "-c", BUSY, processor]) for _ in range(2)]
    try:
        with closing(RunDelays()) as delays:
            begin = time.monotonic()
            until(lambda: delays.during(begin, time.monotonic()) > 0.5)
    finally:
        for process in busy:
            process.kill()
            process.wait(10)
