"""Looks are made in time, one at a time, and only within their hours."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import threading
import time
import zoneinfo
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from support.broker import until

from edged.core.cron import parse_cron
from edged.core.intervals import (
    asked_again_after_s,
    expiry_s,
    interval_s,
    is_always,
    shortest_interval_s,
    shortest_window_s,
    week_times,
    why_never,
)
from edged.core.secret import Secret
from edged.core.specs import WEEK as WEEKDAYS
from edged.core.specs import CameraSpec, Cron, Every, Hours, SourceSpec
from edged.core.text import shorten
from edged.service.lateness import Lateness
from edged.service.scheduler import Schedule, Ticks, cron_trigger, phase_s, trigger

SOURCE = SourceSpec("path", Secret("x"), "x")
HOUR, DAY, WEEK = 3600.0, 86400.0, 7 * 86400.0
NEVER = (Hours(frozenset(), time_of_day(0), time_of_day(0)),)


def camera(name: str = "dock", **more) -> CameraSpec:
    return CameraSpec(name, SOURCE, **{"schedule": Every(0.1)} | more)


@contextmanager
def running(
    look: Callable[[str], None], threads: int = 4, lateness: Lateness | None = None, settled_s: float = 60.0
) -> Iterator[Schedule]:
    schedule = Schedule(look, threads, lateness or Lateness(), settled_s)
    schedule.start()
    try:
        yield schedule
    finally:
        schedule.stop()


class Hanging:
    """A look that hangs until `go` is set, at all cameras or those named. `calls` are noted when they begin."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.go = threading.Event()
        self.calls: list[str] = []

    def __call__(self, name: str) -> None:
        self.calls.append(name)
        if not self.names or name in self.names:
            self.go.wait(30)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    look = Hanging()
    yield look
    look.go.set()


def telling(lateness: Lateness, look: Callable[[str], None]) -> Callable[[str], None]:
    """The look, which tells `lateness` when it begins."""

    def begin(name: str) -> None:
        lateness.begun(name)
        look(name)

    return begin


# when looks come


def test_looks_come_at_their_interval():
    times: list[float] = []
    with running(lambda _: times.append(time.monotonic())) as schedule:
        schedule.add(camera(schedule=Every(0.2)), None)
        until(lambda: len(times) >= 6)
    assert 0.8 < times[5] - times[0] < 1.9


def test_the_first_look_comes_within_a_second():
    times: dict[str, float] = {}

    def look(name: str) -> None:
        times.setdefault(name, time.monotonic())

    with running(look) as schedule:
        begun = time.monotonic()
        for number in range(8):
            schedule.add(camera(f"camera-{number}", schedule=Every(HOUR)), None)
        until(lambda: len(times) == 8)
    assert max(times.values()) - begun < 2


def test_a_first_look_that_was_due_before_the_start_is_made_at_the_start(hanging: Hanging):
    names = (f"camera-{number}" for number in range(1000))
    early, *_, late = sorted(names, key=lambda name: phase_s(name, 1.0))
    schedule = Schedule(hanging, 2, Lateness())
    for name in (early, late):
        schedule.add(camera(name, schedule=Every(HOUR)), None)
    begun = time.monotonic()
    until(lambda: time.monotonic() - begun > phase_s(early, 1.0))
    schedule.start()
    try:
        until(lambda: sorted(hanging.calls) == sorted([early, late]), 10)
    finally:
        schedule.stop(0)


@pytest.mark.slow
def test_more_slow_looks_than_threads_are_late_but_not_lost(hanging: Hanging):
    lateness = Lateness()
    with running(hanging, 1, lateness) as schedule:
        for name in "abc":
            schedule.add(camera(name, schedule=Every(HOUR)), None)
        until(lambda: lateness.figures()[0] > 1.5)  # misfire_grace_time is 1 s if it is not set
        hanging.go.set()
        until(lambda: sorted(hanging.calls) == ["a", "b", "c"])


def test_a_look_that_hangs_does_not_keep_other_cameras_from_looking(hanging: Hanging):
    hanging.names = ("a",)
    with running(hanging, 2) as schedule:
        for name in "abc":
            schedule.add(camera(name), None)
        until(lambda: "a" in hanging.calls)
        hanging.calls.clear()
        until(lambda: hanging.calls.count("b") > 3 and hanging.calls.count("c") > 3)
        assert "a" not in hanging.calls
        hanging.go.set()


def test_looks_that_raise_are_logged_once_and_the_camera_looks_again(caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO", "edged")
    calls: list[str] = []

    def look(name: str) -> None:
        calls.append(name)
        if len(calls) <= 3:
            raise RuntimeError("oops")

    with running(look, 1) as schedule:
        schedule.add(camera(), None)
        until(lambda: len(calls) >= 5)
    begin, end = [line for line in caplog.messages if "error in a look" in line or "looks succeed" in line]
    assert begin == "camera dock: unexpected error in a look: RuntimeError('oops')"
    assert re.fullmatch(r"camera dock: looks succeed again after \S+ s \(3 failed looks\)", end)
    assert [record.levelname for record in caplog.records if record.exc_info] == ["ERROR"]


def test_looks_are_made_only_within_their_hours(hanging: Hanging):
    hanging.go.set()
    always = (*NEVER, Hours(frozenset(range(7)), time_of_day(0), time_of_day(0)))
    with running(hanging) as schedule:
        schedule.add(camera("closed", hours=NEVER), None)
        schedule.add(camera("open", hours=always), None)
        until(lambda: schedule.ticks("closed").due >= 3 and hanging.calls.count("open") >= 3)
    assert "closed" not in hanging.calls


def test_shift_starts_intervals_anew(hanging: Hanging):
    hanging.go.set()
    with running(hanging) as schedule:
        schedule.add(camera(schedule=Every(HOUR)), None, soon=False)
        schedule.shift()
        until(lambda: hanging.calls == ["dock"], 5)


def test_before_the_start_no_camera_waits_too_long():
    schedule = Schedule(lambda _: None, 1, Lateness())
    schedule.add(camera(), None)
    assert not schedule.waits_too_long()
    assert schedule.timer_lateness_s() == 0.0


def test_intervals_are_restarted_in_the_time_zone_of_the_config(monkeypatch: pytest.MonkeyPatch, hanging: Hanging):
    """APScheduler would read the system's, which may be invalid."""
    hanging.go.set()
    with running(hanging) as schedule:
        schedule.add(camera(schedule=Every(HOUR)), "Asia/Seoul", soon=False)
        monkeypatch.setenv("TZ", "Nowhere/Atlantis")
        schedule.shift()
        until(lambda: hanging.calls == ["dock"], 5)


class HourAhead(datetime):
    """A clock that was set."""

    @classmethod
    def now(cls, tz=None):
        return datetime.now(tz) + timedelta(hours=1)


def test_a_clock_that_is_set_again_while_intervals_restart_is_noticed(
    monkeypatch: pytest.MonkeyPatch, hanging: Hanging
):
    hanging.go.set()
    with running(hanging) as schedule:
        schedule.add(camera(schedule=Every(1.0)), None)
        assert not schedule.waits_too_long()
        with monkeypatch.context() as clock:
            clock.setattr("edged.service.scheduler.datetime", HourAhead)
            schedule.shift()
        assert schedule.waits_too_long()
        schedule.shift()
        assert not schedule.waits_too_long()
        looks = len(hanging.calls)
        until(lambda: len(hanging.calls) > looks, 5)


def test_timer_lateness_is_that_of_the_most_overdue_camera(monkeypatch: pytest.MonkeyPatch, hanging: Hanging):
    with running(hanging) as schedule:
        for name in "ab":
            schedule.add(camera(name, schedule=Every(HOUR)), None, soon=False)
        assert schedule.timer_lateness_s() == 0.0
        with monkeypatch.context() as clock:
            clock.setattr("edged.service.scheduler.datetime", HourAhead)
            late_s = schedule.timer_lateness_s()
    overdue_s = HOUR - min(phase_s(name, HOUR) for name in "ab")
    assert overdue_s <= late_s < overdue_s + 60


@pytest.mark.parametrize("schedule", [Every(5.0), Cron("* * * * *")], ids=str)
def test_runs_missed_long_ago_are_not_made_up_for(schedule: Every | Cron):
    now = datetime.now(UTC)
    following = trigger(camera(schedule=schedule), UTC).get_next_fire_time(now - timedelta(days=365), now)
    assert now <= following < now + timedelta(seconds=61)


def test_phases_are_spread_and_the_same_at_each_start():
    phases = [phase_s(f"camera-{number}", 60.0) for number in range(50)]
    assert all(0 <= phase < 60 for phase in phases)
    assert max(phases) - min(phases) > 40
    assert phase_s("dock", 60.0) == pytest.approx(39.467, abs=0.001)


# skipped looks


def test_a_tick_that_finds_its_look_running_is_skipped_and_counted(hanging: Hanging):
    with running(hanging) as schedule:
        schedule.add(camera(), None)
        until(lambda: schedule.ticks("dock").skipped >= 3)
        assert hanging.calls == ["dock"]
        ticks = schedule.ticks("dock")
        assert ticks.due == ticks.skipped + 1
        hanging.go.set()
        until(lambda: len(hanging.calls) >= 2)


@pytest.mark.slow
def test_skips_are_logged_once_for_all_cameras_and_once_more_when_they_are_over(
    hanging: Hanging, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO", "edged")
    with running(hanging, settled_s=0.3) as schedule:
        for name in ("dock", "yard", "gate"):
            schedule.add(camera(name), None)
        until(lambda: all(schedule.ticks(name).skipped >= 5 for name in ("dock", "yard", "gate")))
        assert len(caplog.messages) == 1
        hanging.go.set()
        until(lambda: len(caplog.messages) == 2)
        skipped = sum(schedule.ticks(name).skipped for name in ("dock", "yard", "gate"))
    behind, again = caplog.messages
    assert behind.startswith("schedule: falling behind; camera ")
    assert behind.endswith(": look skipped because the previous one is still running")
    assert again.startswith("schedule: back on schedule after ")
    assert again.endswith(f" ({skipped} looks skipped)")


def test_a_removed_camera_is_not_behind_any_more(hanging: Hanging, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO", "edged")
    with running(hanging) as schedule:
        schedule.add(camera(), None)
        until(lambda: caplog.messages)
        schedule.remove("dock")
        assert "the cameras that skipped looks are paused or removed" in caplog.messages[-1]
        hanging.go.set()


# adding and removing


def test_a_removed_camera_is_not_looked_at(hanging: Hanging):
    hanging.go.set()
    with running(hanging) as schedule:
        schedule.add(camera("dock"), None)
        schedule.add(camera("yard"), None)
        until(lambda: "dock" in hanging.calls)
        schedule.remove("dock")
        schedule.remove("dock")
        assert not schedule.has("dock")
        hanging.calls.clear()
        until(lambda: hanging.calls.count("yard") >= 5)
    assert hanging.calls.count("dock") <= 1  # a look that had begun may go on


def test_a_removed_camera_has_no_counts(hanging: Hanging):
    hanging.go.set()
    with running(hanging) as schedule:
        schedule.add(camera(), None)
        until(lambda: schedule.ticks("dock").due >= 2)
        schedule.remove("dock")
        assert schedule.ticks("dock") == Ticks()


def test_a_removed_camera_does_not_wait_for_its_look(hanging: Hanging):
    lateness = Lateness()
    with running(hanging, 1, lateness) as schedule:
        schedule.add(camera("dock", schedule=Every(HOUR)), None)
        until(lambda: lateness.figures()[1] > 0.2)
        schedule.remove("dock")
        assert lateness.figures() == (0.0, 0.0)
        hanging.go.set()


def test_adding_again_changes_interval_and_hours_and_keeps_the_count(hanging: Hanging):
    hanging.go.set()
    with running(hanging) as schedule:
        schedule.add(camera(schedule=Every(HOUR), hours=NEVER), None)
        until(lambda: schedule.ticks("dock").due == 1)
        schedule.add(camera(schedule=Every(0.1)), None)
        until(lambda: len(hanging.calls) >= 2)
        assert schedule.ticks("dock").due >= 3


def test_a_camera_that_is_added_again_during_its_look_is_looked_at_when_that_look_ends(
    hanging: Hanging, caplog: pytest.LogCaptureFixture
):
    with running(hanging) as schedule:
        schedule.add(camera(schedule=Every(HOUR)), None)
        until(lambda: hanging.calls)
        schedule.remove("dock")
        schedule.add(camera(schedule=Every(HOUR)), None)
        until(lambda: schedule.ticks("dock").due == 1)
        assert hanging.calls == ["dock"]  # one at a time
        hanging.go.set()
        until(lambda: len(hanging.calls) == 2)
    assert schedule.ticks("dock").skipped == 0
    assert not caplog.messages


def test_of_several_schedules_that_wait_for_a_look_only_the_newest_looks(hanging: Hanging):
    with running(hanging) as schedule:
        schedule.add(camera("dock", schedule=Every(HOUR)), None)
        until(lambda: hanging.calls)
        for _ in range(3):
            before = schedule.ticks("dock").due
            schedule.add(camera("dock", schedule=Every(HOUR)), None)
            until(partial(lambda due: schedule.ticks("dock").due > due, before))
        hanging.go.set()
        until(lambda: len(hanging.calls) == 2)
        schedule.add(camera("yard"), None)
        until(lambda: hanging.calls.count("yard") >= 3)
    assert hanging.calls.count("dock") == 2


def test_a_look_that_waits_for_that_of_an_earlier_schedule_counts_as_late(hanging: Hanging):
    lateness = Lateness()
    with running(telling(lateness, hanging), 4, lateness) as schedule:
        schedule.add(camera(schedule=Every(HOUR)), None)
        until(lambda: hanging.calls)
        schedule.add(camera(schedule=Every(HOUR)), None)
        until(lambda: lateness.figures()[1] > 0.7)
        hanging.go.set()
        until(lambda: len(hanging.calls) == 2)
    assert lateness.figures()[1] > 0.7


def test_a_schedule_that_cannot_be_added_leaves_the_old_one_in_place(hanging: Hanging):
    hanging.go.set()
    with running(hanging) as schedule:
        schedule.add(camera(hours=NEVER), None)
        with pytest.raises(ValueError, match="not a cron expression"):
            schedule.add(camera(schedule=Cron("61 * * * *")), None)
        with pytest.raises(ValueError, match="not a time zone"):
            schedule.add(camera(), "Nowhere/Land")
        due = schedule.ticks("dock").due
        until(lambda: schedule.ticks("dock").due >= due + 3)
        with pytest.raises(ValueError, match="not a cron expression"):
            schedule.add(camera("new", schedule=Cron("61 * * * *")), None)
        assert not schedule.has("new")
    assert hanging.calls == []


@pytest.mark.parametrize(
    "schedule",
    [
        Every(0.001),
        Every(31 * DAY),
        Cron("0 0 29 2 *"),
        Cron("0 0 30 2 *"),
        Cron("0 0 last * *"),
        Cron("5/7 */3 1-9/2 jan-jun sun"),
    ],
    ids=str,
)
@pytest.mark.parametrize("soon", [True, False])
def test_every_valid_schedule_can_be_added_and_shifted(schedule: Every | Cron, soon: bool):
    with running(lambda _: None) as plan:
        plan.add(camera(schedule=schedule), "America/New_York", soon)
        plan.shift()
        assert plan.has("dock")
        assert plan.timer_lateness_s() < 1
        plan.remove("dock")


# lateness


class Record(Lateness):
    """Records the calls. `due` and `ended` are slow, so that a call that does not wait for them comes in between."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.never = threading.Event()

    def slowly(self, call: str) -> None:
        self.calls.append(f"{call} ...")
        self.never.wait(0.1)
        self.calls.append(call)

    def due(self, name: str, at: float) -> None:
        self.slowly("due")

    def begun(self, name: str) -> None:
        self.calls.append("begun")

    def ended(self, name: str) -> None:
        self.slowly("ended")


def test_a_look_is_due_before_it_begins_and_over_before_the_next_one_is_due():
    record = Record()
    with running(record.begun, 4, record) as schedule:
        schedule.add(camera(schedule=Every(0.02)), None)
        until(lambda: len(record.calls) >= 15)
    assert record.calls[:15] == ["due ...", "due", "begun", "ended ...", "ended"] * 3


@pytest.mark.slow
def test_lateness_counts_from_the_tick_through_the_wait_for_a_thread(hanging: Hanging):
    lateness = Lateness()
    with running(telling(lateness, hanging), 1, lateness) as schedule:
        schedule.add(camera("a", schedule=Every(HOUR)), None)
        until(lambda: hanging.calls)
        assert lateness.figures()[1] < 0.3
        schedule.add(camera("b", schedule=Every(HOUR)), None)
        until(lambda: lateness.figures()[1] > 0.5)
        hanging.go.set()
        until(lambda: len(hanging.calls) == 2)
        assert 0.5 < lateness.figures()[1] < 5


def test_a_clock_that_was_set_is_not_lateness(monkeypatch: pytest.MonkeyPatch, hanging: Hanging):
    lateness, clock = Lateness(), time.time
    with running(hanging, 1, lateness) as schedule:
        monkeypatch.setattr(time, "time", lambda: clock() + 5 * HOUR)
        schedule.add(camera(), None)
        until(lambda: hanging.calls)
        assert lateness.figures()[1] < 5
        hanging.go.set()


@pytest.mark.slow
def test_with_all_threads_hung_lateness_grows(hanging: Hanging):
    lateness = Lateness()
    with running(telling(lateness, hanging), 2, lateness) as schedule:
        for name in "abc":
            schedule.add(camera(name), None)
        until(lambda: lateness.figures()[1] > 1.0)
        assert len(hanging.calls) == 2
        assert schedule.timer_lateness_s() < 0.5
        hanging.go.set()


class Blocking(logging.Handler):
    """A log handler that blocks until `go` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.go.wait(30)


@pytest.mark.slow
def test_timer_lateness_grows_while_the_thread_of_the_scheduler_is_stuck(hanging: Hanging):
    blocking, log = Blocking(), logging.getLogger("edged.schedule")
    with running(hanging) as schedule:
        log.addHandler(blocking)  # before the first skipped look, which is logged once
        try:
            schedule.add(camera(), None)
            until(lambda: hanging.calls)
            until(lambda: schedule.timer_lateness_s() > 1.0)
        finally:
            log.removeHandler(blocking)
            blocking.go.set()
        hanging.go.set()
        until(lambda: schedule.timer_lateness_s() < 0.2)


# stopping


def test_no_look_begins_after_a_stop(hanging: Hanging):
    with running(hanging, 1) as schedule:
        for name in "abc":
            schedule.add(camera(name), None)
        until(lambda: all(schedule.ticks(name).due for name in "abc"))
        assert not schedule.stop(0.1)
        hanging.go.set()
        assert schedule.stop(10)
    assert len(hanging.calls) == 1


def test_a_stop_waits_for_looks_that_end():
    going, ended = threading.Event(), threading.Event()

    def look(_: str) -> None:
        going.set()
        stopping.wait(10)
        ended.set()

    stopping = threading.Event()
    with running(look) as schedule:
        schedule.add(camera(), None)
        until(going.is_set)
        threading.Timer(0.2, stopping.set).start()
        assert schedule.stop(10)
        assert ended.is_set()


def test_a_stop_does_not_wait_for_a_look_that_hangs(hanging: Hanging):
    with running(hanging) as schedule:
        schedule.add(camera("a"), None)
        schedule.add(camera("b"), None)
        until(lambda: len(hanging.calls) == 2)
        begun = time.monotonic()
        assert not schedule.stop(0.3)
        assert time.monotonic() - begun < 1.5
        hanging.go.set()


def test_a_schedule_that_never_started_can_be_stopped():
    schedule = Schedule(lambda _: None, 4, Lateness())
    schedule.add(camera(), None)
    assert schedule.timer_lateness_s() == 0.0
    assert schedule.stop()


HANGS = """
import threading
from edged.core.cron import parse_cron
from edged.core.secret import Secret
from edged.service.lateness import Lateness
from edged.service.scheduler import Schedule
from edged.core.specs import CameraSpec, Every, SourceSpec

going = threading.Event()
schedule = Schedule(lambda _: (going.set(), threading.Event().wait()), 2, Lateness())
schedule.start()
schedule.add(CameraSpec("dock", SourceSpec("path", Secret("x"), "x"), schedule=Every(0.1)), None)
going.wait()
print(schedule.stop(0.1))
"""


def test_a_look_that_hangs_does_not_keep_the_process_from_ending():
    done = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr


# time zones


ZONE = """
from datetime import datetime
from edged.service.scheduler import cron_trigger
from edged.service.time_zone import zone
utc = zone("UTC")
for month in (1, 7):
    hours = zone(None).utcoffset(datetime(2026, month, 1)).total_seconds() / 3600
    eight = cron_trigger("0 8 * * *", zone(None)).get_next_fire_time(None, datetime(2026, month, 1, tzinfo=utc))
    print(hours, eight.astimezone(utc).hour)
"""


def run_in_zone(variable: str) -> tuple[str, list[str]]:
    """The output of a process with this TZ, and the lines that it logs."""
    done = subprocess.run(
        [sys.executable, "-c", ZONE], capture_output=True, text=True, timeout=30, env=os.environ | {"TZ": variable}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr.splitlines()


def zone_file() -> str:
    return next(str(path) for folder in zoneinfo.TZPATH if (path := Path(folder, "Europe/Berlin")).is_file())


@pytest.mark.parametrize("variable", ["Europe/Berlin", ":Europe/Berlin", zone_file(), f":{zone_file()}"])
def test_the_system_time_zone_knows_daylight_saving(variable: str):
    assert run_in_zone(variable) == ("1.0 7\n2.0 6\n", [])


@pytest.mark.parametrize(
    "variable", ["CET-1CEST,M3.5.0,M10.5.0/3", "Nowhere/Land", "/dev/null", "/etc", "../x", "x" * 300]
)
def test_an_unknown_system_time_zone_is_utc_with_one_warning(variable: str):
    printed, logged = run_in_zone(variable)
    assert printed == "0.0 8\n0.0 8\n"
    assert logged == [
        f'unknown system time zone: TZ="{variable}" is not supported; using UTC (set timezone: in the config)'
    ]


@pytest.mark.parametrize("size", [4, 30, 60, 400])
def test_a_damaged_zone_file_is_utc_with_one_warning(size: int, tmp_path: Path):
    (tmp_path / "zone").write_bytes(Path(zone_file()).read_bytes()[:size])
    printed, logged = run_in_zone(str(tmp_path / "zone"))
    assert printed == "0.0 8\n0.0 8\n"
    assert len(logged) == 1


def test_parsing_a_cron_expression_needs_no_system_time_zone():
    program = 'from edged.core.cron import parse_cron; parse_cron("0 8 * * *")'
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, env=os.environ | {"TZ": "x/y"}
    )
    assert (done.returncode, done.stderr) == (0, "")


# cron expressions and hours


@pytest.mark.parametrize(
    ("weekday", "days"),
    [
        ("1-5", "mon,tue,wed,thu,fri"),
        ("0", "sun"),
        ("7", "sun"),
        ("sun-tue", "sun,mon,tue"),
        ("mon-sun", "mon,tue,wed,thu,fri,sat,sun"),
        ("5-7", "fri,sat,sun"),
        ("1,3", "mon,wed"),
        ("1-5/2", "mon,wed,fri"),
        ("*/2", "sun,tue,thu,sat"),
        ("5/1", "fri,sat,sun"),
        ("SAT/1", "sat,sun"),
        ("5/2", "fri,sun"),
    ],
)
def test_cron_weekdays_count_from_sunday(weekday: str, days: str):
    assert {WEEKDAYS[day] for day in parse_cron(f"0 8 * * {weekday}").weekdays} == set(days.split(","))


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("* * * *", '"* * * *" has 4 fields; cron has five: minute hour day month weekday'),
        ("* " * 500, f'"{"* " * 29}*…" has 500 fields; cron has five: minute hour day month weekday'),
        (f"{'0,' * 500}61 * * * *", f'"{"0," * 29}0…" is not a cron expression: "61" is not a minute (0-59)'),
        ("61 * * * *", '"61 * * * *" is not a cron expression: "61" is not a minute (0-59)'),
        ("* * * 13 *", '"* * * 13 *" is not a cron expression: "13" is not a month (1-12, or jan-dec)'),
        ("* * * * 8", '"* * * * 8" is not a cron expression: "8" is not a weekday (0-7, or sun-sat)'),
        ("* * * * 5-1", '"* * * * 5-1" is not a cron expression: range "5-1" of weekday is reversed'),
        ("x * * * *", '"x * * * *" is not a cron expression: "x" is not a minute (0-59)'),
        ("* , * * *", '"* , * * *" is not a cron expression: "" is not an hour (0-23)'),
        ("* * * * 1/0", '"* * * * 1/0" is not a cron expression: step "0" of weekday must be a number from 1'),
        ("*/90 * * * *", '"*/90 * * * *" is not a cron expression: step 90 of minute is too large for 0-59'),
        ("* * * * 7/2", '"* * * * 7/2" is not a cron expression: step 2 of weekday is too large for 7-7'),
        ("* * last-1 * *", '"* * last-1 * *" is not a cron expression: "last" takes no range or step'),
        ("* * last/2 * *", '"* * last/2 * *" is not a cron expression: "last" takes no range or step'),
    ],
)
def test_a_wrong_cron_expression_is_a_sentence(expression: str, sentence: str):
    with pytest.raises(ValueError) as error:  # noqa: PT011  # the whole sentence is compared below
        parse_cron(expression)
    assert str(error.value) == sentence


def test_cron_values_may_be_names_and_ranges_of_one():
    times = parse_cron("5-5 23-23 * JAN,dec sun-sun")
    values = [sorted(each) for each in (times.minutes, times.hours, times.months, times.weekdays)]
    assert values == [[5], [23], [1, 12], [6]]


@pytest.mark.parametrize(
    ("minute", "sentence"),
    [
        ("x" * 30, f'"{shorten("x" * 30, 20)}" is not a minute (0-59)'),
        (f"*/{'x' * 30}", f'step "{shorten("x" * 30, 20)}" of minute must be a number from 1'),
        ("*/1000", 'step "1000" of minute must be a number from 1'),
        ("*/999", "step 999 of minute is too large for 0-59"),
    ],
)
def test_a_long_part_of_a_cron_expression_is_shortened(minute: str, sentence: str):
    with pytest.raises(ValueError, match="is not a cron expression: ") as error:
        parse_cron(f"{minute} * * * *")
    assert str(error.value).endswith(f": {sentence}")


def test_hours_contain_moments_by_weekday_and_past_midnight():
    office = Hours(frozenset(range(5)), time_of_day(6), time_of_day(22))
    night = Hours(frozenset({4}), time_of_day(22), time_of_day(6))
    always = Hours(frozenset(range(7)), time_of_day(0), time_of_day(0))
    seoul = ZoneInfo("Asia/Seoul")
    friday, saturday = datetime(2026, 11, 20, 23, 30, tzinfo=seoul), datetime(2026, 11, 21, 5, 59, tzinfo=seoul)
    moments = (friday, friday.replace(hour=21), saturday)
    assert [office.contains(moment) for moment in moments] == [False, True, False]
    moments = (friday, saturday, saturday.replace(hour=6))
    assert [night.contains(moment) for moment in moments] == [True, True, False]
    assert always.contains(friday)


# schedules that never look


@pytest.mark.parametrize("days", ["29 2", "30 4", "31 1", "31 4,5", "31,30 4", "last 2", "last 4"])
def test_a_date_that_exists_in_some_year_occurs(days: str):
    assert why_never(Cron(f"0 0 {days} *"), ()) is None


@pytest.mark.parametrize("days", ["30 2", "31 4", "30,31 2", "31 2,4,6,9,11"])
def test_a_date_that_exists_in_no_year_never_occurs(days: str):
    assert why_never(Cron(f"0 0 {days} *"), ()) == (
        f'cron "0 0 {days} *" never occurs: this date does not exist in any year'
    )


def test_a_cron_expression_whose_times_are_all_outside_of_the_hours_never_occurs():
    evening = (Hours(frozenset({0}), time_of_day(20), time_of_day(21)),)
    assert why_never(Cron("0 20 * * mon"), evening) is None
    assert why_never(Cron("0 21 * * *"), evening) == 'cron "0 21 * * *" never occurs within hours'


def test_windows_cover_the_week_if_no_minute_is_left():
    day = Hours(frozenset(range(7)), time_of_day(6), time_of_day(22))
    night = replace(day, begin=day.end, end=day.begin)
    assert is_always((day, night))
    assert not is_always((day, replace(night, end=time_of_day(5, 59))))
    assert not is_always(())


def test_the_shortest_window_is_that_of_hours_that_follow_each_other():
    def window(begin: str, end: str, days: range = range(7)) -> Hours:
        return Hours(frozenset(days), time_of_day.fromisoformat(begin), time_of_day.fromisoformat(end))

    assert shortest_window_s((window("12:00", "12:30"),)) == 1800
    assert shortest_window_s((window("12:00", "12:30"), window("12:30", "13:00"), window("20:00", "21:30"))) == 3600
    assert shortest_window_s((window("23:30", "00:30"),)) == 3600
    assert shortest_window_s((window("23:00", "00:00", range(6, 7)), window("00:00", "01:00", range(1)))) == 7200
    assert shortest_window_s((window("00:00", "00:00"),)) == shortest_window_s(()) == float("inf")


# intervals and expiry


def hours(days: str, begin: int, end: int) -> Hours:
    numbers = {"all": range(7), "mon-fri": range(5), "fri,sat": (4, 5), "sun": (6,)}[days]
    return Hours(frozenset(numbers), time_of_day(begin), time_of_day(end))


GAPS = [
    ("* * * * *", (), 60.0, 60.0),
    ("*/5 * * * *", (), 300.0, 300.0),
    ("*/5 6-22 * * *", (), 300.0, 7 * HOUR + 300),
    ("*/5 6-22 * * mon-fri", (), 300.0, 2 * DAY + 7 * HOUR + 300),
    ("0 6 * * mon-fri", (), DAY, 3 * DAY),
    ("0 8,9,20 * * *", (), HOUR, 12 * HOUR),
    ("0 6 * * sun", (), WEEK, WEEK),
    ("* * * * *", (hours("all", 6, 22),), 60.0, 8 * HOUR + 60),
    ("*/30 * * * *", (hours("all", 22, 6),), 1800.0, 16.5 * HOUR),
    ("*/30 * * * *", (hours("fri,sat", 22, 6),), 1800.0, 5 * DAY + 16.5 * HOUR),
    ("*/30 * * * *", (hours("sun", 22, 6),), 1800.0, 6 * DAY + 16.5 * HOUR),
    ("0 * * * *", (hours("mon-fri", 6, 22), hours("fri,sat", 22, 6)), HOUR, DAY + HOUR),
    ("0 * * * *", (hours("mon-fri", 8, 8),), HOUR, 2 * DAY + HOUR),
    ("0 * * * *", (hours("sun", 12, 13),), WEEK, WEEK),
    ("0 12 * * *", (hours("all", 13, 14),), WEEK, WEEK),
    ("*/5 * 1 * *", (), 300.0, WEEK),
    ("*/5 * * jan-jun *", (), 300.0, WEEK),
    ("*/5 * last * *", (), 300.0, WEEK),
    ("*/5 * 1-31 1-12 *", (), 300.0, 300.0),
]


@pytest.mark.parametrize(("expression", "windows", "shortest", "longest"), GAPS)
def test_the_interval_of_a_cron_expression_is_its_longest_gap_in_a_week(
    expression: str, windows: tuple[Hours, ...], shortest: float, longest: float
):
    spec = camera(schedule=Cron(expression), hours=windows)
    assert (shortest_interval_s(spec), interval_s(spec)) == (shortest, longest)


def test_the_interval_of_every_is_itself_whatever_the_hours():
    spec = camera(schedule=Every(30.0), hours=(hours("sun", 6, 7),))
    assert (shortest_interval_s(spec), interval_s(spec)) == (30.0, 30.0)


@pytest.mark.parametrize(
    ("schedule", "question_every_s", "seconds"),
    [
        (Every(5.0), None, 60.0),
        (Every(30.0), None, 90.0),
        (Every(30.0), 600.0, 1800.0),
        (Every(600.0), 30.0, 1800.0),
        (Every(3 * DAY), None, WEEK),
        (Every(30.0), 30 * DAY, WEEK),
        (Cron("* * * * *"), None, 180.0),
        (Cron("*/5 6-22 * * *"), None, 76500.0),
        (Cron("*/5 6-22 * * *"), DAY, 3 * DAY),
        (Cron("0 6 * * mon-fri"), None, WEEK),
        (Cron("0 0 1 * *"), None, WEEK),
    ],
)
def test_answers_expire_after_three_intervals_a_minute_at_least_a_week_at_most(
    schedule: Every | Cron, question_every_s: float | None, seconds: float
):
    assert expiry_s(camera(schedule=schedule), question_every_s) == seconds


@pytest.mark.parametrize(
    ("schedule", "question_every_s", "seconds"),
    [
        (Every(30.0), 60.0, 59.0),
        (Every(30.0), 10.0, 9.5),
        (Every(1.0), 20.0, 19.5),  # not 19.0: the look after 19 s is too early
        (Every(0.1), 1.0, 0.95),
        (Every(0.1), 3600.0, 3599.95),
        (Cron("* * * * *"), 600.0, 599.0),
    ],
)
def test_a_question_is_asked_at_the_look_that_is_nearest_to_its_own_interval(
    schedule: Every | Cron, question_every_s: float, seconds: float
):
    assert asked_again_after_s(camera(schedule=schedule), question_every_s) == seconds


@pytest.mark.parametrize(
    "windows",
    [
        (hours("all", 6, 22),),
        (hours("all", 0, 0),),
        (hours("sun", 22, 6),),
        (hours("mon-fri", 8, 8), hours("fri,sat", 23, 1)),
        (Hours(frozenset({2}), time_of_day(6, 30), time_of_day(6, 31)),),
    ],
)
def test_the_times_of_a_week_are_those_within_the_hours(windows: tuple[Hours, ...]):
    monday = datetime(2026, 11, 23, tzinfo=UTC)
    inside = [
        minute
        for minute in range(7 * 24 * 60)
        if any(window.contains(monday + timedelta(minutes=minute)) for window in windows)
    ]
    assert list(week_times(Cron("* * * * *"), windows)) == inside


def test_the_times_of_a_week_are_those_of_the_trigger():
    expression = "5,7-50/9 */7,22 * * sun,2-4"
    moment = monday = datetime(2026, 11, 23, tzinfo=UTC)
    due = []
    while (moment := cron_trigger(expression).get_next_fire_time(None, moment)) < monday + timedelta(days=7):
        due.append(int((moment - monday).total_seconds()) // 60)
        moment += timedelta(seconds=1)
    assert list(week_times(Cron(expression), ())) == due


def test_a_thread_that_cannot_be_started_costs_one_look(monkeypatch: pytest.MonkeyPatch, hanging: Hanging):
    started, failures = threading.Thread.start, ["once"]

    def start(thread: threading.Thread) -> None:
        if thread.name.startswith("look-") and failures:
            failures.pop()
            raise RuntimeError("can't start new thread")
        started(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with running(hanging) as schedule:
        schedule.add(camera(), None)
        until(lambda: hanging.calls)
        until(lambda: schedule.ticks("dock").skipped)  # still only one at a time
        assert len(hanging.calls) == 1
        hanging.go.set()
        assert schedule.stop()


class Stuck(Lateness):
    """Blocks the thread of the scheduler while it holds its lock."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def due(self, name: str, at: float) -> None:
        self.go.wait(30)


@pytest.mark.slow
def test_timer_lateness_is_known_while_the_scheduler_is_stuck_with_its_lock():
    stuck = Stuck()
    schedule = Schedule(lambda _: None, 1, stuck)
    schedule.start()
    schedule.add(camera(), None)
    begun = time.monotonic()
    until(lambda: schedule.timer_lateness_s() > 1.0)
    assert time.monotonic() - begun < 20
    stuck.go.set()
    assert schedule.stop()
