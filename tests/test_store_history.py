"""The history is read from a file that edged writes to, has left behind, or has damaged; and where it is looked for."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.account import unprivileged
from support.broker import an_answer, until
from support.history import NOW, Row, add, answered, database

from edged.core.errors import EXIT_CONFIG, EXIT_WRONG, EdgedError
from edged.core.payloads import answer_payload, encode
from edged.core.types import StoredMessage
from edged.store import file as store_file
from edged.store import history
from edged.store.history import HistoryUnreadable, find_file, open_history
from edged.store.schema import VERSION
from edged.store.store import DiskStore

HOUR_S = 3600.0
EVER = 0.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "edged.db"


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    """As a running edged has it: in use, with a write-ahead log."""
    opened = database(path)
    yield opened
    opened.close()


def values(path: Path, since: float = EVER, camera: str = "", question: str = "", now: float = NOW) -> list[object]:
    with open_history(path) as opened:
        chosen = [each for each in opened.series() if not camera or (each.camera, each.question) == (camera, question)]
        return [json.loads(payload)["value"] for _, payload in opened.answers(chosen, since, now)]


def problem(path: Path) -> str:
    with pytest.raises(EdgedError) as raised, open_history(path) as opened:
        list(opened.answers(opened.series(), EVER, NOW))
    assert raised.value.code in (EXIT_WRONG, EXIT_CONFIG)
    return str(raised.value).replace(str(path), "PATH")


def test_answers_come_oldest_first_without_the_events(path: Path, connection: sqlite3.Connection):
    event = Row(NOW, question=None, payload=b'{"value":"event"}')
    add(connection, [answered(NOW - 3, 1), answered(NOW - 2, 2, question="cars"), event, answered(NOW, 3)])
    assert values(path) == [1, 2, 3]
    assert values(path, camera="dock", question="people") == [1, 3]
    with open_history(path) as opened:
        assert [(each.camera, each.question) for each in opened.series()] == [("dock", "cars"), ("dock", "people")]
        assert list(opened.answers([], EVER, NOW)) == []


def test_answers_before_the_period_are_left_out(path: Path, connection: sqlite3.Connection):
    add(connection, [answered(NOW - 2 * HOUR_S, 1), answered(NOW - HOUR_S, 2), answered(NOW, 3)])
    assert values(path, since=NOW - HOUR_S) == [2, 3]
    assert values(path, since=NOW + 1) == []


def test_a_stamp_of_an_unsynchronised_clock_hides_no_answer_of_the_period(path: Path, connection: sqlite3.Connection):
    lost = replace(answered(1.0, 3), synced=False)
    add(connection, [answered(NOW - 2 * HOUR_S, 1), answered(NOW - 60, 2), lost, answered(NOW, 4)])
    assert values(path, since=NOW - HOUR_S) == [2, 3, 4]


def test_a_stamp_of_the_future_brings_no_answers_before_the_period(path: Path, connection: sqlite3.Connection):
    add(connection, [answered(NOW + 9 * HOUR_S, 1), answered(NOW - 9 * HOUR_S, 2), answered(NOW, 3)])
    assert values(path, since=NOW - HOUR_S) == [3]


@pytest.mark.parametrize("question", ["", "people"])
def test_more_answers_than_are_read_at_once(path: Path, connection: sqlite3.Connection, question: str):
    expected = list(range(2 * history.GROUP + 1))
    add(connection, (answered(NOW, number) for number in expected))
    assert values(path, camera=question and "dock", question=question) == expected


def test_edged_can_shorten_its_log_while_a_reader_waits(path: Path, connection: sqlite3.Connection):
    add(connection, (answered(NOW, number) for number in range(3 * history.GROUP)))
    with open_history(path) as opened:
        reading = opened.answers(opened.series(), EVER, NOW)
        next(reading)
        blocked, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        connection.execute("DELETE FROM message WHERE number <= ?", (2 * history.GROUP,))
        rest = [json.loads(payload)["value"] for _, payload in reading]
    assert blocked == 0
    assert rest == [*range(1, history.GROUP), *range(2 * history.GROUP, 3 * history.GROUP)]


def test_nothing_can_be_written(path: Path, connection: sqlite3.Connection):
    with open_history(path) as opened, pytest.raises(sqlite3.OperationalError, match="readonly"):
        opened._connection.execute("DELETE FROM series")


def test_a_file_that_edged_has_closed_can_be_read(path: Path):
    writing = database(path)
    add(writing, [answered(NOW, 1)])
    writing.close()
    assert values(path) == [1]


def test_a_file_that_a_killed_edged_left_can_be_read(path: Path):
    program = (
        "import os, pathlib, sys; from support.history import *; connection = database(pathlib.Path(sys.argv[1])); "
        "add(connection, [answered(NOW, 7)]); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", program, path], env=os.environ | IMPORTS, timeout=180)
    assert killed.returncode == -signal.SIGKILL
    assert path.with_name("edged.db-wal").stat().st_size > 0
    assert values(path) == [7]


IMPORTS = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), str(Path(__file__).parent)])}


def test_answers_of_a_real_store_are_read_while_it_is_open(tmp_path: Path):
    store = DiskStore(tmp_path / "state" / "edged.db", lambda: True)
    store.open()
    try:
        payload = encode(answer_payload(an_answer("a"), "box", late=False))
        message = StoredMessage(store.next_number(), "t", "dock", "people", payload, len(payload), 0.0, 1e9, False)
        written: list[bool] = []
        store.write([message], [], written.append)
        until(lambda: written)
        assert written == [True]
        with open_history(tmp_path / "state" / "edged.db") as opened:
            [(series, stored)] = opened.answers(opened.series(), EVER, 1e11)
        assert (series.camera, series.question, stored) == ("dock", "people", payload)
    finally:
        store.close()


# What cannot be read


def test_a_file_that_does_not_exist(path: Path):
    assert problem(path) == "PATH cannot be read: no such file or directory"
    assert not path.exists()


def test_a_folder_or_a_fifo_is_not_a_file(path: Path):
    os.mkfifo(path)
    assert problem(path) == "PATH is not a regular file"
    assert problem(path.parent).endswith(" is not a regular file")


def test_a_damaged_file(path: Path):
    path.write_bytes(b"not a database" * 100)
    assert problem(path) == (
        "PATH is damaged, or is not an edged.db (file is not a database); "
        "edged sets its own file aside and begins a new one when it starts"
    )


def test_a_file_that_is_damaged_further_on(path: Path):
    writing = database(path)
    add(writing, (answered(NOW, number) for number in range(5000)))
    writing.close()
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * 65536)
    assert problem(path).startswith("PATH is damaged, or is not an edged.db (database disk image is malformed)")


def test_a_file_of_a_newer_edged(path: Path, connection: sqlite3.Connection):
    connection.execute("PRAGMA user_version = 99")
    assert problem(path) == f"PATH was written by a newer edged (version 99 of its tables, {VERSION} here)"


def test_an_empty_file(path: Path):
    path.touch()
    assert problem(path) == (
        f"PATH has tables of version 0, not {VERSION}, or is not an edged.db; "
        "edged brings its own file up to date when it starts"
    )


def test_a_locked_file(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store_file, "BUSY_S", 0.1)
    locking = sqlite3.connect(path, isolation_level=None)
    locking.execute("PRAGMA locking_mode = EXCLUSIVE")
    locking.execute("CREATE TABLE x (x)")
    assert problem(path) == "PATH is locked by another program"
    locking.close()


def test_a_file_that_belongs_to_another_account():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "edged.db"
        database(path).close()
        path.chmod(0o000)
        with unprivileged():
            assert problem(path) == ("PATH cannot be read: permission denied; use the account of edged, or root (sudo)")
        path.chmod(0o644)
        Path(folder).chmod(0o555)
        with unprivileged():
            assert problem(path) == (
                "PATH cannot be opened: SQLite must be able to create files beside it; copy it to a folder of your own"
            )
        Path(folder).chmod(0o755)


# Where it is looked for


def test_the_state_directory_comes_first_and_alone(tmp_path: Path):
    service = tmp_path / "edged.db"
    service.write_bytes(b"x")
    environment = {"STATE_DIRECTORY": f"{tmp_path}/a:{tmp_path}/b"}
    with pytest.raises(HistoryUnreadable) as raised:
        find_file("box", environment, service)
    assert str(raised.value) == f"no stored answers: {tmp_path}/a/edged.db does not exist"


def test_a_user_beside_the_service_finds_its_file(tmp_path: Path):
    environment = {"XDG_STATE_HOME": str(tmp_path / "home")}
    own, service = tmp_path / "home/edged/box/edged.db", tmp_path / "lib/edged.db"
    with pytest.raises(HistoryUnreadable) as raised:
        find_file("box", environment, service)
    assert str(raised.value) == f"no stored answers: neither {own} nor {service} exists"
    service.parent.mkdir()
    service.write_bytes(b"x")
    assert find_file("box", environment, service) == service


def test_of_two_files_the_one_that_was_written_last_is_read(tmp_path: Path):
    environment = {"XDG_STATE_HOME": str(tmp_path / "home")}
    own, service = tmp_path / "home/edged/box/edged.db", tmp_path / "lib/edged.db"
    for number, file in enumerate([own, service]):
        file.parent.mkdir(parents=True)
        file.write_bytes(b"x")
        os.utime(file, (number, number))
    assert find_file("box", environment, service) == service
    log = own.with_name("edged.db-wal")
    log.touch()  # a reader has created it
    assert find_file("box", environment, service) == service
    log.write_bytes(b"x")
    assert find_file("box", environment, service) == own
