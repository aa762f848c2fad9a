"""When a camera that is open, but has no current picture, is logged."""

from __future__ import annotations

import logging

import pytest
from support.clock import Clock

from edged.core.errors import FrozenPicture, NothingNew, StaleFrame
from edged.service.stale_looks import StaleLooks

OLD = StaleFrame("the newest picture is 6 s old, max_age is 5 s")

NOTHING = NothingNew("no new picture in /uploads since 12:00")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def looks(clock: Clock, caplog: pytest.LogCaptureFixture) -> StaleLooks:
    caplog.set_level(logging.INFO)
    return StaleLooks("dock", clock)


def stale_for(looks: StaleLooks, clock: Clock, count: int, every_s: float = 1.0, error: StaleFrame = OLD) -> None:
    for _ in range(count):
        looks.add(error)
        clock.now += every_s


def test_a_stream_that_stalls_for_some_seconds_is_not_logged(
    looks: StaleLooks, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    stale_for(looks, clock, 10)
    looks.over()
    stale_for(looks, clock, 10)
    looks.over()
    assert caplog.messages == []


def test_one_that_stalls_and_is_then_lost_is_logged_by_its_camera_alone(
    looks: StaleLooks, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        stale_for(looks, clock, 4)
        looks.lost()
        clock.now += 20.0
    looks.over()
    assert caplog.messages == []


def test_what_lasts_is_logged_once_and_when_it_is_over_also_if_the_camera_is_lost_meanwhile(
    looks: StaleLooks, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    stale_for(looks, clock, 20)
    looks.lost()
    stale_for(looks, clock, 20)
    looks.over()
    looks.over()
    assert caplog.messages == [
        f"camera dock: stale frames: {OLD}",
        "camera dock: fresh frames again after 40 s (40 looks)",
    ]


def test_a_folder_that_is_filled_now_and_then_is_logged_after_an_hour_without_a_picture(
    looks: StaleLooks, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for minutes in (5, 50, 61):
        stale_for(looks, clock, minutes + 1, 60.0, NOTHING)
        looks.over()
    assert caplog.messages == [
        f"camera dock: stale frames: {NOTHING}",
        "camera dock: fresh frames again after 1 h 2 min (62 looks)",
    ]


def test_an_upload_that_is_not_complete_yet_does_not_make_an_hour_without_a_picture_an_outage(
    looks: StaleLooks, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    stale_for(looks, clock, 20, 60.0, NOTHING)
    looks.add(StaleFrame("/uploads/a.jpg is not complete yet"))
    looks.over()
    assert caplog.messages == []


def test_a_frozen_picture_is_logged_at_once_because_it_has_lasted(
    looks: StaleLooks, caplog: pytest.LogCaptureFixture
) -> None:
    looks.add(FrozenPicture("frozen: the pictures have been bit-identical for 30 s"))
    assert caplog.messages == ["camera dock: stale frames: frozen: the pictures have been bit-identical for 30 s"]
