"""Whose look is next, and on which model: requests first, then the oldest. The one place where looks wait in line.

A worker is one model and the one thread that calls it; the workers of one `model:` section form a group, which loads,
serves and leaves together. A look is told when its turn is near, takes its frame in its own thread meanwhile, and hands
the worker what is to be asked: the model does not wait for a decode, and a frame does not grow old in a queue.
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

log = logging.getLogger("edged.queue")

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
    group: WorkerGroup
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
class WorkerGroup:
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
class Ticket(Generic[T]):
    """A look's right to a model. Use it as a context: leaving it gives the right back and forgets the look."""

    queue: WorkerQueue
    order: tuple[bool, int]
    group: WorkerGroup | None = None  # that served when this look came near
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
        self.queue.leave(self)

    def wait_near(self) -> None:
        """Return when this look is one of the next. Raises Stopped."""
        self.queue.wait_near(self)

    def run(self, ask: Callable[[VisionModel], T]) -> T:
        """Have a worker's thread call `ask` with its model; what that returned or raised.

        Raises Stopped when edged stops, ModelChanged when the model was replaced meanwhile.
        """
        return self.queue.run(self, ask)

    # from within `ask` only

    @property
    def stop(self) -> Event:
        """Set when this worker has to leave."""
        return self._worker.group.leaving

    @property
    def worker_name(self) -> str:
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
        self.queue.nearly_done(self)

    @property
    def _worker(self) -> Worker:
        assert self.worker, "only a look that is being served has a worker"
        return self.worker


class WorkerQueue:
    """The line of looks and the group that serves it."""

    def __init__(self, stop: Event) -> None:
        self._stop = stop
        self._changed = Condition()
        self._groups: list[WorkerGroup] = []  # every one whose threads have not ended
        self._serving: WorkerGroup | None = None
        self._line: list[Ticket[Any]] = []
        self._near: list[Ticket[Any]] = []
        self._numbers = itertools.count()

    # groups: from the main thread

    def load(self, loads: Sequence[Load]) -> WorkerGroup:
        """Start a worker for each of these; each loads its model in its own thread. None serves yet."""
        group = WorkerGroup()
        for number, load in enumerate(loads):
            worker = Worker(f"worker {number}", load, group)
            worker.thread = Thread(target=self._work, args=(worker,), name=f"model-{number}", daemon=True)
            group.workers.append(worker)
        with self._changed:
            self._groups.append(group)
        for worker in group.workers:
            assert worker.thread
            worker.thread.start()
        return group

    def serve(self, group: WorkerGroup) -> None:
        """Let this group serve from now on; the one before is told to leave."""
        with self._changed:
            before, self._serving = self._serving, group
            self._changed.notify_all()
        if before:
            self.dismiss(before)

    def dismiss(self, group: WorkerGroup) -> None:
        """Tell a group to leave: at the next token, for good, each model disposed once. Returns at once; see `gone`."""
        group.leaving.set()
        with self._changed:
            if self._serving is group:
                self._serving = None
            self._changed.notify_all()

    def halt(self) -> None:
        """edged stops: who waits gets Stopped, every group leaves."""
        self._stop.set()
        for group in list(self._groups):
            self.dismiss(group)

    def gone(self) -> bool:
        """Whether every group that was dismissed has left."""
        with self._changed:
            self._groups = [group for group in self._groups if not group.gone()]
            return not any(group.leaving.is_set() for group in self._groups)

    def serving(self) -> WorkerGroup | None:
        return self._serving

    def models(self) -> list[VisionModel]:
        """Of the group that serves."""
        group = self._serving
        return group.models() if group else []

    def overdue_s(self) -> float:
        """By how much the slowest model call has passed its time; 0 when none has."""
        now = time.monotonic()
        expected = [worker.expected_by for group in list(self._groups) for worker in group.workers]
        return max([0.0, *(now - by for by in expected if by)])

    def waiting(self) -> int:
        return len(self._line) + len(self._near)

    # from the look's thread

    def join(self, urgent: bool = False) -> Ticket[Any]:
        """A place in the line, at once."""
        ticket: Ticket[Any] = Ticket(self, (not urgent, next(self._numbers)))
        with self._changed:
            self._line.append(ticket)
            self._line.sort(key=lambda waiting: waiting.order)
            self._changed.notify_all()
        return ticket

    def wait_near(self, ticket: Ticket[Any]) -> None:
        with self._changed:
            while not (self._line and self._line[0] is ticket and self._room()):
                if self._stop.is_set():
                    raise Stopped
                self._changed.wait(POLL_S)
            self._line.remove(ticket)
            self._near.append(ticket)
            ticket.near_since, ticket.group = time.monotonic(), self._serving
            self._changed.notify_all()

    def _room(self) -> bool:
        if self._serving is None:
            return False
        free = sum(1 for worker in self._serving.workers if worker.model and (not worker.busy or worker.finishing))
        slow = time.monotonic() - SLOW_FRAME_S
        coming = sum(1 for ticket in self._near if ticket.ask or (ticket.near_since or 0.0) > slow)
        return coming < free

    def run(self, ticket: Ticket[T], ask: Callable[[VisionModel], T]) -> T:
        with self._changed:
            ticket.ask = ask
            self._changed.notify_all()
            while not ticket.done.is_set():
                if self._stop.is_set():
                    raise Stopped
                if ticket.worker is None and ticket.group is not self._serving:
                    raise ModelChanged
                self._changed.wait(POLL_S)
        if isinstance(ticket.error, Stopped) and not self._stop.is_set():
            raise ModelChanged from None
        if ticket.error:
            raise ticket.error
        return ticket.outcome  # type: ignore[return-value]  # done without an error: it has its outcome

    def leave(self, ticket: Ticket[Any]) -> None:
        with self._changed:
            for line in (self._line, self._near):
                if ticket in line:
                    line.remove(ticket)
            # What is asked holds the look, the look holds this ticket and its pixels: a cycle that only the collector,
            # which counts objects and not megabytes, would ever take apart.
            ticket.ask = ticket.outcome = ticket.error = None
            self._changed.notify_all()

    def nearly_done(self, ticket: Ticket[Any]) -> None:
        with self._changed:
            if ticket.worker:
                ticket.worker.finishing = True
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
            while ticket := self._next(worker):
                self._serve(worker, worker.model, ticket)
        finally:
            model, worker.model = worker.model, None
            model.dispose()

    def _next(self, worker: Worker) -> Ticket[Any] | None:
        with self._changed:
            while not worker.group.leaving.is_set():
                ready = [ticket for ticket in self._near if ticket.ask and ticket.group is worker.group]
                if ready:
                    ticket = min(ready, key=lambda ticket: ticket.order)
                    self._near.remove(ticket)
                    ticket.worker, worker.busy, worker.finishing = worker, True, False
                    return ticket
                self._changed.wait(POLL_S)
        return None

    def _serve(self, worker: Worker, model: VisionModel, ticket: Ticket[Any]) -> None:
        ask, outcome, failure = ticket.ask, None, None
        try:
            outcome = ask(model) if ask else None
        except BaseException as error:  # it is the look's, and raised there
            failure = error
        if worker.group.leaving.is_set():
            outcome, failure = None, Stopped()  # what a model that was replaced says is no longer wanted
        with self._changed:
            worker.busy, worker.finishing, worker.expected_by = False, False, None
            if ticket.ask:  # else the look did not wait for it
                ticket.outcome, ticket.error = outcome, failure
            ticket.done.set()
            self._changed.notify_all()
        del ask, failure  # its traceback holds this frame, and this frame would hold it
