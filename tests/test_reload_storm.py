"""A short run of tests/soak/reload_storm.py, which has the rules."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from soak.oracle import Message, Oracle, Save
from soak.reload_storm import PASSWORDS, make_tiny_model, run
from soak.shapes import Setting, first


@pytest.mark.slow
def test_twelve_reloads_break_no_rule(tmp_path: Path, tiny_folder: Path):
    storm = run(tmp_path, reloads=12, seed=7, model=tiny_folder)
    assert not storm.violations, "\n".join(map(str, storm.violations))
    assert len(storm.samples) == 12


@pytest.mark.parametrize(("delay_s", "found"), [(0.0, True), (2.9, True), (3.1, False)])
def test_a_camera_that_stops_looking_is_found_unless_the_machine_was_busy(tmp_path: Path, delay_s: float, found: bool):
    setting = Setting(tmp_path, (1, 2), 3, PASSWORDS)
    shape = first(setting)
    asked = {"node": "box", "camera": "shop", "question": "people", "prompt": "How many?", "type": "integer"}
    content = {**asked, "config_rev": "r", "status": "ok", "value": 1}
    answers = [
        Message(at, 0, "edged/box/shop/people", json.dumps(content).encode()) for at in (4.0, 10.0, 11.0, 12.0, 13.0)
    ]
    oracle = Oracle(setting, [Save(0, "start", "r", shape, 0.0, 0.0)], answers, lambda begin, end: delay_s)
    gaps = [str(each) for each in oracle.violations() if "camera shop, unchanged" in str(each)]
    assert bool(gaps) == found, gaps


def test_without_a_model_folder_the_storm_makes_its_own(tmp_path: Path):
    make_tiny_model(tmp_path / "tiny")
    assert (tmp_path / "tiny" / "config.json").is_file()
