"""The figures that `edged bench` measures, and their JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """The median of that many samples; None if there are none."""

    median: float | None
    samples: int


@dataclass(frozen=True, slots=True)
class Row:
    """Seconds for so many questions about one frame: encoded once, and encoded again before every question."""

    questions: int
    shared_s: Figure
    apart_s: Figure


@dataclass(frozen=True, slots=True)
class Need:
    """The model time that a camera needs: looks, seconds of a look with every question due, seconds for every minute.

    A cron schedule counts at its densest. Questions with an interval of their own count as often as they are due,
    follow-ups as if they were always asked, frames as if every one had changed.
    """

    camera: str
    looks_per_minute: float
    look_s: Figure
    busy_s_per_minute: float | None


@dataclass(frozen=True, slots=True)
class BenchResult:
    """Everything that was measured. `possible_looks_per_minute` is for the cameras' own mixture, on all workers."""

    model: str
    revision: str
    picture: tuple[int, int]
    load_s: float
    took_s: float
    see_ms: Figure
    prefill_tokens_per_s: Figure
    prefill_tokens: int | None
    decode_tokens_per_s: Figure
    rows: list[Row]
    workers: int
    cameras: list[Need]
    needed_looks_per_minute: float
    possible_looks_per_minute: float | None
    costliest: str | None


def four_digits(number: float) -> float:
    """The number with four significant digits; the rest is noise."""
    return float(f"{number:.4g}")


def as_json(result: BenchResult) -> str:
    return json.dumps(asdict(result), ensure_ascii=False, indent=2)
