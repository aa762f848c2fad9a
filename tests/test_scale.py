"""64 cameras on one box: no look is lost for which the model had time, and what edged says about its looks is true."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.broker import Mosquitto
from support.process import resident_mb
from support.rtsp import serving
from support.scale.box import ModelTimes, listening, timed_edged, write_config
from support.scale.run import Result, run, wait_for_looks

CAMERAS = 64
SELDOM = 16  # of the cameras of the box that has too much to do
STREAMS, RESIDENT_MB = 16, 250.0  # 170 were measured
EVERY_S, SELDOM_S = 1.0, 10.0
FAIR = 2  # looks by which cameras of one interval may differ: one that is running, and one at the start
SETTLED_S = 0.5  # between two readings of the clock, on a busy machine


@pytest.mark.slow
def test_no_look_is_lost_while_the_model_has_time(tmp_path: Path, mosquitto: Mosquitto):
    every_s = {f"c{number}": 4.0 for number in range(CAMERAS)}
    result = run(tmp_path, mosquitto, every_s, ModelTimes(0.005, 0.005), rounds=1)
    assert (result.lost(4.0), result.exit_code, warnings(result)) == (0, 0, [])


@pytest.mark.slow
def test_a_box_with_too_much_to_do_shares_its_model_fairly_and_tells_the_truth(tmp_path: Path, mosquitto: Mosquitto):
    often = {f"c{number}": EVERY_S for number in range(CAMERAS - SELDOM)}
    seldom = {f"s{number}": SELDOM_S for number in range(SELDOM)}
    result = run(tmp_path, mosquitto, often | seldom, ModelTimes(0.015, 0.015), rounds=1)
    counts = result.counts(EVERY_S)
    assert max(counts) - min(counts) <= FAIR
    assert result.lost(SELDOM_S) == 0
    assert result.lost(EVERY_S) > 0
    told, true = result.skipped()
    assert {name: (told[name], true[name]) for name in told if abs(told[name] - true[name]) > 1} == {}
    told_s, true_s = result.lateness_s()
    assert told_s == pytest.approx(true_s, rel=0.2, abs=0.2)
    assert max(result.wrong_ages_s()) < SETTLED_S
    assert min(result.answering_s()) > -0.001  # answered_ts is in milliseconds
    assert len(warnings(result)) == 1, "falling behind"


@pytest.mark.slow
def test_sixteen_streams_are_looked_at_in_time_with_little_memory(tmp_path: Path, mosquitto: Mosquitto):
    cameras = {f"c{number}": EVERY_S for number in range(STREAMS)}
    with serving() as server, listening(mosquitto.port) as published:
        config = write_config(tmp_path, mosquitto.port, cameras, source=server.url("h264"))
        with timed_edged(config, ModelTimes(0.005, 0.005)) as edged:
            wait_for_looks(published, STREAMS, 3)
            resident = resident_mb(edged.pid)
            assert edged.stop()[0] == 0
    refused = [answer["reason"] for answers in published.answers.values() for answer in answers[2:] if answer["reason"]]
    assert refused == []
    assert resident < RESIDENT_MB


def warnings(result: Result) -> list[str]:
    return [line for line in result.log if "WARNING" in line]
