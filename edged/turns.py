"""Whose look is next, and on which model: ask-now first, then the oldest. The one place where somebody waits in a line.

A worker is one model and the one thread that calls it. A look is told when its turn is near, takes its frame in its own
thread meanwhile, and hands the worker what is to be asked; so the model does not wait for a decode, and a frame does
not grow old in a line.
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

from edged.core import Stopped, VisionModel

log = logging.getLogger("edged.turns")

T = TypeVar("T")
Load = Callable[[], VisionModel]

POLL_S = 0.5  # no wait is longer without a look at the stop signal
SLOW_FRAME_S = 1.0  # a look that takes longer for its frame no longer keeps others from coming near
LEAVE_S = 30.0  # how long a stopping edged waits for a model call to end


@dataclass(slots=True, eq=False)
class Worker:
    """One model and its thread. `expected_by` is when the call that runs now should have ended, None while idle."""

    load: Load
    model: VisionModel | None = None
    error: BaseException | None = None
    thread: Thread | None = None
    busy: bool = False
    finishing: bool = False
    expected_by: float | None = None


@dataclass(slots=True, eq=False)
class Turn(Generic[T]):
    """A look's right to a model. Use it as a context: leaving it gives the right back."""

    turns: Turns
    order: tuple[bool, int]
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
        self.turns._leave(self)

    def wait_near(self) -> None:
        """Return when this look is one of the next. Raises Stopped."""
        self.turns._wait_near(self)

    def run(self, ask: Callable[[VisionModel], T]) -> T:
        """Have a worker's thread call `ask` with its model; what that returned or raised. Raises Stopped."""
        return self.turns._run(self, ask)

    def expect(self, seconds: float) -> None:
        """Say how long the model call that begins now may take. From within `ask` only."""
        if self.worker:
            self.worker.expected_by = time.monotonic() + seconds

    def nearly_done(self) -> None:
        """Let the next look take its frame: this one is at its last question. From within `ask` only."""
        self.turns._nearly_done(self)


class Turns:
    """The line of looks and the workers that serve it."""

    def __init__(self, stop: Event) -> None:
        self._stop = stop
        self._changed = Condition()
        self._workers: list[Worker] = []
        self._line: list[Turn[Any]] = []
        self._near: list[Turn[Any]] = []
        self._numbers = itertools.count()
        self._closing = False

    def open(self, loads: Sequence[Load]) -> None:
        """Start a worker for each of these; each loads its model in its own thread."""
        for number, load in enumerate(loads):
            worker = Worker(load)
            worker.thread = Thread(target=self._work, args=(worker,), name=f"model-{number}", daemon=True)
            self._workers.append(worker)
            worker.thread.start()

    def ready(self) -> bool:
        """Whether all models are loaded. Raises what made one of them fail."""
        for worker in self._workers:
            if worker.error:
                raise worker.error
        return all(worker.model for worker in self._workers)

    def models(self) -> list[VisionModel]:
        return [worker.model for worker in self._workers if worker.model]

    def overdue_s(self) -> float:
        """By how much the slowest model call has passed its time; 0 when none has."""
        now = time.monotonic()
        late = [now - worker.expected_by for worker in self._workers if worker.expected_by]
        return max([0.0, *late])

    def waiting(self) -> int:
        return len(self._line) + len(self._near)

    def join(self, urgent: bool = False) -> Turn[Any]:
        """A place in the line, at once."""
        turn: Turn[Any] = Turn(self, (not urgent, next(self._numbers)))
        with self._changed:
            self._line.append(turn)
            self._line.sort(key=lambda waiting: waiting.order)
            self._changed.notify_all()
        return turn

    def wake(self) -> None:
        """Have everybody who waits look at the stop signal."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> bool:
        """End the workers; each disposes its model when its call has ended. Whether all did so in time."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        end = time.monotonic() + LEAVE_S
        for worker in self._workers:
            if worker.thread:
                worker.thread.join(max(0.0, end - time.monotonic()))
        left = [worker for worker in self._workers if worker.thread and worker.thread.is_alive()]
        if left:
            log.error("model: a call has not ended for %.0f s; leaving without it", LEAVE_S)
        self._workers = left
        self._closing = False
        return not left

    # from the look's thread

    def _wait_near(self, turn: Turn[Any]) -> None:
        with self._changed:
            while not (self._line and self._line[0] is turn and self._room()):
                if self._stop.is_set():
                    raise Stopped
                self._changed.wait(POLL_S)
            self._line.remove(turn)
            self._near.append(turn)
            turn.near_since = time.monotonic()
            self._changed.notify_all()

    def _room(self) -> bool:
        free = sum(1 for worker in self._workers if worker.model and (not worker.busy or worker.finishing))
        slow = time.monotonic() - SLOW_FRAME_S
        coming = sum(1 for turn in self._near if turn.ask or (turn.near_since or 0.0) > slow)
        return coming < free

    def _run(self, turn: Turn[T], ask: Callable[[VisionModel], T]) -> T:
        with self._changed:
            turn.ask = ask
            self._changed.notify_all()
        give_up = None
        while not turn.done.wait(POLL_S):
            if self._stop.is_set():
                give_up = give_up or time.monotonic() + LEAVE_S
                if turn.worker is None or time.monotonic() > give_up:
                    raise Stopped
        if turn.error:
            raise turn.error
        return turn.outcome  # type: ignore[return-value]  # done without an error: it has its outcome

    def _leave(self, turn: Turn[Any]) -> None:
        with self._changed:
            for line in (self._line, self._near):
                if turn in line:
                    line.remove(turn)
            self._changed.notify_all()

    def _nearly_done(self, turn: Turn[Any]) -> None:
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
            while not self._closing:
                ready = sorted((turn for turn in self._near if turn.ask), key=lambda turn: turn.order)
                if ready and not self._stop.is_set():
                    turn = ready[0]
                    self._near.remove(turn)
                    turn.worker, worker.busy, worker.finishing = worker, True, False
                    return turn
                self._changed.wait(POLL_S)
        return None

    def _serve(self, worker: Worker, model: VisionModel, turn: Turn[Any]) -> None:
        assert turn.ask
        try:
            turn.outcome = turn.ask(model)
        except BaseException as error:  # it is the look's, and raised there
            turn.error = error
        with self._changed:
            worker.busy, worker.finishing, worker.expected_by = False, False, None
            turn.done.set()
            self._changed.notify_all()
