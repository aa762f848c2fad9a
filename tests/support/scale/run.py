"""One run of a box with many cameras: what edged did, what it told about it, and what was true."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from support.broker import HOST, Mosquitto, free_port
from support.scale.box import ModelTimes, Published, Served, first_ticks, listening, served, timed_edged, write_config
from support.scale.truth import Looks, busy_share, claims
from support.scraping import fetch, values


@dataclass(frozen=True, slots=True)
class Result:
    """Times are monotonic or since the epoch. `told` has the metrics as they were scraped at `told_at`."""

    looks: Looks
    served: list[Served]
    told_at: float
    told: str
    log: list[str]
    exit_code: int

    @property
    def busy_share(self) -> float:
        return busy_share(self.served)

    def counts(self, every_s: float) -> list[int]:
        """How many looks each camera with this interval has had."""
        answers = self.looks.published.answers
        return [len(answers[camera]) for camera, interval in self.looks.every_s.items() if interval == every_s]

    def lost(self, every_s: float) -> int:
        """Ticks of the cameras with this interval that had no look."""
        return sum(self.looks.lost(camera) for camera, interval in self.looks.every_s.items() if interval == every_s)

    def lateness_s(self) -> tuple[float, float]:
        """As it was told, and as it was."""
        (told,) = values(self.told, "edged_lateness_seconds").values()
        return told, self.looks.lateness_s(self.told_at)

    def skipped(self) -> tuple[dict[str, int], dict[str, int]]:
        """Of each camera until `told_at`: as they were told, and as they were."""
        told = values(self.told, "edged_looks_skipped_total")
        names = self.looks.every_s
        return (
            {name: int(told[f"{name} busy"]) for name in names},
            {name: self.looks.lost(name, until=self.told_at) for name in names},
        )

    def wrong_ages_s(self) -> list[float]:
        """By how much `frame_age_s` of each answer is wrong."""
        return [wrong for wrong, _ in self._claims()]

    def answering_s(self) -> list[float]:
        """How long after the model had answered each answer was ready."""
        return [after for _, after in self._claims()]

    def _claims(self) -> list[tuple[float, float]]:
        by_camera = self.looks.published.answers.values()
        return list(claims([answer for answers in by_camera for answer in answers], self.served))


def run(folder: Path, broker: Mosquitto, every_s: Mapping[str, float], times: ModelTimes, rounds: int) -> Result:
    """Until each camera has had so many looks, and one more, so that the lateness of those that waited is known."""
    port = free_port()
    config = write_config(folder, broker.port, every_s, f"metrics: '{HOST}:{port}'\n")
    with listening(broker.port) as published, timed_edged(config, times) as edged:
        wait_for_looks(published, len(every_s), rounds)
        told_at, told = time.time(), fetch(port).text
        wait_for_looks(published, len(every_s), rounds + 1)
        code, _ = edged.stop()
    return Result(Looks(published, every_s, first_ticks(config)), served(config), told_at, told, edged.lines, code)


def wait_for_looks(published: Published, cameras: int, count: int) -> None:
    """Until each camera has had so many."""
    published.wait_for(
        lambda now: len(now.answers) == cameras and all(len(answers) >= count for answers in now.answers.values())
    )
