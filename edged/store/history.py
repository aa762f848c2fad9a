"""Reads the answers in edged.db, also while edged writes to it. Changes nothing."""

from __future__ import annotations

import heapq
import json
import os
import sqlite3
import stat
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edged.core.errors import EdgedError
from edged.core.text import system_text
from edged.core.types import PastAnswer
from edged.store.file import error_code, is_damaged, read_only
from edged.store.path import SERVICE_FILE, state_file
from edged.store.schema import VERSION, known_version

# Messages are read in groups, with nothing open in between: an open read keeps edged from shortening its log, and
# the output may go to a pager that waits for somebody.
GROUP = 500
DENIED = "permission denied; use the account of edged, or root (sudo)"

_QUESTIONS = "SELECT id, camera, question FROM series WHERE question IS NOT NULL ORDER BY camera, question"
_BEGIN = "SELECT number FROM message WHERE ts BETWEEN ? AND ? ORDER BY number LIMIT 1"
_GROUP = "SELECT number, series, payload FROM message WHERE number > ? AND {} ORDER BY number LIMIT ?"

# _EARLIER is found in the index alone, without reading a message. In _PAST, SQLite takes the JSON apart: it needs half
# the time of Python, and other threads run meanwhile.
_SERIES = "SELECT id FROM series WHERE camera = ? AND question = ?"
_EARLIER = "SELECT number FROM message WHERE series = ? AND number < ? ORDER BY number DESC LIMIT 1 OFFSET ?"
_PAST = """
SELECT number, CASE WHEN json_valid(text)
    THEN json_extract(text, '$.answered_ts', '$.type', '$.value', '$.status', '$.reason') END
FROM (
    SELECT number, CAST(payload AS TEXT) AS text FROM message WHERE series = ? AND number > ? ORDER BY number LIMIT ?
)
"""
_STAMP = "SELECT ts, synced FROM message WHERE number = ?"
_END = 2**62  # no message has so high a number


class HistoryUnreadable(EdgedError):
    """There is no store's file, or it cannot be read."""


@dataclass(frozen=True, slots=True)
class Series:
    """The answers to one question under one topic. `key` identifies it in this file.

    A question has several if the node's name or the prefix was changed.
    """

    key: int
    camera: str
    question: str


class StoredAnswers:
    """In an open file. Every method raises sqlite3.Error; see `open_history`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def series(self) -> list[Series]:
        """Of all questions that have answers, by name."""
        return [Series(*row) for row in self._connection.execute(_QUESTIONS)]

    def answers(self, of: Sequence[Series], since: float, now: float) -> Iterator[tuple[Series, bytes]]:
        """The payloads of these questions' answers, oldest first, from the first message of the period on.

        `since` and `now` are the wall clock. An answer that was given before the clock was synchronised belongs to the
        period if it was given after another answer of the period.
        """
        by_key = {each.key: each for each in of}
        begin = self._connection.execute(_BEGIN, (since, now)).fetchone()
        after = begin[0] - 1 if begin and of else None
        while after is not None:
            group = self._group(list(by_key), after)
            yield from ((by_key[key], bytes(payload)) for _, key, payload in group)
            after = group[-1][0] if len(group) == GROUP else None

    def _group(self, keys: Sequence[int], after: int) -> list[tuple[int, int, bytes]]:
        # One question is found by the index of its series. For several, the table is read in its order: `+` says so.
        where = "series = ?" if len(keys) == 1 else f"+series IN ({', '.join('?' * len(keys))})"
        return self._connection.execute(_GROUP.format(where), (after, *keys, GROUP)).fetchall()

    def past(self, camera: str, question: str, since: float) -> Iterator[PastAnswer]:
        """The answers to one question, oldest first: those since then, and up to 500 before, if there are any.

        The time for this depends on the number of these answers, not on that of all.
        """
        keys = [row[0] for row in self._connection.execute(_SERIES, (camera, question))]
        # A question has several series if its node was renamed. Numbers are not equal, so answers are not compared.
        yield from (answer for _, answer in heapq.merge(*(self._past(key, since) for key in keys)))

    def _past(self, key: int, since: float) -> Iterator[tuple[int, PastAnswer]]:
        """Of one series, each with its number."""
        after: int | None = self._number_before(key, since)
        while after is not None:
            group = self._connection.execute(_PAST, (key, after, GROUP)).fetchall()
            yield from ((number, answer) for number, values in group if (answer := _past_answer(values)))
            after = group[-1][0] if len(group) == GROUP else None

    def _number_before(self, key: int, since: float) -> int:
        """Every answer of the period has a higher number. Goes back in steps, until a message is older.

        A stamp of a clock that was not synchronised does not say that a message is older.
        """
        number: int = _END
        while row := self._connection.execute(_EARLIER, (key, number, GROUP - 1)).fetchone():
            number = row[0]
            stamp = self._connection.execute(_STAMP, (number,)).fetchone()
            if stamp is None or (stamp[1] and stamp[0] < since):  # None: deleted in the meantime, as the oldest are
                return number - 1
        return 0


def past_answers(path: Path, camera: str, question: str, since: float) -> Generator[PastAnswer, None, None]:
    """See `StoredAnswers.past`. Nothing is open between groups of 500. Raises HistoryUnreadable, StoreTooNew."""
    with open_history(path) as stored:
        yield from stored.past(camera, question, since)


def _past_answer(values: str | None) -> PastAnswer | None:
    """From an array in JSON. None for what edged cannot have written: the file may have been edited."""
    answer: list[Any] = json.loads(values) if values else [None]
    return PastAnswer(*answer) if isinstance(answer[0], int | float) else None


def find_file(node: str, environment: Mapping[str, str], service_file: Path = SERVICE_FILE) -> Path:
    """The file of this node's edged, whether it runs or not. Raises HistoryUnreadable if there is none.

    A user beside the service has no $STATE_DIRECTORY, so the service's file counts too. Of two files, the one that was
    written last.
    """
    own = state_file(node, environment)
    places = [own] if environment.get("STATE_DIRECTORY") else [own, service_file]
    existing = [path for path in places if _exists(path)]
    if not existing:
        missing = f"neither {own} nor {service_file} exists" if len(places) > 1 else f"{own} does not exist"
        raise HistoryUnreadable(f"no stored answers: {missing}")
    return max(existing, key=_written_at)


def _exists(path: Path) -> bool:
    """Also true if it may not be examined: opening it says why."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _written_at(path: Path) -> float:
    """When edged wrote to the file or to its write-ahead log, which a reader may have created empty."""
    times = [0.0]
    for file in (path, path.with_name(f"{path.name}-wal")):
        with suppress(OSError):
            state = file.stat()
            times += [state.st_mtime] if state.st_size else []
    return max(times)


@contextmanager
def open_history(path: Path) -> Iterator[StoredAnswers]:
    """The answers in this file, for reading inside the block. Raises HistoryUnreadable or StoreTooNew, also later."""
    with opened(path) as connection:
        yield StoredAnswers(connection)


@contextmanager
def opened(path: Path, connect: Callable[[Path], sqlite3.Connection] = read_only) -> Iterator[sqlite3.Connection]:
    """This file of a version that is known, inside the block. Raises HistoryUnreadable or StoreTooNew, also later."""
    _check_file(path)
    try:
        with closing(connect(path)) as connection:
            _check_version(connection, path)
            yield connection
    except sqlite3.Error as error:
        raise HistoryUnreadable(f"{path} {_reason(error)}") from None


def _check_file(path: Path) -> None:
    # Not by opening it: closing it again would end the locks that an edged in this process has on it.
    try:
        regular = stat.S_ISREG(path.stat().st_mode)  # SQLite would wait for somebody to write to a FIFO
    except OSError as error:
        raise HistoryUnreadable(f"{path} cannot be read: {_spoken(error)}") from None
    if not regular:
        raise HistoryUnreadable(f"{path} is not a regular file")
    if not os.access(path, os.R_OK, effective_ids=True):
        raise HistoryUnreadable(f"{path} cannot be read: {DENIED}")


def _spoken(error: OSError) -> str:
    return DENIED if isinstance(error, PermissionError) else system_text(error)


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    version = known_version(connection, str(path))
    if version < VERSION:
        raise HistoryUnreadable(
            f"{path} has tables of version {version}, not {VERSION}, or is not an edged.db; "
            "edged brings its own file up to date when it starts"
        )


def _reason(error: sqlite3.Error) -> str:
    """The predicate of a sentence about the file."""
    if is_damaged(error):
        then = "edged sets its own file aside and begins a new one when it starts"
        return f"is damaged, or is not an edged.db ({error}); {then}"
    match error_code(error):
        case sqlite3.SQLITE_BUSY:
            return "is locked by another program"
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY:  # the files -wal and -shm, which a reader needs too
            return "cannot be opened: SQLite must be able to create files beside it; copy it to a folder of your own"
    return f"cannot be read: {error}"
