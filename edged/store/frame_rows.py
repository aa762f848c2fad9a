"""Kept frames, their answers and labels as rows. Every function is for one connection and raises sqlite3.Error."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from typing import Any

from edged.core.kept_frames import FILE_NAME, KEEP_REASONS, KeptAnswer, KeptFrame, Label, LabelProgress, LabelTask

BATCH = 500  # frames that are deleted in one transaction: answers wait no longer

_UNLABELLED = """
EXISTS (SELECT 1 FROM frame_answer AS answer WHERE answer.frame = frame.id AND answer.asked AND NOT EXISTS
    (SELECT 1 FROM label WHERE label.frame = frame.name AND label.question = answer.question))
"""
_HAS_LABEL = "EXISTS (SELECT 1 FROM label WHERE label.frame = frame.name AND label.verdict != 'skip')"
_COUNT = "SELECT count(*) FROM frame"
_NAMES = "SELECT name FROM frame"
_SIZES = "SELECT name, size FROM frame"
_FRAME = "SELECT id, name, camera, ts, sha256, config_rev, why FROM frame"
_LABEL = "SELECT frame, camera, question, truth, verdict, ts FROM label"


@dataclass(frozen=True, slots=True)
class Room:
    """The names of frames that were deleted, and if one of them had a label."""

    gone: list[str]
    had_label: bool

    @property
    def may_go_on(self) -> bool:
        """True if more may have to go."""
        return len(self.gone) >= BATCH


def insert(connection: sqlite3.Connection, frame: KeptFrame, size: int) -> None:
    """A frame that is there already gets the answers that it does not have."""
    why = KEEP_REASONS.index(frame.why)
    connection.execute(
        "INSERT INTO frame (name, camera, ts, sha256, config_rev, why, size) VALUES (?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (name) DO UPDATE SET why = min(why, excluded.why)",
        (frame.name, frame.camera, frame.ts, frame.sha256, frame.config_rev, why, size),
    )
    [key] = connection.execute("SELECT id FROM frame WHERE name = ?", (frame.name,)).fetchone()
    rows = [
        (key, answer.question, place, answer.asked, json.dumps(answer.to_json()))
        for place, answer in enumerate(frame.answers)
    ]
    connection.executemany("INSERT OR IGNORE INTO frame_answer VALUES (?, ?, ?, ?, ?)", rows)


def next_unlabelled(connection: sqlite3.Connection) -> LabelTask | None:
    return _task(connection, f"{_FRAME} WHERE {_UNLABELLED} ORDER BY why, id LIMIT 1")


def task(connection: sqlite3.Connection, name: str) -> LabelTask | None:
    """The frame of this name; None if there is none, also for a text that cannot be a name."""
    if not FILE_NAME.fullmatch(name):
        return None
    return _task(connection, f"{_FRAME} WHERE name = ?", name)


def progress(connection: sqlite3.Connection) -> LabelProgress:
    [kept] = connection.execute(_COUNT).fetchone()
    [unlabelled] = connection.execute(f"{_COUNT} WHERE {_UNLABELLED}").fetchone()
    [labels] = connection.execute("SELECT count(*) FROM label").fetchone()
    return LabelProgress(kept, kept - unlabelled, labels)


def put_label(connection: sqlite3.Connection, label: Label) -> None:
    truth = None if label.truth is None else json.dumps(label.truth)
    row = (label.frame, label.camera, label.question, truth, label.verdict, label.ts)
    connection.execute(
        "INSERT OR REPLACE INTO label (frame, camera, question, truth, verdict, ts) VALUES (?, ?, ?, ?, ?, ?)", row
    )


def take_back_label(connection: sqlite3.Connection) -> Label | None:
    """Delete the label that was put last."""
    row = connection.execute(f"{_LABEL} ORDER BY id DESC LIMIT 1").fetchone()
    connection.execute("DELETE FROM label WHERE id = (SELECT max(id) FROM label)")
    return _label(row) if row else None


def labels(connection: sqlite3.Connection) -> Iterator[Label]:
    """All, in the order in which they were given."""
    yield from map(_label, connection.execute(f"{_LABEL} ORDER BY id"))


def make_room(connection: sqlite3.Connection, limit: int) -> Room:
    """Delete the oldest frames until all files have `limit` bytes at most, but BATCH at most: unlabelled ones first.

    Labels stay. A label `skip` does not count.
    """
    [size] = connection.execute("SELECT total(size) FROM frame").fetchone()
    unlabelled, size = _oldest(connection, f"NOT {_HAS_LABEL}", size, limit)
    labelled = [] if len(unlabelled) == BATCH else _oldest(connection, _HAS_LABEL, size, limit)[0]
    _delete(connection, [*unlabelled, *labelled])
    return Room([*unlabelled, *labelled], bool(labelled))


def drop_unlabelled(connection: sqlite3.Connection) -> Room:
    """Delete frames without a label, BATCH at most."""
    gone = [name for (name,) in connection.execute(f"{_NAMES} WHERE NOT {_HAS_LABEL} LIMIT {BATCH}")]
    _delete(connection, gone)
    return Room(gone, False)


def delete_unlabelled(connection: sqlite3.Connection, frames: Set[str]) -> None:
    """Delete these frames, but not those with a label."""
    if frames:
        _delete(connection, frames & names(connection, f"NOT {_HAS_LABEL}"))


def names(connection: sqlite3.Connection, where: str = "true") -> set[str]:
    return {name for (name,) in connection.execute(f"{_NAMES} WHERE {where}")}


def _delete(connection: sqlite3.Connection, frames: Iterable[str]) -> None:
    rows = [(name,) for name in frames]
    connection.executemany("DELETE FROM frame_answer WHERE frame = (SELECT id FROM frame WHERE name = ?)", rows)
    connection.executemany("DELETE FROM frame WHERE name = ?", rows)


def _oldest(connection: sqlite3.Connection, where: str, size: float, limit: int) -> tuple[list[str], float]:
    """The oldest of these frames that have to go, and the size without them."""
    gone: list[str] = []
    if size > limit:
        for name, bytes_ in connection.execute(f"{_SIZES} WHERE {where} ORDER BY id"):
            gone.append(name)
            size -= bytes_
            if size <= limit or len(gone) == BATCH:
                break
    return gone, size


def _task(connection: sqlite3.Connection, select: str, *values: str) -> LabelTask | None:
    row = connection.execute(select, values).fetchone()
    if row is None:
        return None
    key, name, camera, ts, sha256, config_rev, why = row
    answers = connection.execute("SELECT answer FROM frame_answer WHERE frame = ? ORDER BY place, question", (key,))
    kept = tuple(KeptAnswer(**json.loads(text)) for (text,) in answers)
    given = tuple(map(_label, connection.execute(f"{_LABEL} WHERE frame = ? ORDER BY id", (name,))))
    return LabelTask(KeptFrame(name, camera, ts, sha256, config_rev, KEEP_REASONS[why], kept), given)


def _label(row: tuple[Any, ...]) -> Label:
    frame, camera, question, truth, verdict, ts = row
    return Label(frame, camera, question, None if truth is None else json.loads(truth), verdict, ts)
