"""What the history loses: messages that are too old, and the oldest of a file that is too large.

Never deleted are messages that wait for the broker, and the newest of each series: it is published again to a broker
that has lost its retained messages.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass

from edged.store.file import transaction

BATCH = 500  # messages that are judged, and deleted, in one transaction
BUDGET_S = 0.2  # of one call; a look that has to be written waits no longer
START = 0  # the first message has the number 1
FILL = 0.98  # of the largest size: what is left is for the messages until the next call

# Whether a message has a newer one is looked up in the index message_series.
_BATCH = """
SELECT number, ts, synced, waiting,
    EXISTS (SELECT 1 FROM message AS newer WHERE newer.series = message.series AND newer.number > message.number)
FROM message WHERE number > ? ORDER BY number LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class _Stored:
    number: int
    ts: float
    synced: bool
    waiting: bool
    superseded: bool

    @property
    def deletable(self) -> bool:
        return self.superseded and not self.waiting


@dataclass(frozen=True, slots=True)
class _Period:
    """The time for which messages are kept, on the wall clock. `begin` is infinite if none are kept."""

    begin: float
    end: float

    @property
    def is_endless(self) -> bool:
        return self.begin == -math.inf

    def is_over(self, message: _Stored) -> bool:
        return self.begin == math.inf or (message.synced and message.ts < self.begin)

    def contains(self, message: _Stored) -> bool:
        """False for a stamp of the future: a clock that was wrong says nothing about the messages that follow."""
        return message.synced and self.begin <= message.ts <= self.end


class Cleaner:
    """Deletes from the oldest message on. For the writing thread.

    A walk that does not end within a call goes on with the next one. So messages that may not be judged by their age,
    of which there are many on a box without a synchronised clock, are not read again every minute.
    """

    def __init__(self) -> None:
        self._after = START  # the walk has come to this message
        self.behind = False  # the last call has deleted messages until its time was up

    def clean(
        self,
        connection: sqlite3.Connection,
        keep_s: float,
        max_bytes: int,
        now: float,
        clock_synced: bool,
        budget_s: float = BUDGET_S,
    ) -> int:
        """Delete what is older than `keep_s`, and the oldest while the file has more than `max_bytes` in use.

        The number of messages deleted; if the time was up, there are more for the next call. `now` is the wall clock.
        A message is judged by its age only if the clock is synchronised, and was when the message was stored; but with
        `keep_s` 0 nothing is kept, whatever its age. Not inside a transaction. Raises sqlite3.Error.
        """
        period, limit = _period(keep_s, now, clock_synced), FILL * max_bytes
        deadline = time.monotonic() + budget_s
        self.behind = False
        if too_large := used_bytes(connection) > limit:
            self._after = START  # the oldest must go, also if the walk has passed them
        deleted = 0
        while too_large or not period.is_endless:
            batch = _next_batch(connection, self._after)
            gone = [each.number for each in batch if each.deletable and (too_large or period.is_over(each))]
            _delete(connection, gone)
            deleted += len(gone)
            ended = not batch or (not too_large and period.contains(batch[-1]))
            self._after = START if ended else batch[-1].number
            timed_out = not ended and time.monotonic() >= deadline
            self.behind = timed_out and deleted > 0
            if ended or timed_out:
                break
            too_large = used_bytes(connection) > limit
        return deleted


def used_bytes(connection: sqlite3.Connection) -> int:
    """The size of the file without its free pages, which are used again before it grows. Raises sqlite3.Error."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _period(keep_s: float, now: float, clock_synced: bool) -> _Period:
    if keep_s <= 0:
        return _Period(begin=math.inf, end=now)
    return _Period(begin=now - keep_s if clock_synced else -math.inf, end=now)


def _next_batch(connection: sqlite3.Connection, after: int) -> list[_Stored]:
    rows = connection.execute(_BATCH, (after, BATCH)).fetchall()
    return [_Stored(number, ts, *map(bool, flags)) for number, ts, *flags in rows]


def _delete(connection: sqlite3.Connection, numbers: Sequence[int]) -> None:
    if numbers:
        with transaction(connection):
            connection.executemany("DELETE FROM message WHERE number = ?", [(number,) for number in numbers])
