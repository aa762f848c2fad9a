"""SIGTERM in each state of edged: it ends soon, with exit code 0, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.scale.moments import stop_at
from support.scale.stopping import MARK, STATES, Stopped, marked, stop

ACKNOWLEDGED_S = 10.0  # for `offline`
WITHIN_S = ACKNOWLEDGED_S + 20.0  # on a busy machine
LONG = 100  # moments in each state


@pytest.mark.slow
@pytest.mark.parametrize("state", [state for state in STATES if state != "broker frozen"])
def test_sigterm_ends_edged_in_every_state(state: str, tmp_path: Path):
    stopped = stop(state, 1, tmp_path)
    assert stopped.problems == []
    assert stopped.seconds < WITHIN_S


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("state", STATES)
def test_sigterm_ends_edged_at_any_moment(state: str, tmp_path: Path):
    stopped = stop_at([(state, seed) for seed in range(LONG)], tmp_path)
    assert [each for each in stopped if each.problems] == []
    assert max(each.seconds for each in stopped) < WITHIN_S


def test_a_process_that_is_left_is_found():
    environment = os.environ | {MARK: "left"}
    command = [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout
        process.stdout.readline()  # Popen returns a moment before /proc has the environment
        assert marked("left") == [process.pid]
        process.kill()
    assert marked("left") == []


def test_a_moment_that_has_a_result_is_not_repeated(tmp_path: Path):
    moments = [("broker away", 2), ("broker away", 1), ("looking", 1)]
    run: list[tuple[str, int]] = []

    def noted(state: str, seed: int, folder: Path) -> Stopped:
        run.append((state, seed))
        return Stopped(state, seed, float(seed), [str(folder)], ["INFO stopped"])

    first = stop_at(moments[:2], tmp_path, jobs=2, stop=noted)
    assert sorted(run) == sorted(moments[:2])
    (tmp_path / "looking-1.part").write_text("{")  # of a run that was killed
    everything = stop_at(moments, tmp_path, jobs=2, stop=noted)
    assert everything[:2] == first
    assert [(each.state, each.seed) for each in everything] == moments
    assert run[2:] == moments[2:]


def test_after_a_moment_that_could_not_be_tried_none_is_begun(tmp_path: Path):
    run: list[int] = []

    def failing(state: str, seed: int, folder: Path) -> Stopped:
        run.append(seed)
        raise AssertionError("'INFO ready' was not logged")

    with pytest.raises(AssertionError, match="INFO ready"):
        stop_at([("looking", seed) for seed in range(10)], tmp_path, jobs=1, stop=failing)
    assert len(run) < 10
