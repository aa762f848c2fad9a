"""A week of answers every 10 s to 8 questions: time and size of `/api/history`, and what a look notices.

The slowdown is that of a thread that computes in Python while requests are answered, as a look does between its calls
of the model. Exits 1 above a target.

Usage: python tests/bench/bench_page_history.py
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
import httpx
from support.history import Row, add, answered, database, refused
from support.making import question
from support.paging import FakeBox
from support.results.figures import Figure
from support.results.record import Recording
from support.world import CONFIG, camera

from edged.core.answer_types import Number, YesNo
from edged.core.specs import QuestionSpec
from edged.page.readings import Readings
from edged.store.history import past_answers

HOUR_S, DAY_S, WEEK_S = 3600, 86_400, 604_800
EVERY_S = 10
ANSWERS = WEEK_S // EVERY_S
QUESTIONS = 8
CPU_S = {HOUR_S: 0.2, DAY_S: 0.6, WEEK_S: 2.5}
BYTES = 200_000
CLIENT = httpx.Client(timeout=60)
SLOWDOWN = 2.5  # two threads that compute share one interpreter


def main() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "edged.db"
        connection = database(path)
        now = time.time()
        for first in range(0, ANSWERS, 1000):
            add(connection, rows(now - WEEK_S, first, min(first + 1000, ANSWERS)))
        connection.close()
        print(f"{ANSWERS} answers to each of {QUESTIONS} questions, {path.stat().st_size / 1e6:.0f} MB")
        config = replace(CONFIG, cameras=(camera("dock", *questions()),))
        with FakeBox(config, readings=Readings(past_answers=partial(past_answers, path))) as box:
            figures = [one for name in ("q0", "q1") for period in CPU_S for one in request(box, name, period)]
            return [*figures, slowdown(box)]


def questions() -> list[QuestionSpec]:
    """The even ones have numbers that change at each answer, the odd ones a boolean that seldom changes."""
    kinds = (Number(True, 0, 40), YesNo())
    return [question("?", kinds[number % 2], f"q{number}") for number in range(QUESTIONS)]


def rows(begin: float, first: int, end: int) -> Iterator[Row]:
    for number in range(first, end):
        ts = begin + number * EVERY_S
        for index in range(QUESTIONS):
            yield row(ts, number, index)


def row(ts: float, number: int, index: int) -> Row:
    kind, name = ("yes_no", "integer")[index % 2 == 0], f"q{index}"
    if number % 500 < 10:
        return refused(ts, "camera_down", kind, question=name)
    return answered(ts, number * 7 % 40 if index % 2 == 0 else number // 2000 % 2 == 0, kind, question=name)


def request(box: FakeBox, name: str, period_s: int) -> list[Figure]:
    """The processor time is that of this process, which is the server too."""
    seconds, cpu_s, answer = measured(lambda: fetch(box, name, period_s))
    size, count = len(answer.content), len(answer.json()["runs"])
    total = sum(answer.json()["totals"].values())
    print(
        f"{name}, {period_s // HOUR_S} h: {total} answers, {count} runs, {size / 1e3:.1f} kB, {seconds:.2f} s, "
        f"{cpu_s:.2f} s of CPU (target: {CPU_S[period_s]} s of CPU, {BYTES / 1e3:.0f} kB)"
    )
    hours, kind = period_s // HOUR_S, "numbers" if name == "q0" else "yes or no"
    of = f"of the history of {hours} h, {kind}"
    return [
        Figure(f"cpu-{name}-{hours}h", f"CPU {of}", cpu_s, "s", at_most=CPU_S[period_s]),
        Figure(f"size-{name}-{hours}h", f"size {of}", size / 1e3, "kB", at_most=BYTES / 1e3),
    ]


def slowdown(box: FakeBox) -> Figure:
    """How much longer 10 ms of computing take during a week's request; the median of all while it lasts."""
    alone = statistics.median(timed(compute) for _ in range(100))
    reading = threading.Thread(target=fetch, args=(box, "q0", WEEK_S))
    reading.start()
    beside = []
    while reading.is_alive():
        beside.append(timed(compute))
    ratio = statistics.median(beside) / alone
    print(
        f"computing of {alone * 1e3:.0f} ms beside a request: {ratio:.2f} times as long at the median, "
        f"{max(beside) / alone:.1f} times at most (target: median {SLOWDOWN})"
    )
    what = "computing beside a request for the history of a week"
    return Figure("slowdown", what, ratio, "times", at_most=SLOWDOWN, against="computing alone")


def compute() -> int:
    return sum(number * number for number in range(100_000))


def fetch(box: FakeBox, name: str, period_s: int) -> httpx.Response:
    query = f"camera=dock&question={name}&since={period_s}"
    return CLIENT.get(f"{box.url}/api/history?{query}").raise_for_status()


def measured(action: Callable[[], httpx.Response]) -> tuple[float, float, httpx.Response]:
    begun, cpu = time.perf_counter(), time.process_time()
    answer = action()
    return time.perf_counter() - begun, time.process_time() - cpu, answer


def timed(action: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


if __name__ == "__main__":
    recording = Recording(__file__, __doc__)
    sys.exit(recording.finish(main()))
