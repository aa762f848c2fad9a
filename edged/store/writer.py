"""The one thread that writes to edged.db. What cannot be written is kept in memory, in order, and tried again."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TypeAlias

from edged.core.errors import EdgedError
from edged.core.outage import Outage
from edged.core.text import counted, system_text
from edged.store.file import StateFile, error_code, is_damaged, transaction

log = logging.getLogger(__name__)

REPLACE_S = 60.0  # at least, from one damaged file that is replaced to the next
RETRY_S = 5.0  # from one attempt to write to the next while the disk is unusable
TICK_S = 1.0
CLEAN_S = 60.0  # from one deletion of old rows to the next
CLEAN_PAUSE = 4.0  # times as long as a deletion took, until the next, if that has left rows to delete
LEAST_CLEAN_S = 1.0
BACKLOG_LIMIT = 5_000  # operations that are kept for a disk that cannot be written
AT_ONCE = 200  # operations in one transaction
OPEN_S = 30.0  # how long `start` waits for the first opening, with its check of the whole file

WRITING, CLEANING = "writing", "cleaning"  # places of unexpected errors

Write: TypeAlias = Callable[[sqlite3.Connection], None]

REASONS = {
    sqlite3.SQLITE_FULL: "disk full",
    sqlite3.SQLITE_READONLY: "read-only",
    sqlite3.SQLITE_IOERR: "I/O error",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened",
    sqlite3.SQLITE_BUSY: "locked by another program",
    sqlite3.SQLITE_PERM: "permission denied",
}


@dataclass(slots=True, eq=False)
class Operation:
    """One thing to write. `then` is called once: True after the commit, False if it is not on disk yet."""

    write: Write
    then: Callable[[bool], None] | None = None

    def tell(self, written: bool) -> None:
        then, self.then = self.then, None
        if then is None:
            return
        try:
            then(written)
        except Exception:
            log.exception("unexpected error after a write")


class Writer:
    """Writes operations in order. `opened` gets each new connection before anything is written to it.

    `lazy` gives what is to be written along with other operations, or at a tick. `clean` deletes old rows, in
    transactions of its own, every CLEAN_S, or sooner if it returns True: there are more. Both are called in the writing
    thread.
    """

    def __init__(
        self,
        file: StateFile,
        opened: Callable[[sqlite3.Connection], None],
        lazy: Callable[[bool], Write | None],
        clean: Callable[[sqlite3.Connection], bool],
    ) -> None:
        self._file = file
        self._opened = opened
        self._lazy = lazy
        self._clean = clean
        self._clean_at = time.monotonic() + CLEAN_S
        self._queue: SimpleQueue[Operation | None] = SimpleQueue()
        self._backlog: deque[Operation] = deque()
        self._connection: sqlite3.Connection | None = None
        self._checked = False
        self._retry_at = 0.0
        self._replaced_at = -REPLACE_S
        self._outage = Outage("store", log, "writing again")
        self._unexpected = Outage("store", log, "no more unexpected errors", "error", "errors")
        self._thread = threading.Thread(target=self._run, name="edged-store", daemon=True)
        self._first_try = threading.Event()
        self._start_lock = threading.Lock()
        self._started = False
        self._fatal: EdgedError | None = None  # why `start` fails
        self._closing = threading.Event()
        self.lost = 0  # operations that were never written: the backlog was full, edged ended, or an unexpected error
        self.moved_at = time.monotonic()
        file.moved = self._moved

    @property
    def working(self) -> bool:
        return self._connection is not None and not self._outage.on

    def start(self) -> None:
        """Open the file; if that fails, go on in memory. Raises EdgedError: another edged uses it, or it is too new."""
        self._thread.start()
        self._first_try.wait(OPEN_S)
        with self._start_lock:
            self._started = True
            if self._fatal:
                raise self._fatal

    def submit(self, operation: Operation) -> None:
        if self._closing.is_set():
            operation.tell(False)
        else:
            self._queue.put(operation)

    def close(self, wait_s: float) -> bool:
        """Write what is left, and close the file. False if that took longer than `wait_s`."""
        self._closing.set()
        self._queue.put(None)
        self._thread.join(wait_s)
        return not self._thread.is_alive()

    # The writing thread

    def _run(self) -> None:
        try:
            self._open()
        except Exception as error:
            self._unexpected_error(error)  # the next write opens the file again, and prepares it
        self._first_try.set()
        while not self._fatal:
            batch = self._next_batch()
            try:
                self._write(batch)
            except Exception as error:
                self._give_up(batch, error)
            try:
                self._clean_if_due()
            except Exception as error:
                self._unexpected_error(error, CLEANING)
            self._moved()
            if self._closing.is_set() and self._queue.empty():
                break
        self._give_up_backlog()
        self._disconnect()
        self._file.unlock()
        self._closing.set()  # for what is submitted from now on
        self._answer_the_rest()

    def _give_up(self, operations: Sequence[Operation], error: Exception) -> None:
        """After an unexpected error of one operation, or while the batch was gathered."""
        self._unexpected_error(error)
        self.lost += len(operations)
        for operation in operations:
            operation.tell(False)

    def _unexpected_error(self, error: Exception, what: str = WRITING) -> None:
        self._unexpected.begin(f"unexpected error: {error!r}", what, logging.ERROR, exc_info=error)
        self._disconnect()  # what the file's readers remember may have been rolled back

    def _moved(self) -> None:
        self.moved_at = time.monotonic()

    def _answer_the_rest(self) -> None:
        with suppress(Empty):
            while True:
                if operation := self._queue.get_nowait():
                    operation.tell(False)

    def _next_batch(self) -> list[Operation]:
        batch: list[Operation] = []
        try:
            first = self._queue.get(timeout=TICK_S)
            batch += [first] if first else []
            while len(batch) < AT_ONCE:
                following = self._queue.get_nowait()
                batch += [following] if following else []
        except Empty:
            pass
        return batch

    def _write(self, batch: Sequence[Operation]) -> None:
        lazy = self._lazy(bool(batch) or self._closing.is_set())
        operations = [*([Operation(lazy)] if lazy else []), *batch]
        if self._backlog and self._may_try():
            self._write_backlog()
        if not operations:
            return
        self._keep(operations if self._backlog or not self._may_try() else self._unwritten(operations))

    def _clean_if_due(self) -> None:
        if not self._connection or time.monotonic() < self._clean_at:
            return
        self._clean_at = time.monotonic() + CLEAN_S
        if not self._file.is_current():
            log.error("store: %s was removed or replaced; edged uses the file that is there now", self._file.path)
            self._disconnect()
            self._file.unlock()  # its lock may be gone too
            return
        begun = time.monotonic()
        try:
            has_more = self._clean(self._connection)
            self._unexpected.end(CLEANING)
            if has_more:
                now = time.monotonic()
                self._clean_at = now + max(LEAST_CLEAN_S, CLEAN_PAUSE * (now - begun))
        except sqlite3.Error as error:
            self._file_failed(error)

    def _write_backlog(self) -> None:
        while self._backlog:
            first = [self._backlog[number] for number in range(min(AT_ONCE, len(self._backlog)))]
            unwritten = self._unwritten(first)
            for _ in range(len(first) - len(unwritten)):
                self._backlog.popleft()
            if unwritten:
                return

    def _keep(self, operations: Sequence[Operation]) -> None:
        for operation in operations:
            operation.tell(False)
            self._backlog.append(operation)
            if len(self._backlog) > BACKLOG_LIMIT:
                self._backlog.popleft()
                self.lost += 1

    def _give_up_backlog(self) -> None:
        if self._backlog:
            self.lost += len(self._backlog)
            lost = counted(len(self._backlog), "write")
            log.error("store: %s could not be written before edged stopped; %s lost", self._file.path, lost)

    def _may_try(self) -> bool:
        return not self._outage.on or self._closing.is_set() or time.monotonic() >= self._retry_at

    def _unwritten(self, operations: Sequence[Operation]) -> Sequence[Operation]:
        """Write these. Returns what cannot be written now, in order. One with an unexpected error is given up."""
        try:
            if not self._commit(operations):
                return operations
            self._unexpected.end(WRITING)
            for operation in operations:
                operation.tell(True)
            return []
        except Exception as error:
            if len(operations) == 1:
                self._give_up(operations, error)
                return []
            self._unexpected_error(error)
        for number, operation in enumerate(operations):
            try:
                if not self._commit([operation]):
                    return operations[number:]
                operation.tell(True)
            except Exception as error:
                self._give_up([operation], error)
        return []

    def _commit(self, operations: Sequence[Operation]) -> bool:
        """Write all of these in one transaction. False, and nothing written, if the file cannot be written now.

        Raises the unexpected error of an operation; then nothing is written either.
        """
        if not self._connection and not self._open():
            return False
        assert self._connection
        try:
            with transaction(self._connection):
                for operation in operations:
                    operation.write(self._connection)
        except (sqlite3.OperationalError, OSError) as error:
            self._file_failed(error)
            return False
        except sqlite3.Error as error:
            if not is_damaged(error):
                raise
            self._file_failed(error)
            return False  # the new file gets them with the backlog
        self._outage.end()
        return True

    # The file

    def _open(self) -> bool:
        try:
            self._file.lock()
            self._connection = self._file.connect(check=not self._checked)
            self._checked = True
            with transaction(self._connection):
                self._opened(self._connection)
        except EdgedError as error:
            self._fatal_or_failed(error)
        except (sqlite3.Error, OSError) as error:
            self._file_failed(error)
        return self._connection is not None

    def _file_failed(self, error: sqlite3.Error | OSError) -> None:
        """A file that is damaged is replaced, whenever that shows."""
        if isinstance(error, sqlite3.Error) and is_damaged(error):
            self._replace(error)
        else:
            self._fail(_reason(error))

    def _fatal_or_failed(self, error: EdgedError) -> None:
        with self._start_lock:
            if not self._started:
                self._fatal = error
                return
        self._fail(str(error))  # edged runs, so a file that is somebody else's is an outage like others

    def _replace(self, error: sqlite3.Error) -> None:
        """Set the damaged file aside; the next write creates another one."""
        if time.monotonic() < self._replaced_at + REPLACE_S:
            self._fail(f"damaged again ({error})")
            return
        self._replaced_at = time.monotonic()
        self._disconnect()
        try:
            self._file.set_aside(str(error))
        except OSError as failure:
            self._fail(_reason(failure))

    def _fail(self, reason: str) -> None:
        self._outage.begin(f"{self._file.path}: {reason}; answers are kept in memory until it can be written")
        self._retry_at = time.monotonic() + RETRY_S
        self._disconnect()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            with suppress(sqlite3.Error):
                connection.close()


def _reason(error: sqlite3.Error | OSError) -> str:
    if isinstance(error, OSError):
        return system_text(error)
    return REASONS.get(error_code(error), str(error))
