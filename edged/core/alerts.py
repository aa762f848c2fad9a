"""Turns answers into events: `changed`, `alert_on`, `alert_off`. Pure.

Only answers with status `ok` count: a refusal neither changes a value nor ends an alert.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from edged.core.specs import AlertSpec
from edged.core.types import Answer


@dataclass(frozen=True, slots=True)
class History:
    """The state of a question between two answers. Small enough to be stored.

    `since` is when `value` was first answered, `alert_since` when the alert went on or off; None before that.
    `against` counts the answers in a row that contradict the alert's state.
    """

    value: Any = None
    since: datetime | None = None
    alert_on: bool = False
    alert_since: datetime | None = None
    against: int = 0


def to_json(history: History) -> dict[str, Any]:
    """For the store."""
    return {
        "value": history.value,
        "since": None if history.since is None else history.since.timestamp(),
        "alert_on": history.alert_on,
        "alert_since": None if history.alert_since is None else history.alert_since.timestamp(),
        "against": history.against,
    }


def from_json(stored: Any) -> History:
    """The history that `to_json` gave; a new one if it is anything else."""
    try:
        return History(
            value=stored["value"],
            since=_moment(stored["since"]),
            alert_on=bool(stored["alert_on"]),
            alert_since=_moment(stored["alert_since"]),
            against=int(stored["against"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return History()


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


@dataclass(frozen=True, slots=True)
class Change:
    """An event that has no id yet. `since` is when the state before it began, None if not known."""

    kind: Literal["changed", "alert_on", "alert_off"]
    before: Any
    after: Any
    since: datetime | None


def step(history: History, answer: Answer, alert: AlertSpec | None, at: datetime) -> tuple[History, list[Change]]:
    """The history after this answer, and the changes it caused. Free text is never `changed`: every reply differs."""
    if answer.status != "ok":
        return history, []
    changes: list[Change] = []
    if history.since is None or not same(history.value, answer.value):
        if history.since is not None and answer.type != "text":
            changes.append(Change("changed", history.value, answer.value, history.since))
        history = replace(history, value=answer.value, since=at)
    if alert is None:
        return replace(history, alert_on=False, alert_since=None, against=0), changes
    return _alert_step(history, same(answer.value, alert.when), alert, at, changes)


def same(first: Any, second: Any) -> bool:
    """Equal, where True is not 1: in Python it is."""
    return isinstance(first, bool) == isinstance(second, bool) and bool(first == second)


def _alert_step(
    history: History, condition: bool, alert: AlertSpec, at: datetime, changes: list[Change]
) -> tuple[History, list[Change]]:
    if condition == history.alert_on:
        return replace(history, against=0), changes
    if history.against + 1 < alert.after:
        return replace(history, against=history.against + 1), changes
    kind: Literal["alert_on", "alert_off"] = "alert_on" if condition else "alert_off"
    changes = [*changes, Change(kind, not condition, condition, history.alert_since)]
    return replace(history, alert_on=condition, alert_since=at, against=0), changes
