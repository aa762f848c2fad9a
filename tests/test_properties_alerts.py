"""Alerts against a judgement of the whole course of the answers, over restarts, refusals, clocks and edited configs."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from support.broker import an_answer
from support.properties import examples

from edged.core import alerts
from edged.core.alerts import Change, History, Now
from edged.core.conditions import Comparison, Condition, OneOf
from edged.core.json_values import same
from edged.core.specs import AlertSpec, Hours
from edged.core.types import Status

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]  # with --long
SEOUL = ZoneInfo("Asia/Seoul")
NIGHT = Hours(frozenset(range(7)), time(22), time(6))
WEEKEND = Hours(frozenset({5, 6}), time(0), time(0))
EXPIRES_S = 90.0
REFUSALS: list[Status] = ["unsure", "unreadable", "timeout", "stale_frame", "camera_down", "model_down", "not_asked"]
VALUES = st.sampled_from([0, 1, 2, 3, 4, 4, 5, 2.5, True, False, "rain"])
SECONDS = st.sampled_from([0, 1, 20, 30, 30, 30, 40, 50, 80, 90, 91, 3600])
CONDITIONS: list[tuple[Condition, Condition | None]] = [
    (Comparison(">", 3), None),
    (Comparison(">", 3), Comparison("<=", 1)),
    (Comparison(">=", 3), Comparison("<", 2)),
    (Comparison("!=", 2), None),
    (OneOf((4, 5, "rain")), OneOf((0, 1))),
    (OneOf((True,)), None),
]


@st.composite
def alert_specs(draw: st.DrawFn) -> AlertSpec:
    when, clear_when = draw(st.sampled_from(CONDITIONS))
    return AlertSpec(
        when,
        after=draw(st.integers(1, 3)),
        for_s=draw(st.sampled_from([0.0, 45.0, 120.0])),
        clear_when=clear_when,
        clear_after=draw(st.integers(1, 3)),
        clear_for_s=draw(st.sampled_from([0.0, 45.0, 120.0])),
        quiet=draw(st.sampled_from([(), (NIGHT,), (NIGHT, WEEKEND)])),
    )


@dataclass(frozen=True)
class Given:
    """An answer with a value, and when it came."""

    value: Any
    mono: float
    process: int


class AlertOfAQuestion(RuleBasedStateMachine):
    """`course` has the answers with a value since the alert has turned, or since its conditions were changed."""

    def __init__(self) -> None:
        super().__init__()
        self.history = History()
        self.course: list[Given] = []
        self.counts_changed = False  # since `course` began: what was counted before need not be enough then
        self.mono = 1000.0
        self.process = 0
        self.turned_at: datetime | None = None
        self.value: Any = None
        self.value_since: datetime | None = None

    @initialize(alert=alert_specs(), hour=st.sampled_from([5, 12, 21, 22]), day=st.integers(1, 7))
    def begin(self, alert: AlertSpec, hour: int, day: int) -> None:
        self.alert: AlertSpec | None = alert
        self.counted_for: AlertSpec | None = alert
        self.local = datetime(2026, 7, day, hour, tzinfo=SEOUL)

    # what happens

    @rule(value=VALUES, then_s=SECONDS)
    def answer(self, value: Any, then_s: int) -> None:
        before = self.history
        expected = self._expected_turn(value)
        changes = self._step(value, "ok")
        self._check_changed([change for change in changes if change.kind == "changed"], value)
        self._check_turn([change for change in changes if change.kind != "changed"], before, expected)
        self.wait(then_s)

    @rule(values=st.lists(VALUES, min_size=2, max_size=6), every_s=SECONDS)
    def answers(self, values: list[Any], every_s: int) -> None:
        for value in values:
            self.answer(value, every_s)

    @rule(count=st.integers(1, 5), value=VALUES, every_s=SECONDS, restarts=st.booleans())
    def equal_answers(self, count: int, value: Any, every_s: int, restarts: bool) -> None:
        for _ in range(2):
            self.answers([value] * count, every_s)
            if restarts:
                self.restart(every_s, mono=5.0)

    @rule(status=st.sampled_from(REFUSALS), value=st.none() | VALUES, then_s=SECONDS)
    def refusal(self, status: Status, value: Any, then_s: int) -> None:
        before = self.history
        assert self._step(value, status) == []
        assert self.history == before
        self.wait(then_s)

    @rule(seconds=SECONDS)
    def wait(self, seconds: int) -> None:
        self.mono += seconds
        self.local += timedelta(seconds=seconds)

    @rule(hours=st.integers(-1000, 1000))
    def set_the_clock(self, hours: int) -> None:
        self.local += timedelta(hours=hours)

    @rule(off_s=SECONDS, mono=st.sampled_from([5.0, 2000.0]))
    def restart(self, off_s: int, mono: float) -> None:
        """Only what is stored is known, and the monotonic clock may begin anew."""
        self.history = alerts.from_json(json.loads(json.dumps(alerts.to_json(self.history))))
        self.process += 1
        self.mono = mono
        self.local += timedelta(seconds=off_s)

    @rule(alert=alert_specs(), kept=st.sampled_from(["conditions", "conditions", "all", "all", "nothing", "no alert"]))
    def edit_the_config(self, alert: AlertSpec, kept: str) -> None:
        if kept == "no alert":
            self.alert = None
        elif kept == "conditions" and self.alert is not None:
            self.alert = replace(alert, when=self.alert.when, clear_when=self.alert.clear_when)
        elif kept != "all" or self.alert is None:
            self.alert = alert

    def _step(self, value: Any, status: Status) -> list[Change]:
        answer = replace(an_answer("a", expires_s=EXPIRES_S), value=value, status=status, type="json")
        self.history, changes = alerts.step(self.history, answer, self.alert, Now(self.local, self.mono))
        return changes

    # what is expected

    def _expected_turn(self, value: Any) -> bool | None:
        """True if the alert must turn with this answer, False if it must not; None if that is not promised."""
        on = self.history.alert_on
        ended = self.alert is None or not _same_conditions(self.alert, self.counted_for)
        if ended:
            self.course, self.counts_changed = [], False
        elif self.alert != self.counted_for:
            self.counts_changed = True
        self.course.append(Given(value, self.mono, self.process))
        self.counted_for = self.alert
        if self.alert is None:
            return on
        if ended and on and not self.alert.when.holds(value):
            return True
        long_enough = self._long_enough(self.alert, on)
        if self.counts_changed and long_enough:
            return None
        return long_enough and (on or not any(hours.contains(self.local) for hours in self.alert.quiet))

    def _long_enough(self, alert: AlertSpec, on: bool) -> bool:
        holds = alert.clears if on else alert.when.holds
        needed, needed_s = (alert.clear_after, alert.clear_for_s) if on else (alert.after, alert.for_s)
        run: list[Given] = []
        for each in reversed(self.course):
            if not holds(each.value):
                break
            run.insert(0, each)
        held_s = sum(_looked_s(one, next_one) for one, next_one in itertools.pairwise(run))
        return len(run) >= needed and held_s >= needed_s

    def _check_turn(self, turns: list[Change], before: History, expected: bool | None) -> None:
        assert len(turns) <= 1
        assert expected is None or bool(turns) == expected
        assert self.history.alert_on == (before.alert_on != bool(turns))
        for turn in turns:
            assert turn.kind == ("alert_off" if before.alert_on else "alert_on")
            assert (turn.before, turn.after) == (before.alert_on, not before.alert_on)
            assert turn.since == self.turned_at
            self.turned_at = self.local
            self.course, self.counts_changed = [], False
        assert self.history.alert_since == self.turned_at

    def _check_changed(self, changed: list[Change], value: Any) -> None:
        if self.value_since is not None and not same(value, self.value):
            [change] = changed
            assert (change.before, change.after, change.since) == (self.value, value, self.value_since)
        else:
            assert changed == []
        if self.value_since is None or not same(value, self.value):
            self.value, self.value_since = value, self.local


def _looked_s(one: Given, following: Given) -> float:
    """The time from one answer to the next in which somebody looked."""
    passed_s = following.mono - one.mono
    return passed_s if one.process == following.process and passed_s <= EXPIRES_S else 0.0


def _same_conditions(alert: AlertSpec, other: AlertSpec | None) -> bool:
    return other is not None and (alert.when, alert.clear_when) == (other.when, other.clear_when)


def test_an_alert_turns_exactly_when_the_course_of_its_answers_requires_it() -> None:
    run_state_machine_as_test(AlertOfAQuestion, settings=examples(100))
