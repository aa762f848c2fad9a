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

from edged.service.lateness import Lateness

log = logging.getLogger("edged.schedule")

CLOCK_STEP_S = 1.0  # more than the clock drifts from one look to the next


class LookPool(BaseExecutor):  # type: ignore[misc]  # apscheduler has no types
    """Runs looks in at most so many threads. They are daemons: a look that hangs does not keep the process from ending.

    APScheduler's own pool is one of concurrent.futures, whose threads are joined for ever at a stop and at the exit.
    """

    def __init__(self, most: int, lateness: Lateness) -> None:
        super().__init__()
        self._most = most
        self._lateness = lateness
        self._changed = threading.Condition()
        self._queue: deque[Job] = deque()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._closed = False
        self._clock_offset = 0.0

    def start(self, scheduler: BaseScheduler, alias: str) -> None:
        super().start(scheduler, alias)
        self.set_clock()

    def set_clock(self) -> None:
        """From now on the wall clock is right."""
        self._clock_offset = time.time() - time.monotonic()

    def shutdown(self, wait: bool = True) -> None:
        """No queued look begins any more. Never waits: see `wait`."""
        with self._changed:
            self._closed = True
            for job in self._queue:
                self._lateness.ended(job.id)
            self._queue.clear()
            self._changed.notify_all()

    def wait(self, wait_s: float) -> bool:
        """Whether every thread has ended within so many seconds after the shutdown."""
        end = time.monotonic() + wait_s
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _do_submit_job(self, job: Job, run_times: Sequence[datetime]) -> None:
        with self._changed:
            if len(self._queue) >= self._idle and len(self._threads) < self._most:
                thread = threading.Thread(target=self._work, name=f"look-{len(self._threads) + 1}", daemon=True)
                thread.start()  # first of all: where it fails APScheduler takes the look for not submitted
                self._threads.append(thread)
            # here and not in a listener: the listeners of a submission are called when the look may run already
            self._lateness.due(job.id, self._due_at(run_times[-1]))
            self._queue.append(job)
            self._changed.notify()

    def _due_at(self, scheduled: datetime) -> float:
        """When that was on the monotonic clock. A jump of the wall clock counts only after `set_clock`."""
        now = time.monotonic()
        offset = time.time() - now
        if abs(offset - self._clock_offset) < CLOCK_STEP_S:
            self._clock_offset = offset  # it drifts
        return min(now, scheduled.timestamp() - self._clock_offset)

    def _work(self) -> None:
        while job := self._next():
            try:
                job.func(*job.args)
            except Exception:
                log.exception("camera %s: unexpected error in its look", job.id)
            finally:
                self._lateness.ended(job.id)  # first: then its next look may be due
                self._run_job_success(job.id, [])

    def _next(self) -> Job | None:
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._queue or self._closed)
            self._idle -= 1
            return self._queue.popleft() if self._queue else None
