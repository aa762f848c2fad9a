"""The truth about the looks of many cameras, from their schedules, the answers, and what the model noted.

A camera's ticks are `every_s` apart. A tick is lost if the look before it had not ended.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from support.scale.box import Published, Served


@dataclass(frozen=True, slots=True)
class Look:
    """Times since the epoch. `due` is its tick, `seen` when its frame was taken."""

    due: float
    seen: float
    answered: float

    @property
    def late_s(self) -> float:
        return self.seen - self.due


@dataclass(frozen=True, slots=True)
class Looks:
    """Of all cameras, from their answers. `every_s` has the interval of each, and `first_tick` when it began."""

    published: Published
    every_s: Mapping[str, float]
    first_tick: Mapping[str, float]

    def of(self, camera: str) -> list[Look]:
        """A look's tick is the first one after the end of the look before it."""
        answers, first = self.published.answers.get(camera, []), self.first_tick[camera]
        ends = [first - 1e-3, *(answer["answered_ts"] for answer in answers)]
        return [
            Look(self._tick_after(camera, ended), answer["frame_ts"], answer["answered_ts"])
            for ended, answer in zip(ends, answers, strict=False)
        ]

    def lost(self, camera: str, until: float = math.inf) -> int:
        """Ticks before `until` without a look, from the first look to the last."""
        every_s = self.every_s[camera]
        return sum(
            look.due + (number + 1) * every_s < until
            for look, later in pairwise(self.of(camera))
            for number in range(round((later.due - look.due) / every_s) - 1)
        )

    def lateness_s(self, at: float, window_s: float = 60.0) -> float:
        """The mean, as it is told at this time: of the looks of the last minute and of those that wait."""
        return statistics.mean(self._waits(at, at - window_s))

    def _waits(self, at: float, begin: float) -> Iterator[float]:
        for camera in self.published.answers:
            for look in self.of(camera):
                if begin <= look.seen <= at:
                    yield look.late_s
                elif look.due <= at < look.seen:
                    yield at - look.due

    def _tick_after(self, camera: str, moment: float) -> float:
        every_s, first = self.every_s[camera], self.first_tick[camera]
        return first + every_s * max(0, int((moment - first) / every_s) + (moment > first))


def busy_share(served: Sequence[Served]) -> float:
    """The share of the time that the model spent on looks, from its first to its last."""
    spent = sum(each.ended - each.begun for each in served)
    return spent / (served[-1].ended - served[0].begun)


def claims(answers: Sequence[Mapping[str, Any]], served: Sequence[Served]) -> Iterator[tuple[float, float]]:
    """For each answer by how much `frame_age_s` is wrong, and how long after its question's end it was answered."""
    by_picture: dict[str, list[Served]] = {}
    for each in served:
        by_picture.setdefault(each.sha256, []).append(each)
    for answer in answers:
        truth = by_picture[answer["frame_sha256"]].pop(0)
        true_age_s = truth.begun - answer["frame_ts"]
        yield abs(answer["frame_age_s"] - true_age_s), answer["answered_ts"] - truth.ended
