"""Turns answers into events: `changed`, `alert_on`, `alert_off`. Pure.

Only answers with status `ok` count: a refusal neither changes a value nor raises or ends an alert. How long a condition
has held is the sum of the times from each such answer to the next. A time that is longer than an answer is valid does
not count, nor one in which edged was off: nobody looked.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from edged.core.json_values import same
from edged.core.specs import AlertSpec
from edged.core.types import Answer


@dataclass(frozen=True, slots=True)
class Now:
    """One moment on both clocks: `local` is aware, in the time zone of the config; `mono` is of time.monotonic()."""

    local: datetime
    mono: float

    @property
    def at(self) -> datetime:
        return self.local.astimezone(UTC)


@dataclass(frozen=True, slots=True)
class History:
    """The state of a question between two answers. Small enough to be stored.

    `since` is when `value` was first answered, `alert_since` when the alert went on or off; None before that.
    `against` counts the answers in a row that speak for a change of the alert's state, and `held_s` is for how long
    they have; both stop at what the alert requires. `conditions_rev` is that of the alert they were counted for.
    `about` tells what was asked, and about which pictures. `seen_mono` is the moment of the last answer; None in a new
    process.
    """

    value: Any = None
    since: datetime | None = None
    alert_on: bool = False
    alert_since: datetime | None = None
    against: int = 0
    held_s: float = 0.0
    conditions_rev: str | None = None
    about: str | None = None
    seen_mono: float | None = field(default=None, compare=False)


def to_json(history: History) -> dict[str, Any]:
    """For the store: all but `seen_mono`, which says nothing to another process."""
    return {
        "value": history.value,
        "since": None if history.since is None else history.since.timestamp(),
        "alert_on": history.alert_on,
        "alert_since": None if history.alert_since is None else history.alert_since.timestamp(),
        "against": history.against,
        "held_s": history.held_s,
        "conditions_rev": history.conditions_rev,
        "about": history.about,
    }


def from_json(stored: Any) -> History:
    """The history that `to_json` gave; a new one if it is anything else."""
    try:
        rev, about = stored.get("conditions_rev"), stored.get("about")
        return History(
            value=stored["value"],
            since=_moment(stored["since"]),
            alert_on=bool(stored["alert_on"]),
            alert_since=_moment(stored["alert_since"]),
            against=int(stored["against"]),
            held_s=float(stored.get("held_s", 0.0)),
            conditions_rev=None if rev is None else str(rev),
            about=None if about is None else str(about),
        )
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError, OSError):
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


def step(
    history: History, answer: Answer, alert: AlertSpec | None, now: Now, about: str | None = None
) -> tuple[History, list[Change]]:
    """The history after this answer, and the changes it caused. Free text is never `changed`: every reply differs.

    `about` differs from that of the history if another question was asked, or about other pictures.
    """
    if answer.status != "ok":
        return history, []
    changes: list[Change] = []
    history = replace(_asked(history, about), about=about)
    gap_s = _gap_s(history, answer, now)
    history = replace(history, seen_mono=now.mono)
    if history.since is None or not same(history.value, answer.value):
        if history.since is not None and answer.type != "text":
            changes.append(Change("changed", history.value, answer.value, history.since))
        history = replace(history, value=answer.value, since=now.at)
    if alert is None or history.conditions_rev not in (None, alert.conditions_rev):
        history, ended = _begun_anew(history, alert, now)
        changes += ended
    if alert is not None:
        history, turned = _alert_step(history, alert, gap_s, now)
        changes += turned
    return history, changes


def joined(earlier: History, history: History, kind: str) -> tuple[History, list[Change]]:
    """The history of a process that could read only now what the process before it left, and the change between both.

    Unless this process has turned the alert, its state is the one before: the next answer goes on from there. `kind` is
    that of the answers.
    """
    if history.since is None:
        return earlier, []
    earlier = _asked(earlier, history.about)
    if earlier.since is None and earlier.alert_since is None:
        return history, []
    changes: list[Change] = []
    if earlier.since is not None and same(earlier.value, history.value):
        history = replace(history, since=earlier.since)
    elif earlier.since is not None and kind != "text":
        changes = [Change("changed", earlier.value, history.value, earlier.since)]
    if history.alert_since is None:
        before = replace(earlier, against=0, held_s=0.0)
        value, since, seen_mono, about = history.value, history.since, history.seen_mono, history.about
        history = replace(before, value=value, since=since, seen_mono=seen_mono, about=about)
    return history, changes


def _asked(history: History, about: str | None) -> History:
    """Without the value and the count of answers to another question, or about other pictures. The alert stays."""
    if history.about in (None, about):
        return history
    return replace(history, value=None, since=None, against=0, held_s=0.0)


def _gap_s(history: History, answer: Answer, now: Now) -> float:
    """Seconds since the last answer with a value; 0 if another process gave it, or it has expired meanwhile."""
    gap_s = 0.0 if history.seen_mono is None else now.mono - history.seen_mono
    return gap_s if 0.0 <= gap_s <= answer.expires_s else 0.0


def _begun_anew(history: History, alert: AlertSpec | None, now: Now) -> tuple[History, list[Change]]:
    """The alert was removed, or its conditions were changed: it goes off, unless it would go on for this value."""
    history = replace(history, against=0, held_s=0.0, conditions_rev=None)
    if not history.alert_on or (alert is not None and alert.when.holds(history.value)):
        return history, []
    return _turned(history, now)


def _alert_step(history: History, alert: AlertSpec, gap_s: float, now: Now) -> tuple[History, list[Change]]:
    history = replace(history, conditions_rev=alert.conditions_rev)
    speaks_against = alert.clears(history.value) if history.alert_on else alert.when.holds(history.value)
    if not speaks_against:
        return replace(history, against=0, held_s=0.0), []
    needed, needed_s = (alert.clear_after, alert.clear_for_s) if history.alert_on else (alert.after, alert.for_s)
    held_s = history.held_s + gap_s if history.against else 0.0
    # Up to what is needed: during quiet hours, the stored state would else change with each answer.
    history = replace(history, against=min(history.against + 1, needed), held_s=min(held_s, needed_s))
    if history.against < needed or history.held_s < needed_s:
        return history, []
    if not history.alert_on and any(window.contains(now.local) for window in alert.quiet):
        return history, []
    return _turned(history, now)


def _turned(history: History, now: Now) -> tuple[History, list[Change]]:
    """The alert goes on if it is off, and off if it is on."""
    on = not history.alert_on
    change = Change("alert_on" if on else "alert_off", not on, on, history.alert_since)
    return replace(history, alert_on=on, alert_since=now.at, against=0, held_s=0.0), [change]
