"""Two hundred storms, which take about two hours. With --long."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from support.results.environment import ROOT
from support.results.storms import kept_folder, saved, set_aside_broken

SEEDS = 200
ANSWERS = 100_000


@contextmanager
def started(command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """Storms; if the test is interrupted, they end what they have started."""
    storms = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0)
    try:
        yield storms
    finally:
        if storms.poll() is None:
            os.killpg(storms.pid, signal.SIGINT)
            storms.communicate(timeout=120)


@pytest.mark.long
@pytest.mark.timeout(6 * 3600)
def test_two_hundred_storms_break_no_promise() -> None:
    """Resumable: a seed with a result in .storm is not run again, unless it broke a promise or edged has changed since.

    So if this test runs again by itself, because the machine was too busy, only the broken ones do.
    """
    keep = kept_folder()
    set_aside_broken(keep)
    command = [sys.executable, str(ROOT / "tests/soak/storm.py"), "--seeds", "1", str(SEEDS), "--keep", str(keep)]
    with started([*command, "--jobs", "6", "--no-shrink"]) as storms:
        output, _ = storms.communicate()
    results = saved(keep)
    assert storms.returncode == 0, output
    assert len(results) == SEEDS
    assert sum(storm.answers for storm in results.values()) > ANSWERS
