"""Answers -> events. An answer's history is one small value that can be stored. Pure.

Only an `ok` answer counts: a refusal neither changes anything nor ends an alert.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from edged.core.specs import AlertSpec
from edged.core.types import Answer


@dataclass(frozen=True, slots=True)
class History:
    """The last value and its beginning; whether the alert is on; how many answers in a row spoke against that."""

    value: Any = None
    since: datetime | None = None
    alert_on: bool = False
    alert_since: datetime | None = None
    against: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """What became of an answer or alert, before it gets its id."""

    kind: Literal["changed", "alert_on", "alert_off"]
    before: Any
    after: Any
    since: datetime | None


def step(history: History, answer: Answer, alert: AlertSpec | None, at: datetime) -> tuple[History, list[Change]]:
    """The history after this answer, and what it changed. Free text never `changed`: no two replies are alike."""
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


def same(one: Any, other: Any) -> bool:
    """Equal, and not only because Python holds True for 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _alert_step(
    history: History, holds: bool, alert: AlertSpec, at: datetime, changes: list[Change]
) -> tuple[History, list[Change]]:
    if holds == history.alert_on:
        return replace(history, against=0), changes
    if history.against + 1 < alert.after:
        return replace(history, against=history.against + 1), changes
    kind: Literal["alert_on", "alert_off"] = "alert_on" if holds else "alert_off"
    changes = [*changes, Change(kind, not holds, holds, history.alert_since)]
    return replace(history, alert_on=holds, alert_since=at, against=0), changes
