"""edged.db: opening, locking, checking, and setting a damaged file aside."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from edged.core.errors import EXIT_UNAVAILABLE, EdgedError
from edged.store.schema import known_version, migrate

log = logging.getLogger(__name__)

BUSY_S = 5.0  # how long to wait for a reader that keeps the file locked
STEPS = 100_000  # of SQLite's virtual machine, from one sign of progress to the next
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
COMPANIONS = ("", "-wal", "-shm")


class StoreInUse(EdgedError):
    """Another edged has the file."""

    code = EXIT_UNAVAILABLE


class StateFile:
    """The file at `path`, for one thread at a time. While it is locked no other edged can use it.

    `moved` is called repeatedly while SQLite works, in its thread: a check of a large file may take minutes.
    """

    def __init__(self, path: Path, moved: Callable[[], None] = lambda: None) -> None:
        self.path = path
        self.moved = moved
        self._lock: int | None = None
        self._inode = 0

    def lock(self) -> None:
        """Create the folder, and lock the file for this process, until `unlock`. Raises StoreInUse, OSError."""
        if self._lock is not None:
            return
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.path.with_name(self.path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise StoreInUse(f"another edged uses {self.path}; give each its own STATE_DIRECTORY or node") from None
        except BaseException:
            os.close(lock)
            raise
        self._lock = lock

    def unlock(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def connect(self, check: bool) -> sqlite3.Connection:
        """The locked file, with the tables of this version; created if it does not exist.

        A damaged file is renamed and replaced; with `check` all of it is read to find out. Raises StoreTooNew,
        sqlite3.Error, OSError.
        """
        try:
            return self._connect(check)
        except sqlite3.Error as error:
            if not is_damaged(error):
                raise
            self.set_aside(str(error))
            return self._connect(check)

    def set_aside(self, reason: str) -> None:
        """Rename the damaged file. Raises OSError."""
        stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
        aside = self._free_name(f"{self.path.name}.damaged-{stamp}")
        for companion in COMPANIONS:
            with suppress(FileNotFoundError):
                Path(f"{self.path}{companion}").rename(f"{aside}{companion}")
        log.error(
            "store: %s is damaged (%s); renamed to %s; continuing with an empty file", self.path, reason, aside.name
        )

    def is_current(self) -> bool:
        """False if the file that was opened is not at its path any more."""
        return _stat(self.path, "st_ino") == self._inode

    def used_bytes(self) -> int:
        """The size of the file and of its write-ahead log; 0 if they cannot be read."""
        return sum(_stat(Path(f"{self.path}{companion}"), "st_size") for companion in COMPANIONS[:2])

    def _free_name(self, name: str) -> Path:
        candidates = [name, *(f"{name}-{number}" for number in range(2, 100))]
        return next(path for each in candidates if not (path := self.path.with_name(each)).exists())

    def _connect(self, check: bool) -> sqlite3.Connection:
        if not self.path.exists():
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # SQLite would use the umask
        connection = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            connection.set_progress_handler(self._progress, STEPS)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA cell_size_check = ON")
            known_version(connection, str(self.path))  # before the check, which may take minutes or set the file aside
            if check:
                _check(connection)
            migrate(connection, str(self.path))
        except BaseException:
            connection.close()
            raise
        self._inode = _stat(self.path, "st_ino")
        return connection

    def _progress(self) -> int:
        self.moved()
        return 0  # go on


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit what is done inside, or nothing of it. Raises sqlite3.Error."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # some errors have ended the transaction already
            connection.execute("ROLLBACK")
        raise


def read_only(path: Path) -> sqlite3.Connection:
    """The file for reading, also while edged writes to it. Raises sqlite3.Error."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False
    )


def read_write(path: Path) -> sqlite3.Connection:
    """The file, which exists, for writing beside an edged that writes to it. Raises sqlite3.Error."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False
    )


def error_code(error: sqlite3.Error) -> int:
    """The primary result code of SQLite, such as SQLITE_FULL; 0 if the error has none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_damaged(error: sqlite3.Error) -> bool:
    return error_code(error) in DAMAGED


def _check(connection: sqlite3.Connection) -> None:
    """Raises sqlite3.DatabaseError if the file is damaged. Reads all of it: about 0.3 s for 200 MB."""
    verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        error = sqlite3.DatabaseError(verdict.splitlines()[-1])
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error


def _stat(path: Path, what: str) -> int:
    """`st_ino` or `st_size` of a file; 0 if it cannot be read."""
    try:
        return int(getattr(path.stat(), what))
    except OSError:
        return 0
