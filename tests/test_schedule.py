"""Looks are made in time, one at a time, and only within their hours."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest
from broker import until

from edged.core import Secret
from edged.schedule import Schedule, cron_trigger, interval_s, phase_s
from edged.specs import CameraSpec, Cron, Every, Hours, SourceSpec

SOURCE = SourceSpec("path", Secret("x"), "x")


def camera(name: str = "dock", **more) -> CameraSpec:
    return CameraSpec(name, SOURCE, **{"schedule": Every(0.2)} | more)


def test_looks_come_at_their_interval_and_the_first_within_a_second():
    seen: list[str] = []
    schedule = Schedule(seen.append, 4)
    schedule.start()
    schedule.add(camera("a"), None)
    schedule.add(camera("b", schedule=Every(3600.0)), None)
    until(lambda: seen.count("a") >= 3 and seen.count("b") == 1, 5)
    schedule.stop()


def test_a_look_still_running_skips_its_tick_which_is_counted_and_said_once(caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO", "edged")
    going, calls = threading.Event(), []

    def look(name: str) -> None:
        calls.append(name)
        going.wait(20)

    schedule = Schedule(look, 4)
    schedule.start()
    schedule.add(camera(), None)
    until(lambda: schedule.ticks("dock").skipped >= 3)
    assert calls == ["dock"]
    going.set()
    until(lambda: len(calls) >= 2)
    schedule.stop()
    assert [message for message in caplog.messages if "skipped" in message][:2] == [
        "camera dock: look skipped, because the one before is still running",
        next(message for message in caplog.messages if "in time again" in message),
    ]


def test_more_slow_looks_than_threads_are_late_but_not_lost():
    seen: list[str] = []
    busy = threading.Event()

    def look(name: str) -> None:
        busy.wait(0.4)
        seen.append(name)

    schedule = Schedule(look, 1)
    schedule.start()
    for name in "abc":
        schedule.add(camera(name, schedule=Every(3600.0)), None)
    until(lambda: sorted(seen) == ["a", "b", "c"])
    schedule.stop()


def test_a_removed_camera_is_not_looked_at():
    seen: list[str] = []
    schedule = Schedule(seen.append, 4)
    schedule.start()
    schedule.add(camera(schedule=Every(3600.0)), None, soon=False)
    assert schedule.has("dock")
    schedule.remove("dock")
    schedule.remove("dock")
    assert not schedule.has("dock")
    schedule.stop()
    assert seen == []


def test_after_a_jump_of_the_clock_looks_begin_anew():
    seen: list[str] = []
    schedule = Schedule(seen.append, 4)
    schedule.start()
    schedule.add(camera(schedule=Every(3600.0)), None, soon=False)
    schedule.shift()
    until(lambda: seen == ["dock"], 5)
    schedule.stop()


def test_phases_are_spread_and_stay_the_same():
    phases = [phase_s(f"camera-{number}", 60.0) for number in range(50)]
    assert all(0 <= phase < 60 for phase in phases)
    assert max(phases) - min(phases) > 40
    assert phase_s("dock", 60.0) == phase_s("dock", 60.0)


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
    ],
)
def test_cron_weekdays_count_from_sunday(weekday: str, days: str):
    assert str(cron_trigger(f"0 8 * * {weekday}", UTC).fields[4]) == days


@pytest.mark.parametrize(
    "expression", ["* * * *", "61 * * * *", "* * * * 8", "* * * * 5-1", "x * * * *", "* * * * 1/0"]
)
def test_a_wrong_cron_expression_is_a_sentence(expression: str):
    with pytest.raises(ValueError, match=r"^\"?"):
        cron_trigger(expression)


def test_hours_hold_by_weekday_and_past_midnight():
    office = Hours(frozenset(range(5)), time(6), time(22))
    night = Hours(frozenset({4}), time(22), time(6))
    always = Hours(frozenset(range(7)), time(0), time(0))
    seoul = ZoneInfo("Asia/Seoul")
    friday, saturday = datetime(2026, 11, 20, 23, 30, tzinfo=seoul), datetime(2026, 11, 21, 5, 59, tzinfo=seoul)
    assert [office.hold(friday), office.hold(friday.replace(hour=21)), office.hold(saturday)] == [False, True, False]
    assert [night.hold(friday), night.hold(saturday), night.hold(saturday.replace(hour=6))] == [True, True, False]
    assert always.hold(friday)


def test_the_interval_of_a_cron_expression_is_its_longest_gap():
    assert interval_s(camera(schedule=Cron("*/5 * * * *")), "UTC") == 300.0
    assert interval_s(camera(schedule=Cron("0 6 * * mon-fri")), "UTC") == 3 * 86400.0
