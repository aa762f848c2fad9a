"""A real systemd restarts edged when a part hangs, and leaves work alone that is slow and goes on."""

# ruff: noqa: F401, F811  # fixtures are imported, and then named as arguments

from __future__ import annotations

import json
import time

import pytest
from support.broker import until
from support.planted import SILENT_LOAD, SLOW_LOAD, SLOW_S
from support.service_box import COMPILED, QUICK, Box, booted, box

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

WATCHDOG_S = 6
WATCHED = f"{QUICK}WatchdogSec={WATCHDOG_S}s\n"
SHORT_START = "TimeoutStartSec=30s\n"  # less than a slow load takes
STORE = "the store"
HANGS = [STORE, *("a model call", "camera dock: publishing", "the schedule", "the publisher", "the main loop")]


@pytest.mark.parametrize(
    "part", [pytest.param(part, marks=[] if part == STORE else pytest.mark.long) for part in HANGS]
)
def test_a_hang_ends_the_process_with_the_python_stacks_in_the_journal(box: Box, part: str):
    box.drop_in(WATCHED)
    box.start()
    box.until_answered()
    box.plant(part)
    until(lambda: box.restarts() > 0, 60)
    box.plant("")
    box.until("StatusText", "1 camera; broker connected")
    log = box.log()
    assert "Watchdog timeout" in log
    assert "Fatal Python error: Aborted" in log
    assert "in planted_hang" in log
    if part != "the main loop":
        assert f"no progress: {part}" in box.log("-p", "err")


@pytest.mark.long
def test_a_frozen_process_is_started_again(box: Box):
    box.drop_in(f"{WATCHED}TimeoutAbortSec=2s\n")
    box.start()
    box.systemctl("kill", "--kill-whom=main", "--signal=STOP", "edged")
    until(lambda: box.restarts() == 1, 60)
    box.until("ActiveState", "active")


@pytest.mark.long
def test_a_model_that_loads_for_long_is_not_ended_at_the_start_or_in_a_reload(box: Box):
    box.drop_in(f"{WATCHED}{SHORT_START}")
    box.plant(SLOW_LOAD)
    box.npu()
    assert box.start() > SLOW_S
    box.configure(COMPILED)
    begun = time.monotonic()
    box.systemctl("reload", "edged")
    assert time.monotonic() - begun > SLOW_S
    assert box.log().count(" is ready after ") == 2
    assert (box.property("ActiveState"), box.restarts()) == ("active", 0)


@pytest.mark.long
def test_a_load_that_does_not_ask_for_more_time_is_ended(box: Box):
    box.drop_in(f"{WATCHED}{SHORT_START}Restart=no\n")
    box.plant(SILENT_LOAD)
    assert box.systemctl("start", "edged", check=False).returncode != 0
    assert box.property("Result") == "timeout"


@pytest.mark.long
def test_a_slow_generation_is_not_ended(box: Box):
    box.drop_in(WATCHED)
    box.npu(call_s=8.0)  # longer than the watchdog waits
    box.configure(COMPILED)
    box.start()
    box.until_answered(120)
    answer = json.loads(box.retained("edged/box/dock/people"))
    assert sum(answer["timing_ms"].values()) > 2000 * WATCHDOG_S
    assert box.restarts() == 0
