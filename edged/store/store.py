"""What survives a restart of edged: messages, the history of answers, and facts. See `core.interfaces.Store`."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from edged.core.errors import MessageUnreadable, StoreUnreadable
from edged.core.interfaces import FrameStore
from edged.core.memory_store import MemoryStore
from edged.core.outage import Outage
from edged.core.specs import FramesSpec, HistorySpec
from edged.core.types import Fact, StoredMessage, StoreFigures
from edged.store import rows
from edged.store.file import StateFile, error_code, is_damaged, read_only
from edged.store.frames import DiskFrames
from edged.store.keeping import Cleaner
from edged.store.moments import Clocks, this_boot
from edged.store.rows import MessageRows
from edged.store.writer import Operation, Write, Writer

log = logging.getLogger(__name__)

DONE_S = 60.0  # how long acknowledgements may wait for a look to be written with: a write of its own would cost flash
MARK_S = 2.0
MARK_GIVE_UP_S = 60.0
READ_AGAIN_S = 1.0  # from one check to the next whether a file that could not be read can be
CLOSE_S = 5.0


class _Mark:
    """Messages whose `late` is being written."""

    def __init__(self, numbers: Iterable[int]) -> None:
        self.numbers = frozenset(numbers)
        self.since = time.monotonic()
        self.written = threading.Event()


class DiskStore(MemoryStore):
    """A store in the file at `path`. `synced` tells if the wall clock can be trusted."""

    def __init__(self, path: Path, synced: Callable[[], bool]) -> None:
        super().__init__()
        self._file = StateFile(path)
        self._synced = synced
        self._history: HistorySpec | None = HistorySpec()
        self._cleaner = Cleaner()
        self._writer = Writer(self._file, self._opened, self._lazy, self._clean)
        self._frames = DiskFrames(path, self._writer.submit, lambda: self._writer.working)
        self._rows: MessageRows | None = None  # for the writing thread, but for its `offset`
        self._done: list[int] = []
        self._done_since = 0.0
        self._mark: _Mark | None = None  # the last one
        self._found: list[StoredMessage] = []
        self._found_facts: Sequence[Fact] = ()
        self._changed: set[tuple[str, str]] = set()  # kind and name of facts that were changed before the file was read
        self._reader: sqlite3.Connection | None = None
        self._reader_lock = threading.Lock()
        self._read_again_at = 0.0
        self._unreadable = Outage("store", log, "reading again")

    def open(self) -> None:
        """Raises StoreInUse, StoreTooNew. A file that cannot be used for another reason is tried again later."""
        self._writer.start()

    @property
    def moved_at(self) -> float:
        return self._writer.moved_at

    @property
    def frames(self) -> FrameStore:
        return self._frames

    def keep(self, history: HistorySpec | None, frames: FramesSpec | None = None) -> None:
        self._history = history
        self._frames.bound(frames)

    def remember(self, facts: Sequence[Fact]) -> None:
        if facts:
            self._change(facts)
            self._writer.submit(Operation(lambda connection: rows.put_facts(connection, facts)))

    def write(self, messages: Sequence[StoredMessage], facts: Sequence[Fact], then: Callable[[bool], None]) -> None:
        self._change(facts)
        self._writer.submit(Operation(lambda connection: self._insert(connection, messages, facts), then))

    def mark_late(self, payloads: Mapping[int, bytes]) -> bool:
        if not payloads:
            return True
        with self._lock:
            before = self._mark
            mark = before if before and payloads.keys() <= before.numbers else _Mark(payloads)
            self._mark = mark
        if mark is not before:
            self._writer.submit(Operation(lambda _: self._messages.mark_late(payloads), lambda _: mark.written.set()))
        return mark.written.wait(MARK_S) or time.monotonic() - mark.since >= MARK_GIVE_UP_S

    def done(self, numbers: Sequence[int]) -> None:
        with self._lock:
            if not self._done:
                self._done_since = time.monotonic()
            self._done += numbers

    def payload(self, number: int) -> bytes | None:
        if self._rows is None:
            return None
        with self._reader_lock:
            try:
                payload = rows.payload(self._read_only(), number + self._rows.offset)
            except sqlite3.Error as error:
                self._close_reader()
                if is_damaged(error):
                    return None
                if error_code(error) != sqlite3.SQLITE_BUSY and self._is_readable():
                    raise MessageUnreadable(f"{self._file.path}: a message cannot be read: {error}") from error
                reason = f"{self._file.path} cannot be read: {error}"
                self._unreadable.begin(f"{reason}; answers that are only there wait until it can")
                raise StoreUnreadable(reason) from error
        self._unreadable.end()
        return payload

    def found(self) -> Sequence[StoredMessage]:
        with self._lock:
            found, self._found = self._found, []
            return found

    def found_facts(self) -> Sequence[Fact]:
        with self._lock:
            found, self._found_facts = self._found_facts, ()
            return found

    def figures(self) -> StoreFigures:
        return StoreFigures(self._writer.working, self._file.used_bytes(), self._writer.lost)

    def close(self) -> bool:
        """Write what is left. False if that took longer than 5 s; it may be on disk nevertheless."""
        self._frames.close()
        with self._reader_lock:
            self._close_reader()
        return self._writer.close(CLOSE_S)

    def _change(self, facts: Sequence[Fact]) -> None:
        with self._lock:
            if self._rows is None:
                self._changed |= {(fact.kind, fact.name) for fact in facts}
        super().remember(facts)

    # With the reader lock held

    def _read_only(self) -> sqlite3.Connection:
        self._reader = self._reader or read_only(self._file.path)
        return self._reader

    def _is_readable(self) -> bool:
        try:
            rows.newest(self._read_only())
        except sqlite3.Error:
            self._close_reader()
            return False
        return True

    def _close_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader:
            with suppress(sqlite3.Error):
                reader.close()

    # The writing thread

    @property
    def _messages(self) -> MessageRows:
        assert self._rows, "no file is open"
        return self._rows

    def _opened(self, connection: sqlite3.Connection) -> None:
        with self._reader_lock:
            self._close_reader()  # the file may have been replaced
        self._frames.reopen()
        offset = self._rows.offset if self._rows else None
        messages = MessageRows(connection, Clocks(this_boot(connection), self._synced), offset)
        if self._rows:
            self._rows = messages
        else:
            self._take_over(messages, list(messages.found()), rows.read_facts(connection))
        # A file that replaces another has none, and one that could not be written has some that were deleted meanwhile.
        rows.replace_facts(connection, self._all_facts())

    def _take_over(self, messages: MessageRows, found: Sequence[StoredMessage], facts: Sequence[Fact]) -> None:
        """What an earlier process left, once all of it is read. Facts that this one has changed before stay changed."""
        with self._lock:
            self._rows = messages  # with `found`, whose payloads it is needed for
            self._found += found
            self._found_facts = facts
            for fact in facts:
                if (fact.kind, fact.name) not in self._changed:
                    self._facts.setdefault(fact.kind, {})[fact.name] = fact.value

    def _all_facts(self) -> list[Fact]:
        with self._lock:
            kinds = self._facts.items()
            return [Fact(kind, name, value) for kind, facts in kinds for name, value in facts.items()]

    def _insert(self, connection: sqlite3.Connection, messages: Sequence[StoredMessage], facts: Sequence[Fact]) -> None:
        for message in messages:
            self._messages.insert(message)
        rows.put_facts(connection, facts)

    def _clean(self, connection: sqlite3.Connection) -> bool:
        history = self._history
        keep_s, max_bytes = (history.keep_s, history.max_bytes) if history else (0.0, 0)
        self._cleaner.clean(connection, keep_s, max_bytes, time.time(), self._synced())
        return self._cleaner.behind

    def _lazy(self, now: bool) -> Write | None:
        """What acknowledgements have to be written: with a look, or if they have waited long enough."""
        self._read_again()
        with self._lock:
            if not self._done or not (now or time.monotonic() - self._done_since >= DONE_S):
                return None
            numbers, self._done = self._done, []
        return lambda _: self._messages.done(numbers)

    def _read_again(self) -> None:
        """End the outage of reading also if nobody wants a payload any more."""
        if not self._unreadable.on or time.monotonic() < self._read_again_at:
            return
        self._read_again_at = time.monotonic() + READ_AGAIN_S
        with self._reader_lock:
            readable = self._is_readable()
        if readable:
            self._unreadable.end()
