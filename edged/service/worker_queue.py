"""Chooses the look that is served next, and its model: requests first, then the oldest look.

The next look is notified when its turn is near. It then takes its frame, in its own thread, and passes the questions to
the worker. So the model does not wait for a frame to be decoded, and frames do not age in a queue.

A request does not wait for the end of a look: a look of the schedule gives way between two questions, and goes on
afterwards. Requests without end do not stop the schedule: after MOST_WAITING of them, one of its looks has its turn,
which lasts until it has an answer. A look whose frame became too old while it waited is next, and a worker waits for
its new frame.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Condition, Event, Thread
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from edged.core.errors import Stopped
from edged.core.interfaces import VisionModel
from edged.core.requests import MOST_WAITING
from edged.service.worker import Load, Worker, WorkerGroup

T = TypeVar("T")

POLL_S = 0.5  # the longest wait between two checks of the stop signal
DELAYED_S = 0.2  # a look that has waited longer with its frame may take another
SLOW_FRAME_S = 1.0  # a look that takes longer for its frame no longer keeps the next one waiting
NEW_FRAME_S = 5.0  # the same for a look whose frame has become too old


class ModelChanged(Exception):
    """The model was replaced before the look was done, so it has to look again. Not an error."""


class FrameTooOld(Exception):
    """The frame became too old while the look waited for others, so it has to take another. Not an error.

    Raised in `ask`; the look is one of the next again.
    """


class NoTurn(Exception):
    """The look was not served in time."""


@dataclass(slots=True, eq=False)
class Ticket(Generic[T]):
    """A look's place in the queue, and then its use of a worker. Leaving the context gives both up.

    `order` sorts requests before the schedule, then by age. `group` is the one that served when the turn came near.
    Waiting ends at `until` (monotonic). `near_since` and `ready_at` (monotonic) are when its turn came near and when it
    had its frame. `slow`: its frame is expected to take long, so that no worker is kept idle for it. It `was_put_back`
    if its frame has become too old, until it has an answer. It `has_answered` from its first answer on.
    """

    queue: WorkerQueue
    order: tuple[bool, int]
    joined_at: float  # monotonic
    until: float = math.inf
    slow: bool = False
    ready_at: float = math.inf
    group: WorkerGroup | None = None
    near_since: float = -math.inf
    ask: Callable[[VisionModel], T] | None = None
    worker: Worker | None = None
    was_put_back: bool = False
    has_answered: bool = False
    outcome: T | None = None
    error: BaseException | None = None
    done: Event = field(default_factory=Event)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.queue.leave(self)

    @property
    def urgent(self) -> bool:
        """A request's."""
        return not self.order[0]

    @property
    def delayed(self) -> bool:
        """True if its frame has become older because others were served first."""
        return time.monotonic() - self.ready_at > DELAYED_S

    @property
    def comes_soon(self) -> bool:
        """True if its turn is near, and it has its frame or will soon."""
        limit_s = NEW_FRAME_S if self.was_put_back else SLOW_FRAME_S
        return bool(self.ask) or self.near_since > time.monotonic() - limit_s

    def wait_near(self) -> None:
        """Wait until this look is one of the next. Raises Stopped, NoTurn."""
        self.queue.wait_near(self)

    def run(self, ask: Callable[[VisionModel], T]) -> T:
        """Call `ask` with a model, in its worker's thread. Returns or raises what `ask` does.

        Raises Stopped if edged stops, ModelChanged if the model is replaced meanwhile, NoTurn if no worker takes it in
        time. Call it again after FrameTooOld.
        """
        return self.queue.run(self, ask)

    # only within `ask`

    @property
    def stop(self) -> Event:
        """Set when the worker's group is dismissed."""
        return self._worker.group.leaving

    def expect_encode(self, pixels: int) -> None:
        """Call before an encode of a picture of so many pixels."""
        self._worker.pixels = pixels
        self.expect(0.0)

    def encoded(self, seconds: float) -> None:
        """Call after an encode; the limit of later ones of about this size depends on how long it took."""
        self._worker.encoded(seconds)

    def expect(self, seconds: float) -> None:
        """Call before a model call that may take so long, in addition to the prefill of its prompt."""
        self._worker.expected_by = time.monotonic() + seconds + self._worker.encode_limit_s()

    def answered(self) -> None:
        """Call after each answer."""
        self.queue.answered(self)

    def give_way(self, most: int = MOST_WAITING) -> int:
        """Call before an encode and each question: serves the requests that are ready, and returns their number.

        Encode again if there were any. A look that was put back, or has its turn after many requests, gets its first
        answer before that.
        """
        return self.queue.give_way(self, most)

    def nearly_done(self) -> None:
        """Call before the last question: the next look takes its frame meanwhile."""
        self.queue.nearly_done(self)

    @property
    def _worker(self) -> Worker:
        assert self.worker, "only within ask"
        return self.worker


class WorkerQueue:
    """The looks that wait, and the group that serves them.

    A look is first in `_waiting`. Once its turn is near it is in `_near`, until a worker takes it.
    """

    def __init__(self, stop: Event) -> None:
        self._stop = stop
        self._changed = Condition()
        self._groups: list[WorkerGroup] = []  # those whose threads have not ended
        self._serving: WorkerGroup | None = None
        self._waiting: list[Ticket[Any]] = []
        self._near: list[Ticket[Any]] = []
        self._numbers = itertools.count()
        self._moved_at = 0.0  # monotonic: when a look's turn came, or a worker took or ended one
        self._requests_in_row = 0  # that were taken since a look of the schedule had an answer, or needed no model
        self._turn: Ticket[Any] | None = None  # the look that was taken after many requests, until it has an answer

    # groups: from the main thread

    def load(self, loads: Sequence[Load]) -> WorkerGroup:
        """Start a worker for each of `loads`, which it calls in its own thread. The group does not serve yet."""
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
        """Let this group serve. The one before is dismissed."""
        with self._changed:
            before, self._serving = self._serving, group
            self._moved_at = time.monotonic()
            self._changed.notify_all()
        if before:
            self.dismiss(before)

    def dismiss(self, group: WorkerGroup) -> None:
        """Let a group end at the next token and dispose of its models. Returns at once: see `gone`."""
        group.leaving.set()
        with self._changed:
            if self._serving is group:
                self._serving = None
            self._changed.notify_all()

    def halt(self) -> None:
        """Raise Stopped in every waiting look, and dismiss every group."""
        self._stop.set()
        for group in list(self._groups):
            self.dismiss(group)

    def gone(self) -> bool:
        """True if every dismissed group has disposed of its models."""
        with self._changed:
            self._groups = [group for group in self._groups if not group.gone()]
            return not any(group.leaving.is_set() for group in self._groups)

    def serving(self) -> WorkerGroup | None:
        return self._serving

    def models(self) -> list[VisionModel]:
        """The models of the group that serves."""
        group = self._serving
        return group.models() if group else []

    def overdue_s(self) -> float:
        """By how many seconds a model call exceeds its limit, at most; 0 if none does."""
        now = time.monotonic()
        return max([0.0, *(now - by for by in self._expected_by())])

    def due_in_s(self) -> float:
        """Within how many seconds every call of a dismissed group should have returned; 0 if there is none."""
        now = time.monotonic()
        return max([0.0, *(by - now for by in self._expected_by(dismissed=True))])

    def _expected_by(self, dismissed: bool = False) -> list[float]:
        groups = [group for group in list(self._groups) if group.leaving.is_set() or not dismissed]
        expected = [worker.expected_by for group in groups for worker in group.workers]
        return [by for by in expected if by is not None]

    def stalled_s(self) -> float:
        """For how long looks have waited although no worker is busy, a few seconds at most; 0 if none does."""
        with self._changed:
            serving = self._serving
            ready = [*self._waiting, *(ticket for ticket in self._near if ticket.ask)]
            if serving is None or not ready or any(worker.busy for worker in serving.workers):
                return 0.0
            return time.monotonic() - max(self._moved_at, min(ticket.joined_at for ticket in ready))

    def waiting(self) -> int:
        return len(self._waiting) + len(self._near)

    def with_frame(self) -> list[Ticket[Any]]:
        """The looks that have their frame and wait for a worker."""
        with self._changed:
            return [ticket for ticket in self._near if ticket.ask]

    # from the look's thread

    def join(self, urgent: bool = False, until: float = math.inf, slow: bool = False) -> Ticket[Any]:
        """A place in the queue, until `until` (monotonic). `urgent` looks come before all others. Returns at once."""
        ticket: Ticket[Any] = Ticket(self, (not urgent, next(self._numbers)), time.monotonic(), until, slow)
        with self._changed:
            self._waiting.append(ticket)
            self._waiting.sort(key=lambda each: each.order)
            self._changed.notify_all()
        return ticket

    def wait_near(self, ticket: Ticket[Any]) -> None:
        with self._changed:
            while self._first([each for each in self._waiting if self._has_room(each)]) is not ticket:
                self._wait(ticket)
            self._waiting.remove(ticket)
            self._near.append(ticket)
            self._moved_at = ticket.near_since = time.monotonic()
            ticket.group = self._serving
            self._changed.notify_all()

    def _has_room(self, ticket: Ticket[Any]) -> bool:
        """True if a worker is idle or at a last question, and no other look is about to use it.

        For a request also if a worker can be interrupted, and the schedule's looks are not in its way. Until they have
        their frames, slow looks are only in the way of each other. A look that was put back is in the way of all.
        """
        if self._serving is None:
            return False
        free = sum(1 for worker in self._serving.workers if worker.has_room(ticket.urgent))
        before = [each for each in self._near if each.urgent or each.was_put_back or not ticket.urgent]
        coming = [
            each
            for each in before
            if each.comes_soon and (each.ask or each.was_put_back or ticket.slow or not each.slow)
        ]
        return len(coming) < free

    def _first(self, tickets: Sequence[Ticket[Any]]) -> Ticket[Any] | None:
        """The one whose turn is next. With the lock held."""
        overdue = self._requests_in_row >= MOST_WAITING and self._turn is None
        return min(
            tickets,
            key=lambda ticket: (not ticket.was_put_back, overdue and ticket.urgent, ticket.order),
            default=None,
        )

    def _wait(self, ticket: Ticket[Any]) -> None:
        """Wait for a change. With the lock held. Raises Stopped, NoTurn."""
        if self._stop.is_set():
            raise Stopped
        left_s = POLL_S if ticket.worker else ticket.until - time.monotonic()
        if left_s <= 0:
            raise NoTurn
        self._changed.wait(min(POLL_S, left_s))

    def run(self, ticket: Ticket[T], ask: Callable[[VisionModel], T]) -> T:
        with self._changed:
            ticket.ask, ticket.error, ticket.ready_at = ask, None, time.monotonic()
            ticket.done.clear()
            self._changed.notify_all()
            try:
                self._wait_until_done(ticket)
            except BaseException:
                ticket.ask = None  # before the lock is released: no worker takes it any more
                raise
        if isinstance(ticket.error, Stopped) and ticket.stop.is_set() and not self._stop.is_set():
            raise ModelChanged from None
        if ticket.error:
            raise ticket.error
        return ticket.outcome  # type: ignore[return-value]  # done without an error: it has its outcome

    def _wait_until_done(self, ticket: Ticket[Any]) -> None:
        """Until a worker has served it. With the lock held. Raises Stopped, NoTurn, ModelChanged."""
        while not ticket.done.is_set():
            if ticket.worker is None and ticket.group is not self._serving and not self._stop.is_set():
                raise ModelChanged
            self._wait(ticket)

    def leave(self, ticket: Ticket[Any]) -> None:
        with self._changed:
            if ticket not in self._waiting:
                self._had_turn(ticket)
            for tickets in (self._waiting, self._near):
                if ticket in tickets:
                    tickets.remove(ticket)
            # A cycle: `ask` refers to the look, which refers to this ticket and to the frame. Only the garbage
            # collector would free it, which runs by the number of objects and not by their size.
            ticket.ask = ticket.outcome = ticket.error = None
            self._changed.notify_all()

    def answered(self, ticket: Ticket[Any]) -> None:
        with self._changed:
            ticket.was_put_back = False
            self._had_turn(ticket)
            ticket.has_answered = True

    def _had_turn(self, ticket: Ticket[Any]) -> None:
        """This look has an answer, or needed no model. Its later answers do not count. With the lock held."""
        if not (ticket.urgent or ticket.has_answered):
            self._requests_in_row = 0
        if self._turn is ticket:
            self._turn = None

    def nearly_done(self, ticket: Ticket[Any]) -> None:
        with self._changed:
            if ticket.worker:
                ticket.worker.finishing = True
                self._changed.notify_all()

    # from the worker's thread

    def _work(self, worker: Worker) -> None:
        try:
            worker.model = worker.load()
        except BaseException as error:  # raised by `ready`
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
                if ticket := self._take(worker):
                    return ticket
                self._changed.wait(POLL_S)
        return None

    def _take(self, worker: Worker, urgent: bool = False) -> Ticket[Any] | None:
        """The next look that has its frame; `urgent`: the next request, to interrupt a look. With the lock held."""
        if not urgent and self._is_kept(worker):
            return None
        ready = [ticket for ticket in self._near if ticket.ask and ticket.group is worker.group]
        ticket = self._first([each for each in ready if each.urgent or not urgent])
        if ticket is None:
            return None
        self._near.remove(ticket)
        self._moved_at = time.monotonic()
        if not ticket.urgent and self._requests_in_row >= MOST_WAITING:
            self._turn = self._turn or ticket
        if ticket.urgent and not urgent:
            self._requests_in_row += 1
        ticket.worker, worker.busy, worker.finishing, worker.urgent = worker, True, False, ticket.urgent
        return ticket

    def _is_kept(self, worker: Worker) -> bool:
        """True if as many looks that were put back take their new frames as workers are idle. With the lock held."""
        back = [each for each in self._near if each.was_put_back and not each.ask and each.group is worker.group]
        coming = sum(1 for each in back if each.comes_soon)
        idle = sum(1 for other in worker.group.workers if other.model and not other.busy)
        return 0 < idle <= coming

    def give_way(self, ticket: Ticket[Any], most: int) -> int:
        """Serve the requests that are ready, while the look of `ticket` is interrupted. Returns their number."""
        worker, served = ticket.worker, 0
        if worker is None or worker.model is None or ticket.urgent or ticket.was_put_back or ticket is self._turn:
            return 0
        finishing = worker.finishing
        while served < most and (request := self._take_request(worker)):
            self._serve(worker, worker.model, request)
            served += 1
        if served:
            with self._changed:
                worker.busy, worker.finishing, worker.interrupted = True, finishing, False
        return served

    def _take_request(self, worker: Worker) -> Ticket[Any] | None:
        """The next request. Waits for one that is taking its frame, as an idle worker would."""
        give_up = time.monotonic() + SLOW_FRAME_S
        with self._changed:
            while not worker.group.leaving.is_set():
                if request := self._take(worker, urgent=True):
                    worker.interrupted = True
                    return request
                left_s = give_up - time.monotonic()
                if left_s <= 0 or not self._request_comes(worker):
                    break
                self._changed.wait(left_s)
            worker.interrupted = False
        return None

    def _request_comes(self, worker: Worker) -> bool:
        """True if there are more requests without a frame than idle workers. With the lock held."""
        coming = [ticket for ticket in self._near if ticket.urgent and not ticket.slow and ticket.comes_soon]
        coming += [ticket for ticket in self._waiting if ticket.urgent]
        return len(coming) > sum(1 for other in worker.group.workers if other.model and not other.busy)

    def _serve(self, worker: Worker, model: VisionModel, ticket: Ticket[Any]) -> None:
        ask, outcome, failure = ticket.ask, None, None
        try:
            outcome = ask(model) if ask else None
        except BaseException as error:  # raised in the look's thread
            failure = error
        if worker.group.leaving.is_set():
            outcome, failure = None, Stopped()  # the look asks the new model
        with self._changed:
            worker.busy, worker.finishing, worker.urgent, worker.expected_by = worker.interrupted, False, False, None
            if ticket.ask:  # else the look did not wait for the end
                ticket.outcome, ticket.error = outcome, failure
                if isinstance(failure, FrameTooOld):
                    self._put_back(ticket)
            ticket.done.set()
            self._moved_at = time.monotonic()
            self._changed.notify_all()
        del ask, failure  # the traceback refers to this frame, and the frame to the error: a cycle

    def _put_back(self, ticket: Ticket[Any]) -> None:
        """Let it take another frame. With the lock held, so that no other look comes first meanwhile."""
        ticket.ask, ticket.worker, ticket.near_since, ticket.was_put_back = None, None, time.monotonic(), True
        self._turn = None if self._turn is ticket else self._turn
        self._near.append(ticket)
