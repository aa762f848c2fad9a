"""Files of the store with a history in them, written by the schema directly: no edged has to run for days."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edged.core.payloads import answer_payload, encode
from edged.core.types import Answer
from edged.store.schema import migrate
from support.broker import an_answer

NOW = 1785312000.0  # 2026-07-29 08:00 UTC


@dataclass(frozen=True)
class Row:
    """A message to store. `question` None: an event of the camera."""

    ts: float = NOW
    camera: str = "dock"
    question: str | None = "people"
    payload: bytes = b"{}"
    node: str = "box"
    synced: bool = True
    waiting: bool = False


def database(path: Path) -> sqlite3.Connection:
    """A new store's file, open for writing as edged opens it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    migrate(connection, str(path))
    return connection


def add(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Store the rows with the numbers that follow, in one transaction."""
    connection.execute("BEGIN")
    for row in rows:
        topic = f"edged/{row.node}/{row.camera}/{row.question or 'event'}"
        key = (topic, row.camera, row.question)
        connection.execute("INSERT OR IGNORE INTO series (topic, camera, question) VALUES (?, ?, ?)", key)
        connection.execute(
            "INSERT INTO message (series, ts, synced, boot, late, waiting, payload) "
            "VALUES ((SELECT id FROM series WHERE topic = ?), ?, ?, 1, 0, ?, ?)",
            (topic, row.ts, row.synced, row.waiting, row.payload),
        )
    connection.execute("COMMIT")


def answered(ts: float, value: Any, kind: str = "integer", camera: str = "dock", question: str = "people") -> Row:
    """An answer with this value at this time."""
    return row_of(_answer(ts, camera, question, type=kind, value=value))


def refused(
    ts: float, status: str, kind: str = "integer", camera: str = "dock", question: str = "people", **more: Any
) -> Row:
    changes = {"value": None, "confidence": None, "reason": f"because of {status}", **more}
    return row_of(_answer(ts, camera, question, type=kind, status=status, **changes))


def row_of(answer: Answer) -> Row:
    payload = encode(answer_payload(answer, "box", late=False))
    return Row(answer.answered_ts, answer.camera, answer.question, payload, synced=answer.clock_synced)


def _answer(ts: float, camera: str, question: str, **changes: Any) -> Answer:
    return replace(an_answer(f"{camera}-{question}-{ts}", camera, question), answered_ts=ts, frame_ts=ts - 1, **changes)
