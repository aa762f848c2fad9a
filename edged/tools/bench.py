"""`edged bench`: how fast this box answers with this model, and what the configured cameras need of it.

Everything goes through core.VisionModel, so CPU, GPU and NPU are timed by the same lines. Each figure is the median of
its samples; what did not fit the time has no samples and no figure. Each prompt begins with other words than the one
before, so that what the KV cache keeps is the picture and not the prompt.
"""

from __future__ import annotations

import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from threading import Event as StopSignal
from typing import TYPE_CHECKING, TypeAlias

from edged.core.answer_types import AnswerType, Choices, Number, Text, YesNo
from edged.core.interfaces import VisionModel
from edged.core.intervals import shortest_interval_s
from edged.core.specs import CameraSpec, Config, Generation, QuestionSpec
from edged.core.text import counted
from edged.core.types import Exchange, Frame, Reply, utc_now

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

COUNTS = (1, 2, 4, 8)
MOST_SAMPLES = 25  # of each figure: a median of more says no more
PICTURE = (1280, 720)
DECODED = 33  # the first of these tokens comes from the prefill
FEWEST_STEPS = 4
LONG_PROMPT = " ".join(["The gate is open and two people wait."] * 28)  # some 250 tokens
TALK = "Describe everything in this image, one thing after the other, in long sentences."
ASKED: tuple[tuple[str, AnswerType], ...] = (
    ("How many people are in this image?", Number(True, 0, 40)),
    ("Is there a vehicle in this image?", YesNo()),
    ("What is the weather like?", Choices((("clear", "clear"), ("rain", "rain"), ("snow", "snow"), ("fog", "fog")))),
    ("Does anybody carry something?", YesNo()),
    ("Which light is there?", Choices((("day", "day"), ("dusk", "dusk"), ("night", "night")))),
    ("Are all doors shut?", YesNo()),
    ("Count the vehicles in this image.", Number(True, 0, 40)),
    ("Would somebody have to look at this?", YesNo()),
)

Counter: TypeAlias = Callable[[str], int | None]  # how many tokens a text is; None if that is not known


@dataclass(frozen=True, slots=True)
class Figure:
    """The median of so many samples; None where there are none."""

    median: float | None
    samples: int


@dataclass(frozen=True, slots=True)
class Row:
    """Seconds for each of `questions` questions on one frame: the frame seen once, and seen before every question."""

    questions: int
    shared_s: Figure
    apart_s: Figure


@dataclass(frozen=True, slots=True)
class Need:
    """What a camera asks of the model: its looks, the seconds of one with every question due, and of all in a minute.

    Of a cron schedule the densest looks count. Questions with an interval of their own count as often as they are due,
    follow-ups as if they were always asked, pictures as if each had changed.
    """

    camera: str
    looks_per_minute: float
    look_s: Figure
    busy_s_per_minute: float | None


@dataclass(frozen=True, slots=True)
class Bench:
    """All that was measured. `possible_looks_per_minute` is of the cameras' own mixture of looks, on all workers."""

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


class _NoSample(Exception):
    """The reply was cut off by the end of the time, or the question did not fit the cache."""


@dataclass(frozen=True, slots=True)
class _Task:
    """One thing to do again and again. `guess` (seen, asked) says how many calls of each it makes."""

    name: str
    run: Callable[[], None]
    guess: tuple[int, int]


@dataclass(slots=True)
class _Timing:
    """The measuring while it lasts. `samples` are seconds, or rates, by the name of their figure."""

    model: VisionModel
    frame: Frame
    tokens: int | None
    end: float
    stop: StopSignal
    samples: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    took: dict[str, float] = field(default_factory=dict)

    def run(self, tasks: Sequence[_Task]) -> None:
        """All of them in turn, for as long as the next one should fit the time."""
        self._warm_up()
        for _ in range(MOST_SAMPLES):
            ran = False
            for task in tasks:
                if time.monotonic() + self._expected(task) <= self.end:
                    self._once(task)
                    ran = True
            if not ran:
                return

    def figure(self, name: str, factor: float = 1.0) -> Figure:
        found = self.samples.get(name, [])
        return Figure(_short(median(found) * factor) if found else None, len(found))

    def encode(self) -> float:
        begun = time.perf_counter()
        self.model.encode(self.frame)
        took = time.perf_counter() - begun
        self.samples["see"].append(took)
        return took

    def ask(self, question: QuestionSpec, history: Sequence[Exchange] = ()) -> tuple[float, Reply]:
        """The seconds it took, and the reply. Raises _NoSample."""
        own = question.generation
        left = max(0.0, self.end - time.monotonic())
        bounded = replace(question, generation=replace(own, deadline_s=min(own.deadline_s, left)))
        begun = time.perf_counter()
        reply = self.model.ask(history, bounded, self.stop)
        if reply.ended in ("deadline", "context_overflow"):
            raise _NoSample
        return time.perf_counter() - begun, reply

    # what is done again and again

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
        took, _ = self.ask(_question(LONG_PROMPT, Text(), 1))
        if self.tokens:
            self.samples["prefill"].append(self.tokens / took)

    def decode(self) -> None:
        """The time of many tokens less that of the first one, which is its prompt's prefill."""
        self.encode()
        first, _ = self.ask(_question(f"1. {TALK}", Text(), 1))
        whole, reply = self.ask(_question(f"2. {TALK}", Text(), DECODED))
        if reply.steps >= FEWEST_STEPS and whole > first:
            self.samples["decode"].append(reply.steps / (whole - first))

    def look(self, camera: CameraSpec) -> None:
        """A whole look at this camera, with every question due and every follow-up asked."""
        found: dict[str, float] = {}
        begun = self.encode()
        for question in camera.questions:
            self._ask_all(question, (), found)
        for name, took in found.items():
            self.samples[f"{_kind(camera)} {name}"].append(took)
        self.samples[_kind(camera)].append(begun + sum(found.values()))

    def _ask_all(self, question: QuestionSpec, history: Sequence[Exchange], found: dict[str, float]) -> None:
        found[question.name], reply = self.ask(question, history)
        for follow_up in question.then:
            self._ask_all(follow_up, (*history, Exchange(question.prompt, reply.text)), found)

    # how long it lasts

    def _warm_up(self) -> None:
        """The first calls of a process are slower than all others; they are a guess, and no sample."""
        begun = time.monotonic()
        self.model.encode(self.frame)
        self.took["see"] = time.monotonic() - begun
        self.model.ask((), _questions(1)[0], self.stop)
        self.took["ask"] = time.monotonic() - begun - self.took["see"]

    def _once(self, task: _Task) -> None:
        begun = time.monotonic()
        try:
            task.run()
        except _NoSample:
            self.took[task.name] = math.inf  # it will not fit another time either
        else:
            self.took[task.name] = time.monotonic() - begun

    def _expected(self, task: _Task) -> float:
        seen, asked = task.guess
        return self.took.get(task.name, seen * self.took["see"] + asked * self.took["ask"])


def measure(
    model: VisionModel,
    frame: Frame,
    config: Config | None,
    count: Counter,
    seconds: float,
    load_s: float,
    stop: StopSignal,
) -> Bench:
    """Time the model for about so many seconds: one call may still run when they are over. Raises Stopped."""
    begun = time.monotonic()
    cameras = [camera for camera in config.cameras if camera.questions] if config else []
    timing = _Timing(model, frame, count(LONG_PROMPT), begun + seconds, stop)
    timing.run(_tasks(timing, cameras))
    needs = [_need(timing, camera) for camera in cameras]
    workers = len(config.model.each_worker()) if config else 1
    needed = _short(sum(need.looks_per_minute for need in needs))
    height, width = frame.rgb.shape[:2]
    return Bench(
        model=model.name,
        revision=model.revision,
        picture=(width, height),
        load_s=_short(load_s),
        took_s=_short(time.monotonic() - begun),
        see_ms=timing.figure("see", 1000),
        prefill_tokens_per_s=timing.figure("prefill"),
        prefill_tokens=timing.tokens,
        decode_tokens_per_s=timing.figure("decode"),
        rows=[Row(n, timing.figure(f"shared {n}"), timing.figure(f"apart {n}")) for n in COUNTS],
        workers=workers,
        cameras=needs,
        needed_looks_per_minute=needed,
        possible_looks_per_minute=_possible(needs, needed, workers),
        costliest=_costliest(needs),
    )


def _tasks(timing: _Timing, cameras: Sequence[CameraSpec]) -> list[_Task]:
    tasks = [_Task("decode", timing.decode, (1, 2)), _Task("prefill", timing.prefill, (1, 2))]
    for camera in {_kind(camera): camera for camera in cameras}.values():
        calls = (1, len(camera.all_questions()))
        tasks.insert(0, _Task(_kind(camera), lambda camera=camera: timing.look(camera), calls))  # type: ignore[misc]
    for count in COUNTS:
        asked = _questions(count)
        tasks.append(_Task(f"shared {count}", lambda asked=asked: timing.shared(asked), (1, count)))  # type: ignore[misc]
        tasks.append(_Task(f"apart {count}", lambda asked=asked: timing.apart(asked), (count, count)))  # type: ignore[misc]
    return tasks


def _kind(camera: CameraSpec) -> str:
    """The same for cameras that are asked the same: one is measured for all of them."""
    return "look " + " ".join(f"{question.name}:{question.prompt_rev}" for question in camera.all_questions())


def _need(timing: _Timing, camera: CameraSpec) -> Need:
    every = shortest_interval_s(camera)
    per_minute = 60.0 / every
    look = timing.figure(_kind(camera))
    busy = None
    if look.median is not None:
        asked = sum(
            min(1.0, every / (question.every_s or every)) * _whole_s(timing, camera, question)
            for question in camera.questions
        )
        busy = _short(per_minute * (median(timing.samples["see"]) + asked))
    return Need(camera.name, _short(per_minute), look, busy)


def _whole_s(timing: _Timing, camera: CameraSpec, question: QuestionSpec) -> float:
    """Of a question with its follow-ups."""
    own = median(timing.samples[f"{_kind(camera)} {question.name}"])
    return own + sum(_whole_s(timing, camera, follow_up) for follow_up in question.then)


def _possible(needs: Sequence[Need], needed: float, workers: int) -> float | None:
    busy = [need.busy_s_per_minute for need in needs if need.busy_s_per_minute]
    if not needs or len(busy) < len(needs):
        return None
    return _short(needed * 60 * workers / sum(busy))


def _costliest(needs: Sequence[Need]) -> str | None:
    known = [need for need in needs if need.busy_s_per_minute is not None]
    return max(known, key=lambda need: need.busy_s_per_minute or 0.0).camera if known else None


def _questions(count: int) -> list[QuestionSpec]:
    """The first so many of the eight."""
    return [_question(f"{prompt} {answer.instruction('en')}", answer, 16) for prompt, answer in ASKED[:count]]


def _question(prompt: str, answer: AnswerType, tokens: int) -> QuestionSpec:
    return QuestionSpec("bench", prompt, answer, generation=Generation(max_new_tokens=tokens))


def made_up_picture() -> Frame:
    """A picture of blocks, of the size that many cameras have."""
    import numpy as np

    width, height = PICTURE
    blocks = np.random.default_rng(0).integers(0, 256, (height // 80, width // 80, 3), dtype=np.uint8)
    rgb = np.ascontiguousarray(np.kron(blocks, np.ones((80, 80, 1), dtype=np.uint8)))
    return Frame(rgb, "", utc_now(), time.monotonic())


def word_counter(folder: Path) -> Counter:
    """Counts tokens with the folder's own tokenizer, if it has one as a single file."""

    def count(text: str) -> int | None:
        from tokenizers import Tokenizer

        if not (folder / "tokenizer.json").is_file():
            return None
        return len(Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text, add_special_tokens=False).ids)

    return count


def _short(number: float) -> float:
    """Four digits: the rest is chance."""
    return float(f"{number:.4g}")


# how it is shown


def as_json(made: Bench) -> str:
    return json.dumps(asdict(made), ensure_ascii=False, indent=2)


def show(made: Bench, console: Console) -> None:
    """Tables that fit 80 columns, and 40 with broken lines."""
    width, height = made.picture
    console.print(
        f"{made.model} ({made.revision}), picture {width}x{height}, loaded in {made.load_s:.1f} s", style="bold"
    )
    for table in (_speeds(made), _sharing(made), *([_cameras(made)] if made.cameras else [])):
        console.print()
        console.print(table)
    console.print()
    if made.cameras:
        console.print(_verdict(made))
    console.print(f"medians of the samples in brackets; measured for {made.took_s:.0f} s", style="bright_black")


def _speeds(made: Bench) -> Table:
    table = _table(("", "left"), ("", "right"))
    of = f", of a prompt of {counted(made.prefill_tokens, 'token')}" if made.prefill_tokens else ""
    table.add_row("vision encode and prefix prefill", _said(made.see_ms, "ms"))
    table.add_row(f"prefill{of}", _said(made.prefill_tokens_per_s, "tokens/s"))
    table.add_row("decode, free text", _said(made.decode_tokens_per_s, "tokens/s"))
    return table


def _sharing(made: Bench) -> Table:
    table = _table(("questions a look", "right"), ("shared", "right"), ("apart", "right"), ("ratio", "right"))
    for row in made.rows:
        shared, apart = row.shared_s.median, row.apart_s.median
        ratio = f"{shared / apart:.2f}" if shared and apart else ""
        table.add_row(str(row.questions), _said(row.shared_s, "s"), _said(row.apart_s, "s"), ratio)
    return table


def _cameras(made: Bench) -> Table:
    table = _table(("camera", "left"), ("looks/min", "right"), ("a look", "right"), ("of the model's time", "right"))
    for need in made.cameras:
        busy = "" if need.busy_s_per_minute is None else f"{100 * need.busy_s_per_minute / 60 / made.workers:.1f} %"
        table.add_row(need.camera, _number(need.looks_per_minute), _said(need.look_s, "s"), busy)
    return table


def _verdict(made: Bench) -> str:
    needed, possible = made.needed_looks_per_minute, made.possible_looks_per_minute
    if possible is None:
        unknown = "not every camera's look was measured (--seconds gives more time)"
        return f"The cameras need {_number(needed)} looks a minute; {unknown}."
    enough = "" if needed <= possible else " That is too much: looks will be skipped."
    workers = f" with {made.workers} workers" if made.workers > 1 else ""
    return (
        f"The cameras need {_number(needed)} looks a minute; this box{workers} can give {_number(possible)} of them."
        f"{enough} {made.costliest} costs most."
    )


def _table(*columns: tuple[str, str]) -> Table:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), show_header=any(heading for heading, _ in columns))
    for heading, side in columns:
        table.add_column(heading, justify=side)  # type: ignore[arg-type]  # left or right
    return table


def _said(figure: Figure, unit: str) -> str:
    return "no sample" if figure.median is None else f"{_number(figure.median)} {unit} ({figure.samples})"


def _number(value: float) -> str:
    """Three digits, and all of a large one's."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
