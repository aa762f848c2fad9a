"""SIGTERM in each state of edged: it ends soon, with exit code 0, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.scale.stopping import MARK, STATES, marked, stop

ACKNOWLEDGED_S = 10.0  # for `offline`
WITHIN_S = ACKNOWLEDGED_S + 20.0  # on a busy machine
LONG = 100  # moments, over all states


@pytest.mark.slow
@pytest.mark.parametrize("state", [state for state in STATES if state != "broker frozen"])
def test_sigterm_ends_edged_in_every_state(state: str, tmp_path: Path):
    stopped = stop(state, 1, tmp_path)
    assert stopped.problems == []
    assert stopped.seconds < WITHIN_S


@pytest.mark.long
@pytest.mark.parametrize("seed", range(LONG))
def test_sigterm_ends_edged_at_any_moment(seed: int, tmp_path: Path):
    stopped = stop(list(STATES)[seed % len(STATES)], seed, tmp_path)
    assert stopped.problems == []
    assert stopped.seconds < WITHIN_S


def test_a_process_that_is_left_is_found():
    environment = os.environ | {MARK: "left"}
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=environment) as process:
        assert marked("left") == [process.pid]
        process.kill()
    assert marked("left") == []
