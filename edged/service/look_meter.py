"""Counts what the looks of a camera gave: answers by status, and the duration of each stage. For the metrics."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Lock

from edged.core.types import Answer

BUCKETS_S = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # upper bounds
STAGES = ("grab", "encode", "answer")  # the keys of an answer's timing_ms


@dataclass(slots=True)
class Durations:
    """A histogram. `counts` has a number for each of BUCKETS_S, and one for longer durations."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    total_s: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS_S, seconds)] += 1
        self.total_s += seconds

    def copy(self) -> Durations:
        return Durations(list(self.counts), self.total_s)


class LookMeter:
    """Of one camera, since edged was started. For any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._answers: Counter[tuple[str, str]] = Counter()
        self._durations = {stage: Durations() for stage in STAGES}

    def add(self, answers: Sequence[Answer]) -> None:
        """The answers of one look."""
        with self._lock:
            self._answers.update((answer.question, answer.status) for answer in answers)
            for stage, milliseconds in _timings(answers):
                self._durations[stage].add(milliseconds / 1000)

    def keep(self, questions: Collection[str]) -> None:
        """Forget the answers to all other questions."""
        with self._lock:
            for key in [key for key in self._answers if key[0] not in questions]:
                del self._answers[key]

    def answers(self) -> dict[tuple[str, str], int]:
        """How often each question had each status."""
        with self._lock:
            return dict(self._answers)

    def durations(self) -> dict[str, Durations]:
        """By stage."""
        with self._lock:
            return {stage: durations.copy() for stage, durations in self._durations.items()}


def _timings(answers: Sequence[Answer]) -> Iterator[tuple[str, float]]:
    """Stages with their milliseconds: one grab in a look, an encode for each region, a generation for each answer."""
    grabs = [answer.timing_ms["grab"] for answer in answers[:1]]
    asked = [answer for answer in answers if answer.timing_ms["answer"] is not None]
    encodes = {answer.region: answer.timing_ms["encode"] for answer in asked}
    generations = [answer.timing_ms["answer"] for answer in asked]
    for stage, taken in zip(STAGES, (grabs, encodes.values(), generations), strict=True):
        yield from ((stage, milliseconds) for milliseconds in taken if milliseconds is not None)
