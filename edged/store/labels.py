"""Reads and writes labels in edged.db, also while edged writes to it. For one-shot commands."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edged.core.kept_frames import Label, LabelTask
from edged.store import frame_rows as rows
from edged.store.file import read_only, read_write, transaction
from edged.store.history import opened


class StoredLabels:
    """In an open file. Every method raises sqlite3.Error; see `open_labels`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def labels(self) -> list[Label]:
        """All, in the order in which they were given."""
        return list(rows.labels(self._connection))

    def task(self, frame: str) -> LabelTask | None:
        """The frame of this name with its labels; None if it is not kept."""
        return rows.task(self._connection, frame)

    def put(self, labels: Sequence[Label]) -> None:
        """Write all of them or none. Each replaces an earlier one of its answer."""
        with transaction(self._connection):
            for label in labels:
                rows.put_label(self._connection, label)


@contextmanager
def open_labels(path: Path, to_write: bool = False) -> Iterator[StoredLabels]:
    """The labels in this file, inside the block. Raises HistoryUnreadable or StoreTooNew, also later."""
    with opened(path, read_write if to_write else read_only) as connection:
        yield StoredLabels(connection)
