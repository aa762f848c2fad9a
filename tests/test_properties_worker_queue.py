"""Looks and requests in threads of their own, in any order: each is served once, in its turn, or told why not."""

from __future__ import annotations

import itertools
import math
import threading
import time
from queue import SimpleQueue

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from support.broker import until
from support.fakes import FakeModel
from support.properties import examples

from edged.core.errors import Stopped
from edged.core.interfaces import VisionModel
from edged.core.requests import MOST_WAITING
from edged.service.worker_queue import FrameTooOld, ModelChanged, NoTurn, WorkerQueue

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]  # with --long
WITHIN_S = 60.0
MOST_WORKERS = 2
CERTAIN = MOST_WAITING - MOST_WORKERS  # a look's end and the next one's begin may be counted in either order
COMMANDS = ["return", "return", "return", "raise", "too_old", "give_way", "give_way", "nearly_done"]


class Broken(Exception):
    """What a look raises when it is told to."""


class Look:
    """A look, or a request, in a thread of its own. While a worker serves it, it does what it is told."""

    def __init__(self, calls: Calls, number: int, urgent: bool, until_s: float) -> None:
        self.number = number
        self.urgent = urgent
        self.until_s = until_s
        self.asked = 0  # how often a worker took it
        self.too_old = 0  # and how often its frame was too old then
        self.has_answered = self.has_left = False
        self.requests_before = 0  # in a row, when a worker took it
        self.interruptions = 0  # since it gave way
        self.outcome: str | None = None
        self.giving_way = False
        self.ending = False
        self.told = 0
        self.obeyed = 0
        self.thread = threading.Thread(target=self._run, daemon=True)
        self._calls = calls
        self._commands: SimpleQueue[str] = SimpleQueue()
        calls.joined(self)
        self.ticket = calls.queue.join(urgent, until_s)

    @property
    def was_near(self) -> bool:
        """Its turn has come near: it has its group."""
        return self.ticket.group is not None

    def tell(self, command: str) -> None:
        self.told += 1
        self._commands.put(command)

    def _run(self) -> None:
        try:
            self._wait_and_answer()
        finally:
            self._calls.left(self)

    def _wait_and_answer(self) -> None:
        try:
            with self.ticket:
                self.ticket.wait_near()
                self.outcome = self._answer()
        except Broken:
            self.outcome = "broken"
        except (Stopped, ModelChanged, NoTurn) as error:
            self.outcome = type(error).__name__
        except BaseException as error:
            self._calls.errors.append(f"look {self.number}: {error!r}")
            raise

    def _answer(self) -> str:
        while True:
            try:
                answer: str = self.ticket.run(self._ask)
                return answer
            except FrameTooOld:
                self.obeyed += 1  # and goes on with another frame

    def _ask(self, model: VisionModel) -> str:
        assert isinstance(model, FakeModel)
        self._calls.begin(model, self)
        try:
            return self._obey()
        finally:
            self._calls.end(model, self)

    def _obey(self) -> str:
        while True:
            command = self._commands.get(timeout=10 * WITHIN_S)
            self.giving_way = command == "give_way"
            self.obeyed += command != "too_old"  # which has happened once the look is back in the queue
            match command:
                case "return":
                    self.ending = True
                    return f"answered {self.number}"
                case "raise":
                    self.ending = True
                    raise Broken
                case "too_old":
                    self.too_old += 1
                    raise FrameTooOld
                case "give_way":
                    self.interruptions = 0
                    self.ticket.give_way()
                    self.ticket.answered()  # from now on it gives way, also if it was put back
                    self._calls.answered(self)
                    self.giving_way = False
                case "nearly_done":
                    self.ticket.nearly_done()
            if self.ticket.stop.is_set():
                raise Stopped


class Calls:
    """The calls of each model: one at a time and in one thread, but for a request that interrupts a look."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.queue = WorkerQueue(self.stop)
        self.errors: list[str] = []
        self.order: list[Look] = []  # as their calls began
        self.running: dict[FakeModel, list[Look]] = {}  # each interrupts the one before
        self.dismissed: set[FakeModel] = set()
        self._threads: dict[FakeModel, int] = {}
        self._lock = threading.Lock()
        self.requests_in_row = 0  # since a look of the schedule had an answer, or left
        self.passed = 0  # of those, the requests that began while looks of the schedule waited
        self._schedule: set[Look] = set()  # its looks that wait
        self._unanswered: set[Look] = set()  # its looks that were begun and have no answer yet

    def joined(self, look: Look) -> None:
        with self._lock:
            if not look.urgent:
                self._schedule.add(look)

    def answered(self, look: Look) -> None:
        """The first answer ends its turn; meanwhile, another worker may serve any number of requests."""
        with self._lock:
            self._had_turn(look)
            look.has_answered = True

    def _had_turn(self, look: Look) -> None:
        if not (look.urgent or look.has_answered):
            self.requests_in_row = self.passed = 0
        self._unanswered.discard(look)

    def left(self, look: Look) -> None:
        """Without having been served, if it still waits: then it needed no model, or there was none."""
        with self._lock:
            if look.was_near:
                self._had_turn(look)
            if look in self._schedule:
                self._schedule.remove(look)
                self.passed = 0
            look.has_left = True

    def begin(self, model: FakeModel, look: Look) -> None:
        with self._lock:
            look.asked += 1
            self.order.append(look)
            below = self.running.setdefault(model, [])
            if below and not (look.urgent and below[-1].giving_way and not below[-1].urgent):
                self.errors.append(f"look {look.number} while {below[-1].number} is served")
            if model.disposed or model in self.dismissed:
                self.errors.append(f"look {look.number} is served by a model that was dismissed")
            if self._threads.setdefault(model, threading.get_ident()) != threading.get_ident():
                self.errors.append("a model is called in two threads")
            if below:
                below[-1].interruptions += 1
            else:
                self.requests_in_row += look.urgent
                self.passed = self.passed + 1 if look.urgent and self._schedule and not self._unanswered else 0
            look.requests_before = self.requests_in_row
            self._schedule.discard(look)
            if not look.urgent and not look.has_answered:
                self._unanswered.add(look)
            below.append(look)

    def end(self, model: FakeModel, look: Look) -> None:
        with self._lock:
            if self.running[model].pop() is not look:
                self.errors.append(f"look {look.number} ended before the one that interrupted it")

    def served(self) -> list[list[Look]]:
        with self._lock:
            return [list(looks) for looks in self.running.values() if looks]


class Queue(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.calls = Calls()
        self.looks: list[Look] = []
        self.numbers = itertools.count()
        self.models: list[FakeModel] = []  # those that serve
        self.all_models: list[FakeModel] = []
        self.checked = 0  # calls whose turn was checked

    @initialize(workers=st.integers(1, MOST_WORKERS))
    def begin(self, workers: int) -> None:
        self._serve(workers)

    def _serve(self, workers: int) -> None:
        models = [FakeModel() for _ in range(workers)]
        group = self.calls.queue.load([lambda model=model: model for model in models])  # type: ignore[misc]
        until(group.ready, WITHIN_S)
        self.calls.queue.serve(group)
        self.models = models
        self.all_models += models

    # what happens

    @rule(urgent=st.booleans(), hurried=st.sampled_from([False, False, False, True]))
    def join(self, urgent: bool, hurried: bool) -> None:
        """A hurried one has no time to wait."""
        look = Look(self.calls, next(self.numbers), urgent, time.monotonic() if hurried else math.inf)
        self.looks.append(look)
        look.thread.start()
        self._calm()

    @rule(urgent=st.lists(st.booleans(), min_size=2, max_size=4))
    def several_join(self, urgent: list[bool]) -> None:
        for each in urgent:
            self.join(each, hurried=False)

    @rule(command=st.sampled_from(COMMANDS), index=st.integers(0, 3))
    def tell(self, command: str, index: int) -> None:
        served = sorted(self.calls.served(), key=lambda looks: looks[-1].number)
        if not served:
            return
        *interrupted, look = served[index % len(served)]
        frames = self.calls.queue.with_frame()
        first = next((each for each in self._alive() if each.urgent and each.ticket in frames), None)
        asked = first.asked if first else 0
        put_back = any(ticket.was_put_back for ticket in frames)  # these are before the others
        gives_way = command == "give_way" and not self._keeps_its_turn(look) and self._may_be_next()
        goes_on = any(each.interruptions >= MOST_WAITING for each in interrupted)
        look.tell(command)
        self._calm()
        ends = command in ("return", "raise") and self._may_be_next() and not goes_on
        if first and not put_back and (ends or gives_way):
            assert first.asked > asked or first.outcome == "NoTurn", f"{first.number} waits for look {look.number}"

    def _may_be_next(self) -> bool:
        """True if a request is; else a look of the schedule has its turn."""
        return self.calls.requests_in_row < CERTAIN

    def _keeps_its_turn(self, look: Look) -> bool:
        """True if it may not be interrupted: also if another worker's look had an answer since, which ends the row."""
        has_turn = look.requests_before >= CERTAIN and not look.has_answered
        return look.urgent or look.ticket.was_put_back or has_turn

    @rule(workers=st.integers(1, MOST_WORKERS))
    def replace_the_model(self, workers: int) -> None:
        before, served = self.models, itertools.chain(*self.calls.served())
        self._serve(workers)
        self.calls.dismissed |= set(before)
        for look in served:
            look.tell("stop")
        self._calm()

    def teardown(self) -> None:
        alive = self._alive()
        self.calls.queue.halt()
        for look in self.looks:
            look.tell("stop")
        for look in self.looks:
            look.thread.join(WITHIN_S)
            assert not look.thread.is_alive(), f"look {look.number} does not end"
        until(self.calls.queue.gone, WITHIN_S)
        assert {look.outcome for look in alive} <= {"Stopped", "NoTurn"}
        assert [model.disposed for model in self.all_models] == [1] * len(self.all_models)
        assert self.calls.queue.waiting() == 0
        self.outcomes_are_true()

    # nothing moves until the next command

    def _alive(self) -> list[Look]:
        return [look for look in self.looks if look.outcome is None]

    def _calm(self) -> None:
        until(self._is_calm, WITHIN_S)
        self._turns_were_fair()

    def _is_calm(self) -> bool:
        """No model is idle while looks wait, and everything that was told has happened."""
        if any((look.ending or look.outcome) and not look.has_left for look in self.looks):
            return False
        served, alive = self.calls.served(), self._alive()  # after those that ended have left
        if any(look.obeyed < look.told for look in alive) or any(looks[-1].giving_way for looks in served):
            return False
        interrupted = sum(len(looks) - 1 for looks in served)
        if len(served) != min(len(self.models), len(alive) - interrupted):
            return False
        served_looks = set(itertools.chain(*served))
        return not any(self._moves(look) for look in alive if look not in served_looks)

    def _moves(self, look: Look) -> bool:
        """True if it waits for something else than its turn."""
        queue = self.calls.queue
        if look.until_s < math.inf:
            return True  # a hurried one waits for at most half a second
        return look.was_near and (look.ticket.group is not queue.serving() or look.ticket not in queue.with_frame())

    def _turns_were_fair(self) -> None:
        """Of requests, and of other looks, the oldest is served first. Two workers take two of them at once."""
        for look in self.calls.order[self.checked :]:
            self.checked += 1
            older = [
                each
                for each in self.looks[: look.number]
                if each.urgent == look.urgent and each.outcome is None and not each.asked
            ]
            assert len(older) < len(self.models), f"look {look.number} before {older[0].number}"
        assert self.calls.passed <= MOST_WAITING + 2 * MOST_WORKERS, "requests only"

    # what must hold at any moment

    @invariant()
    def calls_are_one_at_a_time(self) -> None:
        assert self.calls.errors == []

    @invariant()
    def outcomes_are_true(self) -> None:
        for look in self.looks:
            if look.outcome == "NoTurn":
                assert look.until_s < math.inf
                assert look.asked == look.too_old  # it has no time for another frame
            if look.outcome in (f"answered {look.number}", "broken"):
                assert look.asked
            assert look.outcome in (
                None, "Stopped", "ModelChanged", "NoTurn", "broken", f"answered {look.number}",
            )  # fmt: skip


def test_every_look_is_served_once_and_in_its_turn_or_told_why_not() -> None:
    run_state_machine_as_test(Queue, settings=examples(60))
