"""Runs the schedule of a storm over real parts, and lets the oracle judge what came of it."""

from __future__ import annotations

import heapq
import json
import math
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.broker import Subscriber
from support.storm import oracle
from support.storm.faults import KINDS, Running, finish
from support.storm.faults.cameras import HELD
from support.storm.parts import LISTENER, Parts, all_parts
from support.storm.record import Message
from support.storm.schedule import Fault, has_tls

SETTLED_S = 240.0  # back-off is 60 s at most, and a busy machine is slow
QUIET_LOOKS = 3
REVIVE_S = 0.5


@dataclass(frozen=True, slots=True)
class Done:
    """A fault as it was carried out. Times are monotonic. `effect` is what it hit; 0: nothing."""

    fault: Fault
    began: float
    ended: float
    effect: int


@dataclass(slots=True)
class Outcome:
    """`violations` are sentences; there are none if edged kept every promise. `log` is that of all lives of edged.

    `evidence` has what was received and what is in the store, a line each, if a promise was broken. With `paused_s`,
    the age of pictures was not judged.
    """

    seed: int
    done: list[Done] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    answers: int = 0
    log: list[str] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)
    paused_s: float = 0.0


@dataclass(slots=True)
class Storm:
    parts: Parts
    done: list[Done] = field(default_factory=list)

    def blow(self, faults: Sequence[Fault]) -> None:
        """Begin and end each fault at its time; later, in the same order, if an earlier step took too long."""
        origin = time.monotonic()
        steps: list[tuple[float, int, Fault, Running | None, float]] = []
        for number, fault in enumerate(faults):
            heapq.heappush(steps, (fault.at_s, number, fault, None, 0.0))
        while steps:
            due, number, fault, running, began = heapq.heappop(steps)
            self._wait_until(origin + due)
            if running is None:
                began, running = time.monotonic(), KINDS[fault.kind].run(self.parts, fault)
                next(running)
                heapq.heappush(steps, (due + fault.seconds, number, fault, running, began))
            else:
                self.done.append(Done(fault, began, time.monotonic(), finish(running)))

    def faults(self) -> oracle.Faults:
        """What the oracle has to know of them."""
        wall = time.time() - time.monotonic()
        edits = [moment for done in self.done if "config" in done.fault.parts for moment in (done.began, done.ended)]
        held = [done for done in self.done if done.fault.kind == HELD and "yard" in done.fault.parts]
        return oracle.Faults(
            broker_away=[(done.began, done.ended) for done in self.done if "broker" in done.fault.parts],
            denied=self.parts.denied,
            frozen={number for camera in self.parts.http.values() for number in camera.froze_at},
            begun=[wall + moment for moment in (*edits, *(life.began for life in self.parts.lives))],
            forgotten=[wall + moment for moment in (*edits, *(life.began for life in self.parts.lives if life.unread))],
            lags={"dock": self.parts.camera_lags()},
            held={"yard": [(wall + done.began, wall + done.ended) for done in held]},
        )

    def _wait_until(self, moment: float) -> None:
        while (left_s := moment - time.monotonic()) > 0:
            self.parts.revive_edged()
            time.sleep(min(left_s, REVIVE_S))

    def settle(self, quiet_s: float = 0.0) -> bool:
        """Wait until each camera answers again and the broker has it; then for a few quiet looks, `quiet_s` at least.
        False: it did not."""
        looks, end = 0, math.inf
        while looks <= QUIET_LOOKS or time.monotonic() < end:
            if not self._look_answered():
                return False
            looks, end = looks + 1, min(end, time.monotonic() + quiet_s)
        return self._delivered()

    def _look_answered(self) -> bool:
        """Wait until each camera has answered from now on. edged may still end by what the last fault has begun."""
        since, wanted = time.monotonic(), set(self.parts.config.answer_topics())
        while time.monotonic() < since + SETTLED_S:
            self.parts.revive_edged()
            if self.parts.record.wait_for(lambda all_: wanted <= _answered(all_, since), REVIVE_S):
                return True
        return False

    def _delivered(self) -> bool:
        """Wait until every outage in the log is over and all that is in the store now has been received."""
        end, rows = time.monotonic() + SETTLED_S, oracle.read_rows(self.parts.database)
        while time.monotonic() < end:
            logs = [list(life.log) for life in self.parts.lives]
            seen = oracle.Seen(list(self.parts.record.messages), rows, logs, {}, {})
            if not any([*oracle.unended(seen), *oracle.lost(seen, self.parts.denied)]):
                return True
            time.sleep(REVIVE_S)
        return False


def _answered(messages: Sequence[Message], since: float) -> set[str]:
    """The topics with an answer that is `ok` and was given after this moment."""
    recent = [message for message in messages if message.at >= since and message.payload.startswith(b"{")]
    return {message.topic for message in recent if _is_answer(message.json)}


def _is_answer(content: Mapping[str, Any]) -> bool:
    return content.get("status") == "ok" and content.get("late") is False


def run(seed: int, faults: Sequence[Fault], folder: Path, quiet_s: float = 0.0) -> Outcome:
    """One storm. Takes as long as its schedule, and about 20 s more, or `quiet_s` if that is more."""
    with all_parts(folder, has_tls(seed)) as parts:
        storm = Storm(parts)
        parts.start_edged()
        assert storm.settle(), "edged does not work even without a fault:\n" + "\n".join(parts.life.log[-20:])
        before = parts.sample()
        storm.blow(faults)
        is_settled = storm.settle(quiet_s)
        after = parts.sample() if is_settled else before
        quiet = _retained(parts)
        parts.end_edged(signal.SIGTERM)
        parts.await_end()
        parts.record.catch_up()
        seen = oracle.Seen(
            messages=parts.record.messages,
            rows=oracle.read_rows(parts.database),
            logs=[life.log for life in parts.lives],
            quiet=quiet,
            stopped=_retained(parts),
        )
        violations = [] if is_settled else [f"edged did not recover within {SETTLED_S:.0f} s of the last fault"]
        violations += oracle.judge(seen, parts, before, after, storm.faults())
        answers = len({row.id for row in seen.rows})
        log = [line for log in seen.logs for line in ["---", *log]]
        evidence = _evidence(seen, parts) if violations else []
        return Outcome(seed, storm.done, violations, answers, log, evidence, parts.lateness.paused_s)


def _evidence(seen: oracle.Seen, parts: Parts) -> list[str]:
    """The lives of edged, what was received, what is in the store, and how late `dock` sent its pictures.

    Times are seconds of the wall clock.
    """
    wall = time.time() - time.monotonic()
    lives = [f"life from {wall + life.began:.3f} to {wall + life.ended:.3f}" for life in parts.lives]
    received = [
        f"{wall + each.at:.3f} {each.topic} retain={each.retain} look={each.look} {str(each.payload[:2000])[2:-1]}"
        for each in seen.messages
    ]
    rows = [f"row {row.number} {row.topic} waiting={row.waiting} {json.dumps(row.content)}" for row in seen.rows]
    lags = [f"picture of dock sent at {when:.3f}, {lag_s:.3f} s late" for when, lag_s in parts.camera_lags()]
    return [*lives, *received, *rows, *lags]


def _retained(parts: Parts) -> dict[str, bytes]:
    """The broker's retained messages, by topic."""
    fresh = Subscriber(parts.broker.port, *LISTENER)
    fresh.close()
    return {message.topic: message.payload for message in fresh.messages if message.retain}
