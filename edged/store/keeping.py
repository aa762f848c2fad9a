"""Deletes old rows of edged.db, in small batches, so that the file stays within its bounds."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass

from edged.store.file import transaction

BATCH = 500  # rows in one transaction
BUDGET_S = 0.5  # of one call; the next one goes on
KEEP_S = 7 * 86_400.0
MAX_BYTES = 200_000_000

_OLDEST = """
SELECT number, ts, synced, waiting,
    number = (SELECT max(number) FROM message AS other WHERE other.series = message.series)
FROM message WHERE number > ? ORDER BY number LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class Keep:
    """Answers are kept for `seconds`, and the oldest are deleted beyond `max_bytes`."""

    seconds: float = KEEP_S
    max_bytes: int = MAX_BYTES


def clean(connection: sqlite3.Connection, keep: Keep, clock_synced: bool) -> int:
    """Delete what is too old, and the oldest while there is too much; the number of deleted rows.

    Kept are messages that wait and the newest of each series. Without the right time nothing is judged by age, and no
    row that was written without it. Raises sqlite3.Error.
    """
    deleted, after, end = 0, -(2**63), time.monotonic() + BUDGET_S
    while time.monotonic() < end:
        rows = connection.execute(_OLDEST, (after, BATCH)).fetchall()
        limit = time.time() - keep.seconds if clock_synced else float("-inf")
        too_much = _used_bytes(connection) > keep.max_bytes
        gone = [(row[0],) for row in rows if not (row[3] or row[4]) and (too_much or (row[2] and row[1] < limit))]
        if gone:
            with transaction(connection):
                connection.executemany("DELETE FROM message WHERE number = ?", gone)
            deleted += len(gone)
        if len(rows) < BATCH or not (too_much or rows[-1][1] < limit or not rows[-1][2]):
            break
        after = rows[-1][0]
    return deleted


def _used_bytes(connection: sqlite3.Connection) -> int:
    names = ("page_count", "freelist_count", "page_size")
    pages, free, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names)
    return int((pages - free) * size)
