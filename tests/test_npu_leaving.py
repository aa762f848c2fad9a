"""However edged ends, each part of the model is disposed once and none stays launched."""

from __future__ import annotations

import json
import random
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from support.broker import until
from support.making import frame, question
from support.npu import simulator
from support.npu.simulator import Board, Fault

from edged.core.answer_types import AnswerType, Json, Text
from edged.core.errors import ModelError, Stopped
from edged.core.interfaces import VisionModel
from edged.core.specs import ModelSpec, QuestionSpec
from edged.service.worker import WorkerGroup
from edged.service.worker_queue import Ticket, WorkerQueue
from edged.vlm.model import load

WORKERS = (
    (("text", "0:0"), ("vision", "1:0")),
    (("text", "0:1"), ("vision", "1:1")),
)


class Looker:
    """Looks again and again until it is stopped."""

    def __init__(self, turns: WorkerQueue, stop: threading.Event, seed: int, new_tokens: int = 8) -> None:
        self.turns, self.stop, self.seed, self.new_tokens = turns, stop, seed, new_tokens
        self.looks = self.refused = 0
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        asked = question("Tell all.", max_new_tokens=self.new_tokens)
        while not self.stop.is_set():
            try:
                with self.turns.join() as turn:
                    turn.wait_near()
                    turn.run(partial(self._look, asked, turn))
                self.looks += 1
            except Stopped:
                return
            except ModelError:
                self.refused += 1

    def _look(self, asked: QuestionSpec, turn: Ticket, model: VisionModel) -> None:
        model.encode(frame(self.seed))
        model.ask([], asked, turn.stop)


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [40, pytest.param(200, marks=pytest.mark.long)])
def test_starts_and_stops_at_random_moments_leave_none_launched(rounds: int, compiled_folder: Path):
    chance = random.Random(8)
    looks = failed = 0
    with simulator.installed() as board:
        for round_ in range(rounds):
            stop = threading.Event()
            turns = WorkerQueue(stop)
            board.faults = _trouble(chance)
            spec = ModelSpec(compiled_folder, cores=WORKERS[round_ % 2])
            group = turns.load([partial(load, spec)])
            turns.serve(group)
            looker = Looker(turns, stop, round_)
            # of a load and three looks: any step of them may be the last one
            steps = len(board.calls) + board.launches + chance.randrange(36)
            try:
                until(partial(_reached, steps, board, group, looker))
            except ModelError:
                failed += 1
            turns.halt()
            looker.thread.join(20)
            assert not looker.thread.is_alive()
            until(turns.gone)
            looks += looker.looks
            assert board.launched == [], f"round {round_}"
            assert board.launches == board.disposals
    assert board.launches > rounds
    assert failed > rounds // 40
    assert looks > rounds // 4


def _reached(steps: int, board: Board, group: WorkerGroup, looker: Looker) -> bool:
    """True once so many steps are done, or a look has failed. Raises ModelError if the load fails."""
    group.ready()
    return len(board.calls) + board.launches >= steps or looker.refused > 0


def _trouble(chance: random.Random) -> list[Fault]:
    """In every fourth round, one error somewhere."""
    if chance.random() > 0.25:
        return []
    call, part = chance.choice([("launch", "text"), ("create", "text"), ("infer", "text"), ("infer", "vision")])
    return [Fault(call, "Driver_FailedToPostInfer", part, chance.randrange(5) if call == "infer" else 0)]


def test_a_stop_ends_a_generation_within_one_model_step(compiled_folder: Path):
    step_s = 0.05
    with simulator.installed() as board:
        stop = threading.Event()
        turns = WorkerQueue(stop)
        group = turns.load([lambda: load(ModelSpec(compiled_folder))])
        turns.serve(group)
        until(group.ready)
        board.call_s = step_s
        looker = Looker(turns, stop, 1, new_tokens=200)
        until(lambda: len(board.text_calls) > 6)
        calls = len(board.text_calls)
        begun = time.monotonic()
        turns.halt()
        until(turns.gone)
        took = time.monotonic() - begun
        looker.thread.join(20)
        assert len(board.text_calls) <= calls + 1
        assert took < step_s + 0.7
        assert board.launched == []


# a JSON answer has forced tokens between those that the model chooses
SHOPS = Json(json.dumps({"type": "object", "properties": {name: {"type": "boolean"} for name in "abcdef"}}))


@pytest.mark.slow
@pytest.mark.parametrize("answer", [Text(), SHOPS], ids=lambda answer: answer.kind)
@pytest.mark.parametrize("steps", range(5))
def test_a_stop_during_a_model_step_ends_the_generation_after_exactly_that_step(
    compiled_folder: Path, answer: AnswerType, steps: int
):
    stop, others_stop = threading.Event(), threading.Event()
    with simulator.installed() as board:
        model = load(ModelSpec(compiled_folder))
        model.encode(frame(1))
        all_steps = model.ask([], question("Tell all.", answer, max_new_tokens=100), others_stop).steps
        assert all_steps >= steps
        board.calls.clear()
        board.after_text = lambda _: stop.set() if len(board.text_calls) == steps else None
        if steps == 0:
            stop.set()
        with pytest.raises(Stopped):
            model.ask([], question("Tell all.", answer, max_new_tokens=100), stop)
        assert len(board.text_calls) == steps
        model.dispose()


@pytest.mark.parametrize("second_fails", [False, True])
def test_two_workers_that_are_still_loading_are_both_disposed(compiled_folder: Path, second_fails: bool):
    with simulator.installed() as board:
        stop = threading.Event()
        turns = WorkerQueue(stop)
        specs = [ModelSpec(compiled_folder, cores=cores) for cores in WORKERS]
        if second_fails:
            board.faults.append(Fault("launch", "Acc_CoreAlreadyInUse", "text", after=1))
        group = turns.load([partial(load, spec) for spec in specs])
        if second_fails:
            with pytest.raises(ModelError, match="is in use by another program or another worker"):
                until(group.ready)
        turns.halt()
        until(turns.gone)
        assert board.launched == []
        assert board.launches == board.disposals == (3 if second_fails else 4)


@pytest.mark.slow
@pytest.mark.alone  # two workers need two cores
def test_two_workers_give_close_to_twice_the_answers(compiled_folder: Path):
    def seconds(workers: int) -> float:
        with simulator.installed() as board:
            stop = threading.Event()
            turns = WorkerQueue(stop)
            group = turns.load([partial(load, ModelSpec(compiled_folder, cores=cores)) for cores in WORKERS[:workers]])
            until(group.ready)
            turns.serve(group)
            board.vision_s, board.call_s = 0.1, 0.05
            done: list[str] = []

            def look(seed: int) -> None:
                with turns.join() as turn:
                    turn.wait_near()
                    asked = question("Tell all.", max_new_tokens=6)
                    done.append(turn.run(lambda model: (model.encode(frame(seed)), model.ask([], asked, stop))[1].text))

            begun = time.monotonic()
            threads = [threading.Thread(target=look, args=(seed,)) for seed in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            took = time.monotonic() - begun
            assert len(done) == 8
            turns.halt()
            until(turns.gone)
            return took

    one, two = seconds(1), seconds(2)
    print(f"two workers against one: {one / two:.2f} times the answers")
    assert one / two > 1.6
