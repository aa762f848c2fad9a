"""The tables of edged.db, and how a file of an older edged is brought up to date."""

from __future__ import annotations

import sqlite3

from edged.core.errors import EXIT_CONFIG, EdgedError

VERSION = 3

# Version 1.
#
# message: answers and events, in the order in which they were made. One row is history and outbox at once: it waits
#   until the broker has acknowledged it, and is kept for `history` afterwards. `payload` is the JSON as it is sent;
#   `late` says that it has "late": true. `ts` is the wall clock, `synced` is 1 if that could be trusted. The row
#   expires at `until_ts` (wall) or, within the boot `boot`, at `until_mono`; NULL: never.
# series: what a message belongs to; `question` is NULL for the events of a camera.
# fact: see core.types.Fact. The value is JSON.
TABLES = """
CREATE TABLE series (
    id INTEGER PRIMARY KEY,
    topic TEXT NOT NULL UNIQUE,
    camera TEXT NOT NULL,
    question TEXT
);
CREATE TABLE message (
    number INTEGER PRIMARY KEY,
    series INTEGER NOT NULL REFERENCES series (id),
    ts REAL NOT NULL,
    synced INTEGER NOT NULL,
    boot INTEGER NOT NULL,
    until_mono REAL,
    until_ts REAL,
    late INTEGER NOT NULL,
    waiting INTEGER NOT NULL,
    payload BLOB NOT NULL
);
CREATE INDEX message_series ON message (series, number);
CREATE INDEX message_waiting ON message (number) WHERE waiting;
CREATE TABLE boot (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);
CREATE TABLE fact (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (kind, name)
) WITHOUT ROWID;
"""

# Version 2. `look` is shared by the messages of one look; NULL for those of an older edged.
ADD_LOOK = "ALTER TABLE message ADD COLUMN look TEXT;"

# Version 3.
#
# frame: the pictures in the folder `frames`; `name` is the file, `size` its bytes, `why` the index in KEEP_REASONS.
# frame_answer: the answers of its look, as JSON, in the order `place`; `asked` is 0 for those that need no label.
# label: what people say about answers; see core.kept_frames.Label. A label stays if its frame is deleted. The truth is
#   JSON, NULL if it is not known.
ADD_FRAMES = """
CREATE TABLE frame (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    camera TEXT NOT NULL,
    ts REAL NOT NULL,
    sha256 TEXT NOT NULL,
    config_rev TEXT NOT NULL,
    why INTEGER NOT NULL,
    size INTEGER NOT NULL
);
CREATE INDEX frame_why ON frame (why);
CREATE TABLE frame_answer (
    frame INTEGER NOT NULL REFERENCES frame (id),
    question TEXT NOT NULL,
    place INTEGER NOT NULL,
    asked INTEGER NOT NULL,
    answer TEXT NOT NULL,
    PRIMARY KEY (frame, question)
) WITHOUT ROWID;
CREATE TABLE label (
    id INTEGER PRIMARY KEY,
    frame TEXT NOT NULL,
    camera TEXT NOT NULL,
    question TEXT NOT NULL,
    truth TEXT,
    verdict TEXT NOT NULL,
    ts REAL NOT NULL,
    UNIQUE (frame, question)
);
"""

# What brings a file from version n to n + 1, by n.
MIGRATIONS: dict[int, str] = {0: TABLES, 1: ADD_LOOK, 2: ADD_FRAMES}


class StoreTooNew(EdgedError):
    """The file was written by a newer edged, whose tables this one does not know."""

    code = EXIT_CONFIG


def known_version(connection: sqlite3.Connection, shown: str) -> int:
    """The version of the file's tables; 0 if it is empty. Raises StoreTooNew, sqlite3.Error."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise StoreTooNew(f"{shown} was written by a newer edged (version {version} of its tables, {VERSION} here)")
    return version


def migrate(connection: sqlite3.Connection, shown: str) -> None:
    """Bring the file to VERSION, each step in a transaction of its own. Raises StoreTooNew, sqlite3.Error."""
    for step in range(known_version(connection, shown), VERSION):
        connection.executescript(f"BEGIN IMMEDIATE; {MIGRATIONS[step]} PRAGMA user_version = {step + 1}; COMMIT;")
