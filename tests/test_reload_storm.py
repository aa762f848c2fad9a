"""A short run of tests/soak/reload_storm.py, which has the rules."""

from __future__ import annotations

from pathlib import Path

import pytest
from soak.reload_storm import make_tiny_model, run


@pytest.mark.slow
def test_twelve_reloads_break_no_rule(tmp_path: Path, tiny_folder: Path):
    storm = run(tmp_path, reloads=12, seed=7, model=tiny_folder)
    assert not storm.violations, "\n".join(map(str, storm.violations))
    assert len(storm.samples) == 12


def test_without_a_model_folder_the_storm_makes_its_own(tmp_path: Path):
    make_tiny_model(tmp_path / "tiny")
    assert (tmp_path / "tiny" / "config.json").is_file()
