"""Whose look is next, and on which model: requests first, then the oldest. The one place where looks wait in line.

A worker is one model and the one thread that calls it; the workers of one `model:` section form a crew, which loads,
serves and leaves together. A look is told when its turn is near, takes its frame in its own thread meanwhile, and hands
the worker what is to be asked; so the model does not wait for a decode, and a frame does not grow old in a line.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Condition, Event, Thread
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from edged.core.errors import Stopped
from edged.core.interfaces import VisionModel

log = logging.getLogger("edged.turns")

T = TypeVar("T")
Load = Callable[[], VisionModel]

POLL_S = 0.5  # no wait is longer without a look at the stop signal
SLOW_FRAME_S = 1.0  # a look that takes longer for its frame no longer keeps others from coming near
FIRST_ENCODE_S = 600.0  # the first one of a process may compile, page in weights, or run on a slow CPU
LEAST_ENCODE_S = 60.0
ENCODES = 10  # an encode that takes so many times the slowest one before it hangs


class ModelChanged(Exception):
    """The model was replaced before the look was done: look again. Not an error."""


@dataclass(slots=True, eq=False)
class Worker:
    """One model and its thread. `expected_by` is when the call that runs now should have ended, None while idle."""

    name: str
    load: Load
    crew: Crew
    model: VisionModel | None = None
    error: BaseException | None = None
    thread: Thread | None = None
    busy: bool = False
    finishing: bool = False
    expected_by: float | None = None
    encodes: int = 0
    slowest_encode_s: float | None = None  # without the first, as soon as there is a second

    def encoded(self, seconds: float) -> None:
        """An encode took so long."""
        self.encodes += 1
        settled = self.encodes > 2 and self.slowest_encode_s
        self.slowest_encode_s = max(seconds, self.slowest_encode_s or 0.0) if settled else seconds

    def encode_limit_s(self) -> float:
        """How long an encode may take before it counts as hung."""
        if self.slowest_encode_s is None:
            return FIRST_ENCODE_S
        return max(LEAST_ENCODE_S, ENCODES * self.slowest_encode_s)


@dataclass(slots=True, eq=False)
class Crew:
    """The workers that were loaded together. `leaving` is set when they are to leave, at the next token."""

    workers: list[Worker] = field(default_factory=list)
    leaving: Event = field(default_factory=Event)

    def ready(self) -> bool:
        """Whether all models are loaded. Raises what made one of them fail."""
        for worker in self.workers:
            if worker.error:
                raise worker.error
        return all(worker.model for worker in self.workers)

    def models(self) -> list[VisionModel]:
        return [model for worker in self.workers if (model := worker.model)]

    def gone(self) -> bool:
        """Whether every thread has ended, its model disposed."""
        return not any(worker.thread and worker.thread.is_alive() for worker in self.workers)


@dataclass(slots=True, eq=False)
class Turn(Generic[T]):
    """A look's right to a model. Use it as a context: leaving it gives the right back and forgets the look."""

    turns: Turns
    order: tuple[bool, int]
    crew: Crew | None = None  # that served when this look came near
    near_since: float | None = None
    ask: Callable[[VisionModel], T] | None = None
    worker: Worker | None = None
    outcome: T | None = None
    error: BaseException | None = None
    done: Event = field(default_factory=Event)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.turns.leave(self)

    def wait_near(self) -> None:
        """Return when this look is one of the next. Raises Stopped."""
        self.turns.wait_near(self)

    def run(self, ask: Callable[[VisionModel], T]) -> T:
        """Have a worker's thread call `ask` with its model; what that returned or raised.

        Raises Stopped when edged stops, ModelChanged when the model was replaced meanwhile.
        """
        return self.turns.run(self, ask)

    # from within `ask` only

    @property
    def stop(self) -> Event:
        """Set when this worker has to leave."""
        return self._worker.crew.leaving

    @property
    def place(self) -> str:
        """Which worker serves this look."""
        return self._worker.name

    def expect_encode(self) -> None:
        """An encode begins."""
        self.expect(0.0)

    def encoded(self, seconds: float) -> None:
        """It took so long; later ones are measured by it."""
        self._worker.encoded(seconds)

    def expect(self, seconds: float) -> None:
        """Say how long the model call that begins now may take, beside the prefill of its prompt."""
        self._worker.expected_by = time.monotonic() + seconds + self._worker.encode_limit_s()

    def nearly_done(self) -> None:
        """Let the next look take its frame: this one is at its last question."""
        self.turns.nearly_done(self)

    @property
    def _worker(self) -> Worker:
        assert self.worker, "only a look that is being served has a worker"
        return self.worker


class Turns:
    """The line of looks and the crew that serves it."""

    def __init__(self, stop: Event) -> None:
        self._stop = stop
        self._changed = Condition()
        self._crews: list[Crew] = []  # every one whose threads have not ended
        self._serving: Crew | None = None
        self._line: list[Turn[Any]] = []
        self._near: list[Turn[Any]] = []
        self._numbers = itertools.count()

    # crews: from the main thread

    def load(self, loads: Sequence[Load]) -> Crew:
        """Start a worker for each of these; each loads its model in its own thread. None serves yet."""
        crew = Crew()
        for number, load in enumerate(loads):
            worker = Worker(f"worker {number}", load, crew)
            worker.thread = Thread(target=self._work, args=(worker,), name=f"model-{number}", daemon=True)
            crew.workers.append(worker)
        with self._changed:
            self._crews.append(crew)
        for worker in crew.workers:
            assert worker.thread
            worker.thread.start()
        return crew

    def serve(self, crew: Crew) -> None:
        """Let this crew serve from now on; the one before is told to leave."""
        with self._changed:
            before, self._serving = self._serving, crew
            self._changed.notify_all()
        if before:
            self.dismiss(before)

    def dismiss(self, crew: Crew) -> None:
        """Tell a crew to leave: at the next token, for good, each model disposed once. Returns at once; see `gone`."""
        crew.leaving.set()
        with self._changed:
            if self._serving is crew:
                self._serving = None
            self._changed.notify_all()

    def halt(self) -> None:
        """edged stops: who waits gets Stopped, every crew leaves."""
        self._stop.set()
        for crew in list(self._crews):
            self.dismiss(crew)

    def gone(self) -> bool:
        """Whether every crew that was dismissed has left."""
        with self._changed:
            self._crews = [crew for crew in self._crews if not crew.gone()]
            return not any(crew.leaving.is_set() for crew in self._crews)

    def serving(self) -> Crew | None:
        return self._serving

    def models(self) -> list[VisionModel]:
        """Of the crew that serves."""
        crew = self._serving
        return crew.models() if crew else []

    def overdue_s(self) -> float:
        """By how much the slowest model call has passed its time; 0 when none has."""
        now = time.monotonic()
        expected = [worker.expected_by for crew in list(self._crews) for worker in crew.workers]
        return max([0.0, *(now - by for by in expected if by)])

    def waiting(self) -> int:
        return len(self._line) + len(self._near)

    # from the look's thread

    def join(self, urgent: bool = False) -> Turn[Any]:
        """A place in the line, at once."""
        turn: Turn[Any] = Turn(self, (not urgent, next(self._numbers)))
        with self._changed:
            self._line.append(turn)
            self._line.sort(key=lambda waiting: waiting.order)
            self._changed.notify_all()
        return turn

    def wait_near(self, turn: Turn[Any]) -> None:
        with self._changed:
            while not (self._line and self._line[0] is turn and self._room()):
                if self._stop.is_set():
                    raise Stopped
                self._changed.wait(POLL_S)
            self._line.remove(turn)
            self._near.append(turn)
            turn.near_since, turn.crew = time.monotonic(), self._serving
            self._changed.notify_all()

    def _room(self) -> bool:
        if self._serving is None:
            return False
        free = sum(1 for worker in self._serving.workers if worker.model and (not worker.busy or worker.finishing))
        slow = time.monotonic() - SLOW_FRAME_S
        coming = sum(1 for turn in self._near if turn.ask or (turn.near_since or 0.0) > slow)
        return coming < free

    def run(self, turn: Turn[T], ask: Callable[[VisionModel], T]) -> T:
        with self._changed:
            turn.ask = ask
            self._changed.notify_all()
            while not turn.done.is_set():
                if self._stop.is_set():
                    raise Stopped
                if turn.worker is None and turn.crew is not self._serving:
                    raise ModelChanged
                self._changed.wait(POLL_S)
        if isinstance(turn.error, Stopped) and not self._stop.is_set():
            raise ModelChanged from None
        if turn.error:
            raise turn.error
        return turn.outcome  # type: ignore[return-value]  # done without an error: it has its outcome

    def leave(self, turn: Turn[Any]) -> None:
        with self._changed:
            for line in (self._line, self._near):
                if turn in line:
                    line.remove(turn)
            # What is asked holds the look, the look holds this turn and its pixels: a cycle that only the collector,
            # which counts objects and not megabytes, would ever take apart.
            turn.ask = turn.outcome = turn.error = None
            self._changed.notify_all()

    def nearly_done(self, turn: Turn[Any]) -> None:
        with self._changed:
            if turn.worker:
                turn.worker.finishing = True
                self._changed.notify_all()

    # from the worker's thread

    def _work(self, worker: Worker) -> None:
        try:
            worker.model = worker.load()
        except BaseException as error:  # whoever waits for the model gets it
            worker.error = error
            return
        with self._changed:
            self._changed.notify_all()
        try:
            while turn := self._next(worker):
                self._serve(worker, worker.model, turn)
        finally:
            model, worker.model = worker.model, None
            model.dispose()

    def _next(self, worker: Worker) -> Turn[Any] | None:
        with self._changed:
            while not worker.crew.leaving.is_set():
                ready = [turn for turn in self._near if turn.ask and turn.crew is worker.crew]
                if ready:
                    turn = min(ready, key=lambda turn: turn.order)
                    self._near.remove(turn)
                    turn.worker, worker.busy, worker.finishing = worker, True, False
                    return turn
                self._changed.wait(POLL_S)
        return None

    def _serve(self, worker: Worker, model: VisionModel, turn: Turn[Any]) -> None:
        ask, outcome, failure = turn.ask, None, None
        try:
            outcome = ask(model) if ask else None
        except BaseException as error:  # it is the look's, and raised there
            failure = error
        if worker.crew.leaving.is_set():
            outcome, failure = None, Stopped()  # what a model that was replaced says is no longer wanted
        with self._changed:
            worker.busy, worker.finishing, worker.expected_by = False, False, None
            if turn.ask:  # else the look did not wait for it
                turn.outcome, turn.error = outcome, failure
            turn.done.set()
            self._changed.notify_all()
        del ask, failure  # its traceback holds this frame, and this frame would hold it
