"""The threads that looks run in, behind APScheduler's interface for executors."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from datetime import datetime

from apscheduler.executors.base import BaseExecutor
from apscheduler.job import Job
from apscheduler.schedulers.base import BaseScheduler

from edged.core.outage import Outage
from edged.service.lateness import Lateness

log = logging.getLogger("edged.schedule")

CLOCK_STEP_S = 1.0  # more than the clock drifts from one look to the next


class LookPool(BaseExecutor):  # type: ignore[misc]  # apscheduler has no types
    """Runs looks in up to `most` daemon threads, so that a look that hangs does not keep the process from ending.

    Jobs with the same name, that of the camera, run one after the other.

    APScheduler's own pool joins its threads without a time-out, at shutdown and at the exit of the process.
    """

    def __init__(self, most: int, lateness: Lateness) -> None:
        super().__init__()
        self._most = most
        self._lateness = lateness
        self._changed = threading.Condition()
        self._queue: deque[tuple[Job, float]] = deque()  # and when (monotonic) each was due
        self._running: set[str] = set()  # names
        self._threads: list[threading.Thread] = []
        self._failing: dict[str, Outage] = {}  # by camera, while its looks end with an unexpected error
        self._idle = 0
        self._closed = False
        self._clock_offset = 0.0

    def start(self, scheduler: BaseScheduler, alias: str) -> None:
        super().start(scheduler, alias)
        self.set_clock()

    def set_clock(self) -> None:
        """Take the wall clock as right: after it was set, and at the start."""
        self._clock_offset = time.time() - time.monotonic()

    def shutdown(self, wait: bool = True) -> None:
        """Drop the queued looks. Never waits for the running ones: see `wait`."""
        with self._changed:
            self._closed = True
            for job, _ in self._queue:
                self._lateness.ended(job.name)
            self._queue.clear()
            self._changed.notify_all()

    def wait(self, wait_s: float) -> bool:
        """After `shutdown`: True if every thread has ended within `wait_s`."""
        end = time.monotonic() + wait_s
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _do_submit_job(self, job: Job, run_times: Sequence[datetime]) -> None:
        with self._changed:
            if len(self._queue) >= self._idle and len(self._threads) < self._most:
                thread = threading.Thread(target=self._work, name=f"look-{len(self._threads) + 1}", daemon=True)
                thread.start()  # before anything else: if it raises, APScheduler counts the look as not submitted
                self._threads.append(thread)
            # not in a listener: those of a submission are called after it, when the look may be running already
            due_at = self._due_at(run_times[-1])
            self._lateness.due(job.name, due_at)
            self._queue.append((job, due_at))
            self._changed.notify()

    def _due_at(self, scheduled: datetime) -> float:
        """The moment on the monotonic clock. A wall clock that was set is ignored until `set_clock`."""
        now = time.monotonic()
        offset = time.time() - now
        if abs(offset - self._clock_offset) < CLOCK_STEP_S:
            self._clock_offset = offset  # the clocks drift apart
        return min(now, scheduled.timestamp() - self._clock_offset)

    def _work(self) -> None:
        while job := self._next():
            try:
                self._look(job)
            finally:
                self._ended(job)

    def _look(self, job: Job) -> None:
        try:
            job.func(*job.args)
            if failing := self._failing.pop(job.name, None):
                failing.end()
        except Exception as error:
            if job.name not in self._failing:
                name = f"camera {job.name}"
                self._failing[job.name] = Outage(name, log, "looks succeed again", "failed look", "failed looks")
            self._failing[job.name].begin(f"unexpected error in a look: {error!r}", level=logging.ERROR, exc_info=error)

    def _next(self) -> Job | None:
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._first() or self._closed)
            self._idle -= 1
            following = self._first()
            if following is None:
                return None
            self._queue.remove(following)
            job, _ = following
            self._running.add(job.name)
            return job

    def _first(self) -> tuple[Job, float] | None:
        """The first in the queue whose camera has no look running. With the lock held."""
        return next((each for each in self._queue if each[0].name not in self._running), None)

    def _ended(self, job: Job) -> None:
        with self._changed:
            self._running.discard(job.name)
            self._lateness.ended(job.name)  # before the next look can be due
            for waiting, due_at in self._queue:
                if waiting.name == job.name:
                    self._lateness.due(job.name, due_at)
            self._changed.notify()
        self._run_job_success(job.id, [])
