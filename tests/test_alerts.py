"""When an alert goes on and off: counts, times, hysteresis, quiet hours, refusals, restarts and changed definitions."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from support.broker import an_answer

from edged.core import alerts
from edged.core.alerts import Change, History, Now
from edged.core.conditions import Comparison, OneOf
from edged.core.specs import AlertSpec, Hours

SEOUL = ZoneInfo("Asia/Seoul")
NOON = datetime(2026, 7, 1, 12, tzinfo=SEOUL)
NIGHT = Hours(frozenset(range(7)), time(22), time(6))
MANY = Comparison(">", 3)
FEW = Comparison("<=", 1)
REFUSAL = None
EVERY_S = 30.0


@dataclass
class Question:
    """A question with an alert, and the clocks. `answers` of an integer; REFUSAL is one without a value."""

    alert: AlertSpec | None
    history: History = field(default_factory=History)
    local: datetime = NOON
    mono: float = 1000.0
    about: str | None = None
    changes: list[Change] = field(default_factory=list)

    def answer(self, *values: Any, every_s: float = EVERY_S) -> list[str]:
        """The kinds of the alert's changes; the next answer comes `every_s` seconds later."""
        first = len(self.changes)
        for value in values:
            status: Any = "unsure" if value is REFUSAL else "ok"
            answer = replace(an_answer("a", expires_s=90.0), value=value, status=status)
            now = Now(self.local, self.mono)
            self.history, changes = alerts.step(self.history, answer, self.alert, now, self.about)
            self.changes += changes
            self.wait(every_s)
        return [change.kind for change in self.changes[first:] if change.kind != "changed"]

    def wait(self, seconds: float) -> None:
        self.mono += seconds
        self.local += timedelta(seconds=seconds)

    def restart(self, off_s: float = 0.0) -> None:
        """In a new process only the stored state is known, and the monotonic clock may begin anew."""
        self.history = alerts.from_json(json.loads(json.dumps(alerts.to_json(self.history))))
        self.local += timedelta(seconds=off_s)
        self.mono = 5.0


# Conditions


@pytest.mark.parametrize(
    ("operator", "true", "false"),
    [(">", [3.1, 4], [3, 2]), (">=", [3, 4], [2]), ("<", [2, 2.9], [3]), ("<=", [3, 2], [4]), ("!=", [2, 4], [3, 3.0])],
)
def test_a_comparison_is_true_of_numbers_only(operator: Any, true: list[Any], false: list[Any]) -> None:
    comparison = Comparison(operator, 3)
    assert [comparison.holds(value) for value in true] == [True] * len(true)
    assert [comparison.holds(value) for value in (*false, True, False, "4", None, [4])] == [False] * (len(false) + 5)


def test_true_is_not_1_in_a_list_of_values() -> None:
    assert [OneOf((1, "rain")).holds(value) for value in (1, 1.0, True, "rain")] == [True, True, False, True]


# Going on and off


def test_an_alert_goes_on_after_so_many_answers_in_a_row_that_fulfil_the_condition() -> None:
    question = Question(AlertSpec(MANY, after=3))
    assert question.answer(4, 9, 3, 5, 6) == []
    assert question.answer(4) == ["alert_on"]
    assert question.answer(7, 8, 9, 4) == []


def test_an_alert_goes_off_after_so_many_answers_in_a_row_that_fulfil_clear_when() -> None:
    question = Question(AlertSpec(MANY, clear_when=FEW, clear_after=2))
    assert question.answer(4, 1, 2, 1, 3) == ["alert_on"]
    assert question.answer(1, 0) == ["alert_off"]


def test_between_the_two_conditions_an_alert_stays_as_it_is() -> None:
    question = Question(AlertSpec(MANY, clear_when=FEW))
    assert question.answer(2, 3, 2) == []
    assert question.answer(4, 3, 2, 3, 2) == ["alert_on"]
    assert question.answer(1, 2, 3, 2) == ["alert_off"]


def test_with_a_time_the_answers_must_span_it() -> None:
    question = Question(AlertSpec(MANY, for_s=60.0))
    assert question.answer(4, 4) == []
    assert question.answer(4) == ["alert_on"]


def test_count_and_time_must_both_be_reached() -> None:
    question = Question(AlertSpec(MANY, after=3, for_s=60.0))
    assert question.answer(4, 4, 4, 4, 4, 4, every_s=10.0) == []
    assert question.answer(4) == ["alert_on"]
    slow = Question(AlertSpec(MANY, after=3, for_s=60.0))
    assert slow.answer(4, 4, every_s=80.0) == []
    assert slow.answer(4) == ["alert_on"]


def test_an_alert_can_be_cleared_by_a_time() -> None:
    question = Question(AlertSpec(MANY, clear_for_s=60.0))
    assert question.answer(4, 3, 3, 4, 3, 3) == ["alert_on"]
    assert question.answer(3) == ["alert_off"]


def test_events_tell_since_when_the_state_before_had_lasted() -> None:
    question = Question(AlertSpec(MANY))
    question.answer(4, 4, 2, 4)
    on, off, again = (change for change in question.changes if change.kind != "changed")
    assert (on.before, on.after, on.since) == (False, True, None)
    assert (off.before, off.after, off.since) == (True, False, NOON)
    assert (again.since, question.history.alert_since) == (NOON + timedelta(seconds=60), NOON + timedelta(seconds=90))


# Changed values


def test_true_in_the_place_of_1_is_a_change_inside_of_a_value_too() -> None:
    question = Question(None)
    question.answer({"people": [1]}, {"people": [1.0]}, {"people": [True]})
    assert [change.after for change in question.changes] == [{"people": [True]}]


def test_a_changed_value_is_an_event_that_tells_since_when_the_value_before_was_answered() -> None:
    question = Question(None)
    question.answer(3, 3, REFUSAL, 4, 5)
    assert question.changes == [
        Change("changed", 3, 4, NOON),
        Change("changed", 4, 5, NOON + timedelta(seconds=90)),
    ]
    assert (question.history.value, question.history.since) == (5, NOON + timedelta(seconds=120))
    assert question.history.since
    assert question.history.since.tzinfo is UTC


def test_free_text_is_never_a_changed_value() -> None:
    history = History()
    for text in ("a man", "two men"):
        answer = replace(an_answer("a"), type="text", value=text)
        history, changes = alerts.step(history, answer, None, Now(NOON, 1.0))
        assert changes == []
    assert history.value == "two men"


def test_a_value_can_change_while_its_alert_is_removed() -> None:
    question = Question(AlertSpec(MANY))
    question.answer(4)
    question.alert = None
    question.answer(5)
    assert [change.kind for change in question.changes] == ["alert_on", "changed", "alert_off"]


def test_what_was_counted_is_forgotten_when_the_alert_turns_is_interrupted_or_is_removed() -> None:
    turned, interrupted, removed = (Question(AlertSpec(MANY, for_s=60.0)) for _ in range(3))
    turned.answer(4, 4, 4)
    interrupted.answer(4, 4, 3)
    removed.answer(4, 4)
    assert (removed.history.against, removed.history.held_s) == (1, 30.0)
    removed.alert = None
    removed.answer(4)
    assert [(each.history.against, each.history.held_s) for each in (turned, interrupted, removed)] == [(0, 0.0)] * 3
    assert removed.history.conditions_rev is None


# Refusals and the clocks


def test_the_first_answer_holds_for_no_time() -> None:
    question = Question(AlertSpec(MANY, for_s=60.0))
    assert question.answer(4, every_s=59.5) == []
    assert question.answer(4) == []


def test_the_first_answer_of_a_process_adds_no_time() -> None:
    question = Question(AlertSpec(MANY, for_s=60.0))
    question.answer(4)
    question.restart()
    assert question.answer(4, every_s=59.5) == []
    assert question.answer(4) == []


def test_an_answer_after_the_one_before_has_expired_adds_no_time() -> None:
    question = Question(AlertSpec(MANY, for_s=60.0))
    question.answer(4, every_s=100.0)
    assert question.answer(4, every_s=59.5) == []
    assert question.answer(4) == []


def test_times_shorter_than_a_second_count() -> None:
    question = Question(AlertSpec(MANY, for_s=1.0))
    assert question.answer(4, 4, every_s=0.5) == []
    assert question.answer(4) == ["alert_on"]


def test_a_refusal_neither_raises_nor_clears_nor_interrupts_a_count() -> None:
    question = Question(AlertSpec(MANY, after=2, clear_after=2))
    assert question.answer(4, REFUSAL, REFUSAL) == []
    assert question.answer(4, REFUSAL, REFUSAL, REFUSAL) == ["alert_on"]
    assert question.answer(3, REFUSAL) == []
    assert question.answer(3) == ["alert_off"]


def test_a_refusal_between_two_answers_does_not_interrupt_the_time() -> None:
    question = Question(AlertSpec(MANY, for_s=60.0))
    assert question.answer(4, REFUSAL, REFUSAL) == []
    assert question.answer(4) == ["alert_on"]


def test_time_with_refusals_until_the_last_answer_has_expired_does_not_count() -> None:
    question = Question(AlertSpec(MANY, for_s=60.0))
    question.answer(4, *[REFUSAL] * 3)
    assert question.answer(4, 4) == []
    assert question.answer(4) == ["alert_on"]


def test_time_after_an_answer_has_expired_does_not_count() -> None:
    question = Question(AlertSpec(MANY, for_s=60.0))
    question.answer(4, every_s=8 * 3600.0)  # the camera's hours are over until the next morning
    assert question.answer(4, 4) == []
    assert question.answer(4) == ["alert_on"]


@pytest.mark.parametrize("jump", [timedelta(days=-3650), timedelta(days=365)])
def test_a_clock_that_jumps_does_not_change_how_long_a_condition_has_held(jump: timedelta) -> None:
    question = Question(AlertSpec(MANY, for_s=60.0))
    question.answer(4)
    question.local += jump
    assert question.answer(4) == []
    assert question.answer(4) == ["alert_on"]


# Quiet hours


def test_in_quiet_hours_an_alert_does_not_go_on_and_does_so_afterwards_if_the_condition_still_holds() -> None:
    question = Question(AlertSpec(MANY, after=2, quiet=(NIGHT,)), local=NOON.replace(hour=23))
    assert question.answer(4, 4, 4, 4) == []
    question.local = NOON.replace(hour=5, minute=59, second=59)
    assert question.answer(5, every_s=1.0) == []
    assert question.answer(5) == ["alert_on"]


def test_an_alert_whose_condition_ended_in_quiet_hours_does_not_go_on_afterwards() -> None:
    question = Question(AlertSpec(MANY, after=2, quiet=(NIGHT,)), local=NOON.replace(hour=23))
    question.answer(4, 4, 4, 2)
    question.local = NOON.replace(hour=6)
    assert question.answer(2, 4) == []
    assert question.answer(4) == ["alert_on"]


def test_in_quiet_hours_an_alert_that_is_on_goes_off() -> None:
    question = Question(AlertSpec(MANY, quiet=(NIGHT,)), local=NOON.replace(hour=21, minute=59))
    assert question.answer(4, every_s=3600.0) == ["alert_on"]
    assert question.answer(2, 4) == ["alert_off"]


def test_quiet_hours_do_not_change_the_stored_state_with_each_answer() -> None:
    question = Question(AlertSpec(MANY, after=2, for_s=60.0, quiet=(NIGHT,)), local=NOON.replace(hour=23))
    question.answer(4, 4, 4, 4)
    stored = alerts.to_json(question.history)
    question.answer(4, 4)
    assert alerts.to_json(question.history) == stored


# A restart


def test_the_count_goes_on_after_a_restart() -> None:
    question = Question(AlertSpec(MANY, after=3))
    question.answer(4, 4)
    question.restart(off_s=3600.0)
    assert question.answer(4) == ["alert_on"]
    question.restart()
    assert question.answer(4, 4) == []


def test_a_state_that_is_read_late_keeps_the_hysteresis_of_its_alert() -> None:
    question = Question(AlertSpec(MANY, clear_when=FEW, clear_after=2))
    question.answer(4)
    earlier = question.history
    question.history = History()
    assert question.answer(2, 1) == []  # by itself, neither puts the alert on
    question.history, changes = alerts.joined(earlier, question.history, "integer")
    assert [(each.kind, each.before, each.after) for each in changes] == [("changed", 4, 1)]
    assert question.answer(2, 1) == []
    assert question.answer(1) == ["alert_off"]


def test_another_question_of_the_same_name_changes_nothing_and_is_counted_anew() -> None:
    question = Question(AlertSpec(MANY, after=2))
    question.about = "people"
    assert question.answer(2, 5) == []
    question.about = "chairs"
    assert question.answer(7) == []
    assert question.answer(7) == ["alert_on"]
    question.about = "tables"
    assert question.answer(7) == []  # the alert stays
    assert question.history.alert_on
    assert question.answer(1) == ["alert_off"]
    changed = [(change.before, change.after) for change in question.changes if change.kind == "changed"]
    assert changed == [(2, 5), (7, 1)]


def test_answers_to_another_question_that_are_read_late_change_nothing_but_the_alert() -> None:
    earlier = History(4, NOON, True, NOON, against=1, about="people")
    history, changes = alerts.joined(earlier, History(7, NOON, about="chairs"), "integer")
    assert changes == []
    assert (history.value, history.alert_on, history.against, history.about) == (7, True, 0, "chairs")


def test_a_text_that_is_read_late_is_not_changed() -> None:
    earlier, later = History("a", NOON), History("b", NOON + timedelta(hours=1))
    assert alerts.joined(earlier, later, "text") == (later, [])
    assert alerts.joined(earlier, replace(later, value="a"), "text") == (earlier, [])


def test_the_time_while_edged_was_off_does_not_count_and_the_time_before_does() -> None:
    question = Question(AlertSpec(MANY, for_s=60.0))
    question.answer(4, 4)  # 30 s
    question.restart(off_s=3600.0)
    assert question.answer(4) == []
    assert question.answer(4) == ["alert_on"]


def test_the_whole_state_is_stored_and_read() -> None:
    since, alert_since = datetime(2026, 7, 1, tzinfo=UTC), datetime(2026, 7, 2, tzinfo=UTC)
    history = History(4, since, True, alert_since, against=2, held_s=12.5, conditions_rev="r1", about="q1")
    stored = alerts.to_json(history)
    assert stored == {
        "value": 4,
        "since": since.timestamp(),
        "alert_on": True,
        "alert_since": alert_since.timestamp(),
        "against": 2,
        "held_s": 12.5,
        "conditions_rev": "r1",
        "about": "q1",
    }
    assert alerts.from_json(json.loads(json.dumps(stored))) == history


def test_the_state_of_a_question_without_an_answer_is_stored_and_read() -> None:
    assert alerts.from_json(json.loads(json.dumps(alerts.to_json(History())))) == History()


def test_a_state_that_an_older_edged_stored_is_read() -> None:
    stored = {"value": 4, "since": 1.0, "alert_on": True, "alert_since": 2.0, "against": 0}
    epoch = datetime.fromtimestamp(0, UTC)
    assert alerts.from_json(stored) == History(4, epoch + timedelta(seconds=1), True, epoch + timedelta(seconds=2))
    question = Question(AlertSpec(MANY), alerts.from_json(stored))
    assert question.answer(4, 3) == ["alert_off"]


@pytest.mark.parametrize(
    "stored", [None, 3, [], {}, {"value": 1}, {"value": 1, "since": "x"}, {**alerts.to_json(History()), "held_s": "x"}]
)
def test_a_damaged_memory_of_an_alert_is_a_new_beginning(stored: Any) -> None:
    assert alerts.from_json(stored) == History()


# A changed definition


def test_an_alert_whose_condition_was_changed_counts_from_the_beginning() -> None:
    question = Question(AlertSpec(MANY, after=2))
    question.answer(9)
    question.alert = AlertSpec(Comparison(">", 5), after=2)
    assert question.answer(9) == []
    assert question.answer(9) == ["alert_on"]


def test_an_alert_that_is_on_stays_on_if_the_changed_condition_holds_and_goes_off_if_not() -> None:
    stays, ends = Question(AlertSpec(MANY)), Question(AlertSpec(MANY))
    changed = AlertSpec(Comparison(">", 5), after=3, clear_when=FEW, clear_after=3)
    for question in (stays, ends):
        question.answer(9)
        question.alert = changed
    assert stays.answer(6, 5, 5) == []
    assert ends.answer(5, 5) == ["alert_off"]


def test_changed_counts_and_quiet_hours_do_not_end_an_alert() -> None:
    question = Question(AlertSpec(MANY))
    question.answer(4, 2, 4)
    question.alert = AlertSpec(MANY, after=2, clear_after=2, quiet=(NIGHT,))
    assert question.answer(2) == []
    assert question.answer(2) == ["alert_off"]


def test_an_alert_that_was_removed_while_it_was_on_goes_off() -> None:
    question = Question(AlertSpec(MANY))
    question.answer(4)
    question.alert = None
    assert question.answer(4, 4) == ["alert_off"]
    assert not question.history.alert_on


def test_values_that_vary_around_the_threshold_turn_an_alert_with_hysteresis_once() -> None:
    question = Question(AlertSpec(MANY, clear_when=FEW))
    assert question.answer(3, 4, 3, 3, 4, 4, 3, 2, 4, 3, 4) == ["alert_on"]
