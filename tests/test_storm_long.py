"""Two hundred storms, which take about two hours. With --long."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.results.environment import ROOT, commit
from support.results.storms import saved

SEEDS = 200
ANSWERS = 100_000


@pytest.mark.long
@pytest.mark.timeout(6 * 3600)
def test_two_hundred_storms_break_no_promise() -> None:
    """Resumable: a seed with a result in .storm is not run again, unless edged has changed since."""
    keep = ROOT / ".storm" / commit()
    command = [sys.executable, str(ROOT / "tests/soak/storm.py"), "--seeds", "1", str(SEEDS), "--keep", str(keep)]
    storms = subprocess.run([*command, "--jobs", "6", "--no-shrink"], capture_output=True, text=True)
    results = saved(keep)
    assert storms.returncode == 0, storms.stdout + storms.stderr
    assert len(results) == SEEDS
    assert sum(storm.answers for storm in results.values()) > ANSWERS
