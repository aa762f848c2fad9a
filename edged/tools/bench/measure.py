"""Measures the model, and computes the model time that the configured cameras need."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from statistics import median
from threading import Event as StopSignal

from edged.core.interfaces import VisionModel
from edged.core.intervals import shortest_interval_s
from edged.core.specs import CameraSpec, Config, QuestionSpec, by_region
from edged.core.types import Frame
from edged.tools.bench.figures import BenchResult, Need, Row, four_digits
from edged.tools.bench.timing import Task, Timing, look_name
from edged.tools.bench.workload import LONG_PROMPT, TokenCounter, typed_questions

COUNTS = (1, 2, 4, 8)


def measure(
    model: VisionModel,
    frame: Frame,
    config: Config | None,
    count_tokens: TokenCounter,
    seconds: float,
    load_s: float,
    stop: StopSignal,
) -> BenchResult:
    """Time the model for about so many seconds; the call that is running then still ends. Raises Stopped."""
    begun = time.monotonic()
    cameras = [camera for camera in config.cameras if camera.questions] if config else []
    timing = Timing(model, frame, count_tokens(LONG_PROMPT), begun + seconds, stop)
    timing.run(_tasks(timing, cameras))
    needs = [_need(timing, camera) for camera in cameras]
    workers = len(config.model.each_worker()) if config else 1
    needed = four_digits(sum(need.looks_per_minute for need in needs))
    height, width = frame.rgb.shape[:2]
    return BenchResult(
        model=model.name,
        revision=model.revision,
        picture=(width, height),
        load_s=four_digits(load_s),
        took_s=four_digits(time.monotonic() - begun),
        see_ms=timing.figure("encode", 1000),
        prefill_tokens_per_s=timing.figure("prefill"),
        prefill_tokens=timing.tokens,
        decode_tokens_per_s=timing.figure("decode"),
        rows=[Row(n, timing.figure(f"shared {n}"), timing.figure(f"apart {n}")) for n in COUNTS],
        workers=workers,
        cameras=needs,
        needed_looks_per_minute=needed,
        possible_looks_per_minute=_possible_looks(needs, needed, workers),
        costliest=_costliest(needs),
    )


def _tasks(timing: Timing, cameras: Sequence[CameraSpec]) -> list[Task]:
    by_look = {look_name(camera): camera for camera in cameras}
    looks = [
        Task(name, partial(timing.look, camera), (len(by_region(camera.questions)), len(camera.all_questions())))
        for name, camera in by_look.items()
    ]
    tasks = [*reversed(looks), Task("decode", timing.decode, (1, 2)), Task("prefill", timing.prefill, (1, 2))]
    for count in COUNTS:
        questions = typed_questions(count)
        tasks.append(Task(f"shared {count}", partial(timing.shared, questions), (1, count)))
        tasks.append(Task(f"apart {count}", partial(timing.apart, questions), (count, count)))
    return tasks


def _need(timing: Timing, camera: CameraSpec) -> Need:
    every_s = shortest_interval_s(camera)
    per_minute = 60.0 / every_s
    look = timing.figure(look_name(camera))
    busy_s = None
    if look.median is not None:
        asking_s = sum(_share(question, every_s) * _asking_s(timing, camera, question) for question in camera.questions)
        regions = by_region(camera.questions).values()
        encodes = sum(max(_share(question, every_s) for question in questions) for questions in regions)
        busy_s = four_digits(per_minute * (encodes * median(timing.samples["encode"]) + asking_s))
    return Need(camera.name, four_digits(per_minute), look, busy_s)


def _share(question: QuestionSpec, every_s: float) -> float:
    """The share of looks, one every `every_s`, at which this question is due."""
    return min(1.0, every_s / (question.every_s or every_s))


def _asking_s(timing: Timing, camera: CameraSpec, question: QuestionSpec) -> float:
    """Seconds of a question with its follow-ups."""
    own_s = median(timing.samples[f"{look_name(camera)} {question.name}"])
    return own_s + sum(_asking_s(timing, camera, follow_up) for follow_up in question.then)


def _possible_looks(needs: Sequence[Need], needed: float, workers: int) -> float | None:
    busy = [need.busy_s_per_minute for need in needs if need.busy_s_per_minute]
    if not needs or len(busy) < len(needs):
        return None
    return four_digits(needed * 60 * workers / sum(busy))


def _costliest(needs: Sequence[Need]) -> str | None:
    measured = [need for need in needs if need.busy_s_per_minute is not None]
    return max(measured, key=lambda need: need.busy_s_per_minute or 0.0).camera if measured else None
