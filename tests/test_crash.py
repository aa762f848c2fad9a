"""edged and its broker are killed at any moment, and nothing that a look had finished is lost. See `soak/crash.py`."""

from __future__ import annotations

from pathlib import Path

import pytest
from soak import crash


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
def test_a_killed_edged_loses_nothing_that_a_look_had_finished(seed: int, tmp_path: Path) -> None:
    outcome = crash.run(seed, tmp_path)
    assert outcome.problems == [], outcome
    assert outcome.finished > 20


@pytest.mark.long
@pytest.mark.parametrize("seed", range(6, 51))
def test_a_killed_edged_loses_nothing_that_a_look_had_finished_long(seed: int, tmp_path: Path) -> None:
    test_a_killed_edged_loses_nothing_that_a_look_had_finished(seed, tmp_path)
