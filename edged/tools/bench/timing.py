"""Timing calls of a model, again and again, for as long as the next one is expected to fit the time.

Everything goes through core.VisionModel, so CPU, GPU and NPU are timed by the same code.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from threading import Event as StopSignal

from edged.core.interfaces import VisionModel
from edged.core.specs import CameraSpec, QuestionSpec, RegionSpec, by_region
from edged.core.types import Exchange, Frame, Reply
from edged.service.region import cut
from edged.tools.bench.figures import Figure, four_digits
from edged.tools.bench.workload import DECODED, DESCRIBE, LONG_PROMPT, text_question, typed_questions

MAX_SAMPLES = 25  # of each figure; more would not change the median
MIN_STEPS = 4


class NoSample(Exception):
    """The reply was cut off by the end of the time, or the question did not fit the cache."""


@dataclass(frozen=True, slots=True)
class Task:
    """A measurement to repeat. `calls` are its calls of (encode, ask), for a first guess of its duration."""

    name: str
    run: Callable[[], None]
    calls: tuple[int, int]


@dataclass(slots=True)
class Timing:
    """A measurement until `end` (monotonic). `samples` are seconds, or rates, by the name of their figure."""

    model: VisionModel
    frame: Frame
    tokens: int | None  # of LONG_PROMPT
    end: float
    stop: StopSignal
    samples: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    durations: dict[str, float] = field(default_factory=dict)  # of the last run of each task

    def run(self, tasks: Sequence[Task]) -> None:
        """Run all of them in turn, as long as the next one is expected to fit the time."""
        self._warm_up()
        for _ in range(MAX_SAMPLES):
            ran = False
            for task in tasks:
                if time.monotonic() + self._expected_s(task) <= self.end:
                    self._run_once(task)
                    ran = True
            if not ran:
                return

    def figure(self, name: str, factor: float = 1.0) -> Figure:
        samples = self.samples.get(name, [])
        return Figure(four_digits(median(samples) * factor) if samples else None, len(samples))

    def encode(self, region: RegionSpec | None = None) -> float:
        picture = cut(self.frame, region)
        begun = time.perf_counter()
        self.model.encode(picture)
        encode_s = time.perf_counter() - begun
        if region is None:  # the figure is of the whole picture
            self.samples["encode"].append(encode_s)
        return encode_s

    def ask(self, question: QuestionSpec, history: Sequence[Exchange] = ()) -> tuple[float, Reply]:
        """The seconds it took, and the reply. Raises NoSample."""
        generation = question.generation
        remaining_s = max(0.0, self.end - time.monotonic())
        bounded = replace(generation, deadline_s=min(generation.deadline_s, remaining_s))
        begun = time.perf_counter()
        reply = self.model.ask(history, replace(question, generation=bounded), self.stop)
        if reply.ended in ("deadline", "context_overflow"):
            raise NoSample
        return time.perf_counter() - begun, reply

    # the tasks

    def shared(self, questions: Sequence[QuestionSpec]) -> None:
        begun = time.perf_counter()
        self.encode()
        for question in questions:
            self.ask(question)
        self.samples[f"shared {len(questions)}"].append(time.perf_counter() - begun)

    def apart(self, questions: Sequence[QuestionSpec]) -> None:
        begun = time.perf_counter()
        for question in questions:
            self.encode()
            self.ask(question)
        self.samples[f"apart {len(questions)}"].append(time.perf_counter() - begun)

    def prefill(self) -> None:
        self.encode()
        prefill_s, _ = self.ask(text_question(LONG_PROMPT, 1))
        if self.tokens:
            self.samples["prefill"].append(self.tokens / prefill_s)

    def decode(self) -> None:
        """The time of many tokens less that of the first one, which is the prefill of its prompt."""
        self.encode()
        first_s, _ = self.ask(text_question(f"1. {DESCRIBE}", 1))
        all_s, reply = self.ask(text_question(f"2. {DESCRIBE}", DECODED))
        if reply.steps >= MIN_STEPS and all_s > first_s:
            self.samples["decode"].append(reply.steps / (all_s - first_s))

    def look(self, camera: CameraSpec) -> None:
        """A look at this camera with every question due and every follow-up asked."""
        durations: dict[str, float] = {}
        encode_s = 0.0
        for region, questions in by_region(camera.questions).items():
            encode_s += self.encode(region)
            for question in questions:
                self._ask_with_follow_ups(question, (), durations)
        for name, ask_s in durations.items():
            self.samples[f"{look_name(camera)} {name}"].append(ask_s)
        self.samples[look_name(camera)].append(encode_s + sum(durations.values()))

    def _ask_with_follow_ups(
        self, question: QuestionSpec, history: Sequence[Exchange], durations: dict[str, float]
    ) -> None:
        durations[question.name], reply = self.ask(question, history)
        for follow_up in question.then:
            self._ask_with_follow_ups(follow_up, (*history, Exchange(question.prompt, reply.text)), durations)

    # how long they take

    def _warm_up(self) -> None:
        """The first calls of a process are slower than all others: they give a first guess, and no sample."""
        begun = time.monotonic()
        self.model.encode(self.frame)
        self.durations["encode"] = time.monotonic() - begun
        self.model.ask((), typed_questions(1)[0], self.stop)
        self.durations["ask"] = time.monotonic() - begun - self.durations["encode"]

    def _run_once(self, task: Task) -> None:
        begun = time.monotonic()
        try:
            task.run()
        except NoSample:
            self.durations[task.name] = math.inf  # it would not fit the next time either
        else:
            self.durations[task.name] = time.monotonic() - begun

    def _expected_s(self, task: Task) -> float:
        encodes, asks = task.calls
        guess = encodes * self.durations["encode"] + asks * self.durations["ask"]
        return self.durations.get(task.name, guess)


def look_name(camera: CameraSpec) -> str:
    """Equal for cameras that are asked the same: a look at one of them is timed for all."""
    asked = [f"{question.name}:{question.prompt_rev}:{question.region}" for question in camera.all_questions()]
    return f"look {' '.join(asked)}"
