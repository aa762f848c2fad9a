"""Messages and facts as rows. Every function is for one connection and raises sqlite3.Error.

Messages are numbered from 1 in each process; `offset` is the highest number that was in the file when it was opened,
so that what an earlier process left has numbers of 0 and less.
"""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edged.core.types import Fact, StoredMessage
from edged.store.moments import Clocks

_SELECT = """
SELECT number, topic, camera, question, length(payload), ts, synced, boot, until_mono, until_ts, late, waiting, look
FROM message JOIN series ON series.id = message.series
"""
_NEWEST = """
WHERE number IN (SELECT max(number) FROM message GROUP BY series) AND question IS NOT NULL AND NOT waiting
"""


class MessageRows:
    """The messages in one file. `clocks` are those of this process."""

    def __init__(self, connection: sqlite3.Connection, clocks: Clocks, offset: int | None = None) -> None:
        self._connection = connection
        self._clocks = clocks
        self._series: dict[str, int] = {}
        self.offset = newest(connection) if offset is None else offset

    def insert(self, message: StoredMessage) -> None:
        """A second insert of the same number does nothing."""
        row = (
            message.number + self.offset,
            self._series_id(message),
            time.time(),
            self._clocks.synced(),
            self._clocks.boot,
            None if message.until == math.inf else message.until,
            self._clocks.wall(message.until),
            message.late,
            message.waiting,
            message.payload,
            message.look,
        )
        self._connection.execute("INSERT OR IGNORE INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    def done(self, numbers: Sequence[int]) -> None:
        rows = [(number + self.offset,) for number in numbers]
        self._connection.executemany("UPDATE message SET waiting = 0 WHERE number = ?", rows)

    def mark_late(self, payloads: Mapping[int, bytes]) -> None:
        rows = [(payload, number + self.offset) for number, payload in payloads.items()]
        self._connection.executemany("UPDATE message SET late = 1, payload = ? WHERE number = ?", rows)

    def found(self) -> Iterator[StoredMessage]:
        """The newest answer of each question if it is acknowledged, expired or not; then messages that wait, in order.

        Without their payloads.
        """
        for where in (_NEWEST, "WHERE waiting ORDER BY number"):
            yield from map(self._message, self._connection.execute(_SELECT + where))

    def _series_id(self, message: StoredMessage) -> int:
        if message.topic not in self._series:
            key = (message.topic, message.camera, message.question)
            self._connection.execute("INSERT OR IGNORE INTO series (topic, camera, question) VALUES (?, ?, ?)", key)
            row = self._connection.execute("SELECT id FROM series WHERE topic = ?", (message.topic,)).fetchone()
            self._series[message.topic] = int(row[0])
        return self._series[message.topic]

    def _message(self, row: tuple[Any, ...]) -> StoredMessage:
        number, topic, camera, question, size, ts, synced, boot, until_mono, until_ts, late, waiting, look = row
        clocks = self._clocks
        made_at = clocks.monotonic(boot=0, mono=None, wall=ts if synced else None)
        return StoredMessage(
            number=number - self.offset,
            topic=topic,
            camera=camera,
            question=question,
            payload=None,
            size=size,
            made_at=min(made_at, time.monotonic()),
            until=clocks.monotonic(boot, until_mono, until_ts),
            late=bool(late),
            waiting=bool(waiting),
            look=look,
        )


def payload(connection: sqlite3.Connection, row_number: int) -> bytes | None:
    row = connection.execute("SELECT payload FROM message WHERE number = ?", (row_number,)).fetchone()
    return bytes(row[0]) if row else None


def newest(connection: sqlite3.Connection) -> int:
    """The highest number of a row; 0 without one."""
    return int(connection.execute("SELECT max(number) FROM message").fetchone()[0] or 0)


def put_facts(connection: sqlite3.Connection, facts: Sequence[Fact]) -> None:
    for fact in facts:
        if fact.value is None:
            connection.execute("DELETE FROM fact WHERE kind = ? AND name = ?", (fact.kind, fact.name))
        else:
            row = (fact.kind, fact.name, json.dumps(fact.value, separators=(",", ":")))
            connection.execute("INSERT OR REPLACE INTO fact VALUES (?, ?, ?)", row)


def replace_facts(connection: sqlite3.Connection, facts: Sequence[Fact]) -> None:
    """From now on the file has these facts and no others."""
    connection.execute("DELETE FROM fact")
    put_facts(connection, facts)


def read_facts(connection: sqlite3.Connection) -> list[Fact]:
    """Every fact whose value is valid JSON."""
    facts = []
    for kind, name, text in connection.execute("SELECT kind, name, value FROM fact"):
        try:
            facts.append(Fact(kind, name, json.loads(text)))
        except ValueError:
            continue
    return facts
