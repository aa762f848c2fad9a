"""How late looks are, and when a camera is behind schedule."""

from __future__ import annotations

import pytest
from support.clock import Clock

from edged.service.lateness import Lateness, SkippedLooks


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lateness(clock: Clock) -> Lateness:
    return Lateness(clock)


def look(lateness: Lateness, clock: Clock, waited_s: float, name: str = "dock") -> None:
    lateness.due(name, clock.now - waited_s)
    lateness.begun(name)
    lateness.ended(name)


def test_without_looks_nothing_is_late(lateness: Lateness):
    assert lateness.figures() == (0.0, 0.0)


def test_lateness_runs_from_when_a_look_was_due_to_its_frame(lateness: Lateness, clock: Clock):
    look(lateness, clock, 1.0)
    look(lateness, clock, 3.0, "yard")
    assert lateness.figures() == (2.0, 3.0)


def test_the_duration_of_a_look_is_not_lateness(lateness: Lateness, clock: Clock):
    lateness.due("dock", clock.now)
    lateness.begun("dock")
    clock.now += 30
    lateness.ended("dock")
    assert lateness.figures() == (0.0, 0.0)


def test_a_waiting_look_counts(lateness: Lateness, clock: Clock):
    look(lateness, clock, 1.0)
    lateness.due("yard", clock.now)
    clock.now += 5
    assert lateness.figures() == (3.0, 5.0)
    clock.now += 40
    assert lateness.figures() == (23.0, 45.0)


def test_a_look_that_ended_without_a_frame_is_not_counted(lateness: Lateness, clock: Clock):
    lateness.due("dock", clock.now - 9)
    lateness.ended("dock")
    assert lateness.figures() == (0.0, 0.0)


def test_a_requested_look_was_never_due(lateness: Lateness):
    lateness.begun("dock")
    lateness.ended("dock")
    assert lateness.figures() == (0.0, 0.0)


def test_only_the_last_minute_counts(lateness: Lateness, clock: Clock):
    look(lateness, clock, 8.0)
    clock.now += 59
    look(lateness, clock, 2.0)
    assert lateness.figures() == (5.0, 8.0)
    clock.now += 2
    assert lateness.figures() == (2.0, 2.0)
    clock.now += 3600
    assert lateness.figures() == (0.0, 0.0)


def test_an_early_look_is_not_late(lateness: Lateness, clock: Clock):
    look(lateness, clock, -5.0)
    assert lateness.figures() == (0.0, 0.0)


@pytest.fixture
def behind(clock: Clock, caplog: pytest.LogCaptureFixture) -> SkippedLooks:
    caplog.set_level("INFO", "edged")
    return SkippedLooks(60.0, clock)


def keep(behind: SkippedLooks, name: str, ticks: int) -> None:
    for _ in range(ticks):
        behind.kept(name)


FIRST = "schedule: falling behind; camera dock: look skipped because the previous one is still running"


def test_any_number_of_skips_of_any_number_of_cameras_is_one_line(behind: SkippedLooks, clock: Clock, caplog):
    behind.skipped("dock")
    for number in range(1000):
        clock.now += 1
        behind.skipped(f"camera-{number % 20}")
        behind.kept("dock")
    assert caplog.messages[:1] == [FIRST]
    assert len(caplog.messages) == 1


def test_the_outage_ends_when_the_last_camera_is_back(behind: SkippedLooks, clock: Clock, caplog):
    behind.skipped("dock")
    behind.skipped("yard")
    behind.skipped("yard")
    clock.now += 60
    keep(behind, "dock", 3)
    assert caplog.messages == [FIRST]
    keep(behind, "yard", 3)
    assert caplog.messages == [FIRST, "schedule: back on schedule after 0 s (3 looks skipped)"]


def test_a_camera_is_behind_until_it_kept_three_ticks_in_a_row(behind: SkippedLooks, clock: Clock, caplog):
    behind.skipped("dock")
    clock.now += 100
    keep(behind, "dock", 2)
    behind.skipped("dock")
    clock.now += 100
    keep(behind, "dock", 2)
    assert caplog.messages == [FIRST]
    keep(behind, "dock", 1)
    assert len(caplog.messages) == 2


def test_a_camera_is_behind_until_its_last_skip_is_a_minute_ago(behind: SkippedLooks, clock: Clock, caplog):
    behind.skipped("dock")
    clock.now += 59
    keep(behind, "dock", 50)
    assert caplog.messages == [FIRST]
    clock.now += 1
    keep(behind, "dock", 1)
    assert len(caplog.messages) == 2


def test_a_camera_that_is_paused_or_removed_is_not_behind_and_not_back_either(behind: SkippedLooks, caplog):
    behind.skipped("dock")
    behind.removed("dock")
    behind.removed("never-behind")
    gone = "schedule: over after 0 s (1 look skipped): the cameras that skipped looks are paused or removed"
    assert caplog.messages == [FIRST, gone]


@pytest.mark.parametrize("first", ["dock back", "yard removed"])
def test_the_schedule_is_back_if_one_camera_is_back_and_the_other_removed(
    behind: SkippedLooks, clock: Clock, caplog, first: str
):
    behind.skipped("dock")
    behind.skipped("yard")
    clock.now += 60
    ends = {"dock back": lambda: keep(behind, "dock", 3), "yard removed": lambda: behind.removed("yard")}
    ends.pop(first)()
    assert caplog.messages == [FIRST]
    for end in ends.values():
        end()
    assert caplog.messages[1:] == ["schedule: back on schedule after 0 s (2 looks skipped)"]


def test_a_camera_that_was_back_and_is_removed_too_is_not_back(behind: SkippedLooks, clock: Clock, caplog):
    behind.skipped("dock")
    behind.skipped("yard")
    clock.now += 60
    keep(behind, "dock", 3)
    behind.removed("dock")
    behind.removed("yard")
    gone = "schedule: over after 0 s (2 looks skipped): the cameras that skipped looks are paused or removed"
    assert caplog.messages[1:] == [gone]


def test_a_second_time_is_logged_again_with_its_own_camera(behind: SkippedLooks, caplog):
    behind.skipped("dock")
    behind.removed("dock")
    behind.skipped("yard")
    assert caplog.messages[2:] == [FIRST.replace("dock", "yard")]
