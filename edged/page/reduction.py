"""The answers to one question over a period, small enough for a browser however many they are. Pure.

As long as they are few, equal answers in a row become one run. When there are more runs than a screen can show, the
period is divided into buckets: each has the values of its answers, and the refusal that was most frequent in it.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from edged.core.types import PastAnswer, Value

MOST_RUNS = 1000
BUCKETS = 500
MOST_VALUES = 8  # of a bucket
MOST_TEXT = 120  # characters of a text, of JSON or of a reason
NUMERIC = ("integer", "number")
NAMED = ("yes_no", "choices")


@dataclass(slots=True)
class Run:
    """`n` answers in a row with the same value, or refusals with the same reason, from the first one to the last one.

    Of a bucket: all its answers with a value, `value` being the last one; or all with its most frequent refusal.
    """

    from_ts: float
    to_ts: float
    value: Value
    status: str
    reason: str | None
    n: int = 1
    more: Mapping[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        times = {"from_ts": round(self.from_ts, 1), "to_ts": round(self.to_ts, 1)}
        return {
            **times,
            "value": self.value,
            "status": self.status,
            "reason": self.reason,
            "n": self.n,
            **(self.more or {}),
        }

    def is_continued_by(self, run: Run, within_s: float) -> bool:
        if self.more or run.more or abs(run.from_ts - self.to_ts) > within_s:
            return False
        return (self.value, self.status, self.reason) == (run.value, run.status, run.reason)

    def extend(self, run: Run) -> None:
        self.to_ts = max(self.to_ts, run.to_ts)
        self.n += run.n


class Reduction:
    """Of the answers of a type between `since` and `now` (wall clock), given oldest first.

    The last answer before the period counts as the begin of its first run, because it was valid until the next one. An
    answer that comes more than `expires_s` after the one before it begins a new run: there was none in between.
    """

    def __init__(self, kind: str, since: float, now: float, expires_s: float) -> None:
        self._kind = kind
        self._since = since
        self._now = now
        self._expires_s = expires_s
        self._moment: float | None = None  # None: the period has not begun
        self._before: Run | None = None
        self._begun: float | None = None
        self._totals: Counter[str] = Counter()
        self._runs: list[Run] = []
        self._buckets: defaultdict[int, _Bucket] = defaultdict(_Bucket)

    def add(self, answer: PastAnswer) -> None:
        if answer.type != self._kind or not self._is_possible(answer):  # the question was another one then
            return
        if self._since <= answer.answered_ts <= self._now:
            self._moment = answer.answered_ts
        if self._moment is None:
            self._before = self._run(answer, answer.answered_ts)
            return
        # A stamp outside of the period is that of a wrong clock: the answer was given after the one before it.
        run = self._run(answer, self._moment)
        if not self._totals:
            self._begin(run)
        self._totals[run.status] += 1
        self._put(run)

    def result(self) -> dict[str, Any]:
        """`begun_ts` is that of the first answer ever, None if there are answers from before the period.

        `bucket_s` is None if the runs are complete.
        """
        complete = len(self._runs) <= MOST_RUNS
        runs = self._runs if complete else self._merged()
        runs.sort(key=lambda run: run.from_ts)  # a clock that was set back
        return {
            "begun_ts": self._begun,
            "expires_s": self._expires_s,
            "totals": dict(self._totals),
            "bucket_s": None if complete else self._bucket_s,
            "runs": [run.as_json() for run in runs],
        }

    def _is_possible(self, answer: PastAnswer) -> bool:
        if self._kind not in NUMERIC or answer.status != "ok":
            return True
        return isinstance(answer.value, int | float) and math.isfinite(answer.value)

    @property
    def _bucket_s(self) -> float:
        return (self._now - self._since) / BUCKETS

    def _run(self, answer: PastAnswer, moment: float) -> Run:
        value = self._short(answer.value) if answer.status == "ok" else None
        reason = answer.reason if answer.status != "ok" else None
        return Run(moment, moment, value, str(answer.status), reason and str(reason)[:MOST_TEXT])

    def _short(self, value: Value) -> Value:
        if self._kind in NUMERIC or isinstance(value, bool):
            return value
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return text if self._kind in NAMED or len(text) <= MOST_TEXT else f"{text[: MOST_TEXT - 1]}…"

    def _begin(self, first: Run) -> None:
        before = self._before
        if before is None:
            self._begun = first.from_ts
        elif 0 <= first.from_ts - before.from_ts <= self._expires_s:
            self._put(before)

    def _put(self, run: Run) -> None:
        bucket = max(0, int((run.from_ts - self._since) / self._bucket_s))
        self._buckets[bucket].add(run)
        if len(self._runs) <= MOST_RUNS:
            self._append(self._runs, run)

    def _append(self, runs: list[Run], run: Run) -> None:
        """Extend the last run by this one, or begin a new one."""
        if runs and runs[-1].is_continued_by(run, self._expires_s):
            runs[-1].extend(run)
        else:
            runs.append(replace(run))

    def _merged(self) -> list[Run]:
        """The runs of the buckets; those of successive ones without any change are one."""
        runs: list[Run] = []
        for _, bucket in sorted(self._buckets.items()):
            of_bucket = bucket.runs(self._kind)
            self._append(runs, of_bucket[0])
            runs += of_bucket[1:]
        return runs


class _Bucket:
    """The answers in a part of the period."""

    def __init__(self) -> None:
        self._value: Run | None = None
        self._values: Counter[Value] = Counter()
        self._refusals: dict[str, Run] = {}  # by status

    def add(self, run: Run) -> None:
        if run.status == "ok":
            self._values[run.value] += run.n
            self._value = _with(self._value, run)
        else:
            self._refusals[run.status] = _with(self._refusals.get(run.status), run)

    def runs(self, kind: str) -> list[Run]:
        """One or two: the values, and the most frequent refusal."""
        values = [replace(self._value, more=self._more(kind))] if self._value else []
        return [*values, *sorted(self._refusals.values(), key=lambda run: -run.n)[:1]]

    def _more(self, kind: str) -> Mapping[str, Any] | None:
        if len(self._values) > 1 and kind in NUMERIC:
            return {"low": min(self._values), "high": max(self._values)}
        if len(self._values) > 1 and kind in NAMED:
            return {"values": self._values.most_common(MOST_VALUES)}
        return None


def _with(run: Run | None, newer: Run) -> Run:
    """The run with the newer value or reason, for the time and the number of both."""
    if run is None:
        return replace(newer)
    run.value, run.reason = newer.value, newer.reason
    run.extend(newer)
    return run
