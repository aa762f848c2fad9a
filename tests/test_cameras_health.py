"""A camera's state: each change is reported once, in order, and none after it was closed."""

from __future__ import annotations

import errno
import logging
import threading

import pytest

from edged.cameras.health import Health
from edged.cameras.reconnect import MOST_PAUSE_S, keep_connected
from edged.core.errors import CameraError, Stopped
from edged.core.types import CameraFigures, CameraState


class SlowReports:
    """A slow callback: each call returns once `go` is set. `most` is how many calls ran at the same time."""

    def __init__(self) -> None:
        self.started, self.go = threading.Event(), threading.Event()
        self.running = self.most = 0
        self.states: list[CameraState] = []

    def __call__(self, state: CameraState) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        self.started.set()
        assert self.go.wait(10)
        self.states.append(state)
        self.running -= 1


def in_thread(*calls) -> list[threading.Thread]:
    threads = [threading.Thread(target=call, daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    return threads


def test_reports_of_one_camera_never_overlap_and_keep_their_order() -> None:
    reports = SlowReports()
    health = Health("dock", reports)
    first = in_thread(lambda: health.mark_online("H.264"))
    assert reports.started.wait(10)
    others = in_thread(lambda: health.mark_offline("lost"), lambda: health.mark_offline("lost"))
    others[0].join(0.2)
    reports.go.set()
    for thread in first + others:
        thread.join(10)
    assert reports.most == 1
    assert [state.online for state in reports.states] == [True, False]


def test_nothing_is_reported_or_logged_after_close(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "edged.camera")
    states: list[CameraState] = []
    health = Health("dock", states.append)
    health.mark_online("H.264")
    health.close()
    caplog.clear()
    health.mark_offline("lost")
    health.mark_online("H.264")
    assert [state.online for state in states] == [True]
    assert not caplog.records


def test_close_waits_for_a_running_report() -> None:
    reports = SlowReports()
    health = Health("dock", reports)
    threads = in_thread(lambda: health.mark_online("H.264"))
    assert reports.started.wait(10)
    ended = threading.Event()

    def close() -> None:
        health.close()
        ended.set()

    threads += in_thread(close)
    assert not ended.wait(0.2)
    reports.go.set()
    assert ended.wait(10)
    assert len(reports.states) == 1


def test_report_may_close_its_own_camera() -> None:
    states: list[CameraState] = []

    def report(state: CameraState) -> None:
        states.append(state)
        health.close()

    health = Health("dock", report)
    thread = in_thread(lambda: health.mark_online("H.264"))[0]
    thread.join(10)
    assert not thread.is_alive()
    health.mark_offline("lost")
    assert len(states) == 1


@pytest.mark.slow
def test_report_that_raises_is_logged_and_does_not_end_the_camera(caplog: pytest.LogCaptureFixture) -> None:
    closing = threading.Event()
    seen: list[bool] = []

    def report(state: CameraState) -> None:
        seen.append(state.online)
        if len(seen) == 4:
            closing.set()
        raise RuntimeError("out of order")

    def session() -> None:
        health.mark_online("H.264")
        raise CameraError("lost")

    health = Health("dock", report)
    keep_connected(session, health, closing)
    assert seen == [True, False, True, False]
    assert "unexpected error" in caplog.text


def test_unexpected_error_of_a_session_is_logged_once_and_retried(caplog: pytest.LogCaptureFixture) -> None:
    closing = threading.Event()
    states: list[CameraState] = []
    tries: list[int] = []

    def session() -> None:
        tries.append(1)
        if len(tries) == 2:
            closing.set()
        raise ZeroDivisionError

    keep_connected(session, Health("dock", states.append), closing)
    assert len(tries) == 2
    assert [(state.online, state.reason) for state in states] == [(False, "unexpected error; see edged's log")]
    assert [record.levelname for record in caplog.records if record.exc_info] == ["ERROR"]


def test_each_unexpected_error_is_logged_once_however_often_the_camera_comes_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    closing, health = threading.Event(), Health("dock", lambda _: None)
    errors = [ZeroDivisionError("a"), ZeroDivisionError("a"), IndexError("b"), ZeroDivisionError("a")]

    def session() -> None:
        health.mark_online("H.264")
        raise errors.pop()

    keep_connected(session, health, closing, lambda _: None if errors else closing.set())
    assert [record.getMessage() for record in caplog.records if record.exc_info] == [
        "camera dock: unexpected error: ZeroDivisionError('a')",
        "camera dock: unexpected error: IndexError('b')",
    ]


def test_an_unexpected_error_after_a_connection_that_has_lasted_is_logged_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edged.cameras.reconnect.NEW_AFTER_S", 0.0)
    closing, errors = threading.Event(), [ZeroDivisionError("a"), ZeroDivisionError("a")]

    def session() -> None:
        raise errors.pop()

    keep_connected(session, Health("dock", lambda _: None), closing, lambda _: None if errors else closing.set())
    assert [record.getMessage() for record in caplog.records if record.exc_info] == [
        "camera dock: unexpected error: ZeroDivisionError('a')"
    ] * 2


def test_shortage_of_descriptors_is_a_reason_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """PyAV imports some of its modules when a stream is opened."""
    closing = threading.Event()
    states: list[CameraState] = []

    def session() -> None:
        raise OSError(errno.EMFILE, "Too many open files", "av/subtitles/__init__.py")

    keep_connected(session, Health("dock", states.append), closing, lambda _: closing.set())
    assert [(state.online, state.reason) for state in states] == [(False, "too many open files")]
    assert caplog.messages == ["camera dock: too many open files; trying again in 1 s"]
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("error", [Stopped(), CameraError("the camera ended the stream"), ZeroDivisionError()])
def test_session_that_ends_after_its_camera_was_closed_reports_nothing(error: Exception) -> None:
    """Another one may report by the same health: an HTTP camera that changes to snapshots closes its stream."""
    closing = threading.Event()
    states: list[CameraState] = []

    def session() -> None:
        closing.set()
        raise error

    keep_connected(session, Health("dock", states.append), closing)
    assert states == []


def test_first_connection_may_be_logged_at_debug_but_recovery_is_not(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "edged.camera")
    Health("quiet", lambda _: None, first_level=logging.DEBUG).mark_online("picture file, 64x48")
    failed = Health("dock", lambda _: None, first_level=logging.DEBUG)
    failed.mark_offline("a.jpg cannot be read")
    failed.mark_online("picture file, 64x48")
    failed.mark_offline("a.jpg cannot be read")
    failed.mark_online("picture file, 64x48")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("DEBUG", "camera quiet: connected (picture file, 64x48)"),
        ("WARNING", "camera dock: a.jpg cannot be read"),
        ("INFO", "camera dock: connected (picture file, 64x48) after 0 s (1 try)"),
        ("WARNING", "camera dock: a.jpg cannot be read"),
        ("INFO", "camera dock: back after 0 s (1 try)"),
    ]


def test_loss_and_return_are_one_line_each_with_duration_and_tries(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "edged.camera")
    now = 0.0
    health = Health("dock", lambda _: None, clock=lambda: now)
    health.mark_online("H.264, 320x240")
    caplog.clear()
    health.mark_offline("no packet for 5.0 s", 2)
    now += 210
    for _ in range(6):
        health.mark_offline("connection refused by 10.0.0.9:554", 5)
    health.mark_online("H.264, 320x240")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "camera dock: no packet for 5.0 s; reconnecting in 2 s"),
        ("INFO", "camera dock: back after 3 min 30 s (7 tries)"),
    ]


def test_changes_are_logged_once_and_new_reasons_only_reported(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "edged.camera")
    states: list[CameraState] = []
    health = Health("dock", states.append)
    health.mark_offline("connection refused", 1)
    health.mark_offline("connection refused", 2)
    health.mark_offline("no such path", 5)
    health.mark_online("H.264")
    health.mark_online("H.264")
    assert [(state.online, state.reason) for state in states] == [
        (False, "connection refused"),
        (False, "no such path"),
        (True, None),
    ]
    assert states[0].since == states[1].since
    assert [record.getMessage() for record in caplog.records] == [
        "camera dock: connection refused; trying again in 1 s",
        "camera dock: connected (H.264) after 0 s (3 tries)",
    ]


def pauses(
    sessions: int, pictures: bool, lasts_s: float, stalls_s: float = 0.0, most_s: float = MOST_PAUSE_S
) -> list[float]:
    """The pauses after sessions that fail after `lasts_s`, with or without pictures.

    With `stalls_s`, such a session first reports for so long that no more pictures come.
    """
    closing, waited = threading.Event(), list[float]()
    now = [0.0]
    health = Health("dock", lambda _: None, clock=lambda: now[0])

    def session() -> None:
        if pictures:
            health.mark_online("H.264")
        now[0] += lasts_s
        if stalls_s:
            health.mark_offline("the camera sends nothing")
            now[0] += stalls_s
        raise CameraError("the camera ended the stream")

    def wait(seconds: float) -> None:
        waited.append(seconds)
        now[0] += seconds
        if len(waited) == sessions:
            closing.set()

    keep_connected(session, health, closing, wait, most_s)
    return waited


def test_session_with_pictures_resets_the_back_off() -> None:
    assert max(pauses(20, True, 10.0)) <= 1.2


def test_sessions_that_end_soon_after_their_first_picture_do_not_reset_the_back_off() -> None:
    """Such as an address that sends one picture for each request, or an encoder that crashes after its keyframe."""
    waited = pauses(20, True, 0.2)
    assert waited[0] < waited[1] < waited[2] < waited[3]
    assert MOST_PAUSE_S <= waited[-1] <= MOST_PAUSE_S * 1.2
    assert 2.0 <= max(pauses(20, True, 0.2, most_s=2.0)) <= 2.0 * 1.2


def test_session_with_pictures_that_stalled_before_it_ended_resets_the_back_off() -> None:
    assert max(pauses(20, True, 600.0, stalls_s=5.0)) <= 1.2


def test_camera_that_is_back_is_found_within_a_quarter_of_its_outage() -> None:
    waited = pauses(60, False, 0.0)
    away = 0.0
    for pause in waited:
        assert pause <= max(1.2, 0.24 * away + 0.001)
        away += pause
    assert away > 600
    assert 60 <= max(waited) <= 72


def test_reconnects_and_damaged_pictures_are_counted() -> None:
    health = Health("dock", lambda _: None)
    for _ in range(3):
        health.mark_online("H.264")
        health.count_damaged()
        health.mark_offline("lost")
    assert health.figures() == CameraFigures(reconnects=2, damaged=3)
