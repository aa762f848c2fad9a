"""The thread that writes to the store: what it does when the disk, SQLite or its own callers fail."""

from __future__ import annotations

import logging
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest
from support.broker import until

from edged.store import writer
from edged.store.file import StateFile, StoreInUse
from edged.store.writer import Operation, Writer


def error(code: int, text: str = "of SQLite") -> sqlite3.OperationalError:
    """As sqlite3 raises it."""
    made = sqlite3.OperationalError(text)
    made.sqlite_errorcode = code
    return made


def insert(number: int) -> Callable[[sqlite3.Connection], None]:
    def write(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO written VALUES (?)", (number,))

    return write


def raising(problem: BaseException) -> Callable[[sqlite3.Connection], None]:
    def write(_: sqlite3.Connection) -> None:
        raise problem

    return write


def raising_once(problem: BaseException) -> Callable[[sqlite3.Connection], None]:
    problems = [problem]

    def write(_: sqlite3.Connection) -> None:
        if problems:
            raise problems.pop()

    return write


class Disk:
    """It is full until that is changed."""

    full = True

    def insert(self, number: int) -> Callable[[sqlite3.Connection], None]:
        def write(connection: sqlite3.Connection) -> None:
            if self.full:
                raise error(sqlite3.SQLITE_FULL)
            insert(number)(connection)

        return write


class Fixture:
    """A writer whose table is `written`. `clean` may be replaced."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clean: Callable[[sqlite3.Connection], bool | None] = lambda _: None
        self.opened: Callable[[sqlite3.Connection], None] = lambda _: None
        self.writer = Writer(StateFile(path), self._opened, lambda _: None, self._clean)

    def _clean(self, connection: sqlite3.Connection) -> bool:
        return bool(self.clean(connection))

    def _opened(self, connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE IF NOT EXISTS written (number)")
        self.opened(connection)

    def write(self, operation: Callable[[sqlite3.Connection], None]) -> bool:
        """Write this, and wait for the outcome."""
        outcomes = SimpleQueue[bool]()
        self.writer.submit(Operation(operation, outcomes.put))
        return outcomes.get(timeout=20)

    def rows(self) -> list[int]:
        with sqlite3.connect(self.path) as connection:
            return [number for (number,) in connection.execute("SELECT number FROM written ORDER BY rowid")]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Fixture]:
    made = Fixture(tmp_path / "edged.db")
    yield made
    assert made.writer.close(20)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is tried again with each write, and old rows are deleted after each."""
    monkeypatch.setattr(writer, "RETRY_S", 0.0)
    monkeypatch.setattr(writer, "CLEAN_S", 0.0)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("edged")]


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (error(sqlite3.SQLITE_FULL), "disk full"),
        (error(sqlite3.SQLITE_IOERR_FSYNC), "I/O error"),
        (error(sqlite3.SQLITE_BUSY), "locked by another program"),
        (error(sqlite3.SQLITE_ERROR, "no such table: x"), "no such table: x"),
        (OSError(28, "No space left on device"), "no space left on device"),
    ],
)
@pytest.mark.usefixtures("at_once")
def test_what_cannot_be_written_is_kept_and_written_in_order_with_what_follows(
    store: Fixture, caplog: pytest.LogCaptureFixture, problem: Exception, reason: str
) -> None:
    caplog.set_level(logging.INFO)
    problems = [problem]

    def fails_once(connection: sqlite3.Connection) -> None:
        if problems:
            raise problems.pop()
        insert(1)(connection)

    store.writer.start()
    assert not store.write(fails_once)
    assert not store.writer.working
    assert store.write(insert(2))
    assert store.writer.working
    assert store.rows() == [1, 2]
    begin, end = lines(caplog)
    assert begin == f"store: {store.path}: {reason}; answers are kept in memory until it can be written"
    assert end.startswith("store: writing again after ")


def test_an_unexpected_error_of_one_write_is_logged_and_the_next_is_written(
    store: Fixture, caplog: pytest.LogCaptureFixture
) -> None:
    store.writer.start()
    assert not store.write(raising(ValueError("a defect")))
    assert not store.write(raising(sqlite3.ProgrammingError("a defect in SQL")))
    assert store.write(insert(1))
    assert store.rows() == [1]
    reasons = ["ValueError('a defect')", "ProgrammingError('a defect in SQL')"]
    assert lines(caplog) == [f"store: unexpected error: {reason}" for reason in reasons]
    assert all(record.exc_info for record in caplog.records)


def test_an_unexpected_error_that_lasts_is_logged_once_and_what_it_loses_is_counted(
    store: Fixture, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    store.writer.start()
    for _ in range(3):
        assert not store.write(raising(ValueError("a defect")))
    assert store.write(insert(1))
    begin, end = lines(caplog)
    assert begin == "store: unexpected error: ValueError('a defect')"
    assert re.fullmatch(r"store: no more unexpected errors after \S+ s \(3 errors\)", end)
    assert store.writer.lost == 3


@pytest.mark.usefixtures("at_once")
def test_a_write_with_an_unexpected_error_does_not_hold_up_those_that_wait_for_the_disk(store: Fixture) -> None:
    problems = [ValueError("a defect"), error(sqlite3.SQLITE_FULL)]

    def fails_twice(_: sqlite3.Connection) -> None:
        raise problems.pop()

    store.writer.start()
    assert not store.write(fails_twice)
    assert store.write(insert(1))
    assert store.write(insert(2))
    assert store.rows() == [1, 2]
    assert store.writer.lost == 1


@pytest.mark.usefixtures("at_once")
def test_a_write_with_an_unexpected_error_takes_none_of_those_along_that_wait_with_it(store: Fixture) -> None:
    disk = Disk()
    store.writer.start()
    for number in range(5):
        assert not store.write(disk.insert(number))
    assert not store.write(raising(ValueError("a defect")))
    assert not store.write(disk.insert(5))
    disk.full = False
    assert store.write(disk.insert(6))
    assert store.rows() == list(range(7))
    assert store.writer.lost == 1


def test_an_unexpected_error_of_the_one_who_is_told_ends_nothing(
    store: Fixture, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: bool) -> None:
        raise ValueError("a defect")

    store.writer.start()
    store.writer.submit(Operation(insert(1), fails))
    assert store.write(insert(2))
    assert store.rows() == [1, 2]
    assert lines(caplog) == ["unexpected error after a write"]


def test_an_unexpected_error_at_the_start_is_logged_and_the_first_write_opens_the_file(
    store: Fixture, caplog: pytest.LogCaptureFixture
) -> None:
    store.opened = raising_once(ValueError("a defect"))
    store.writer.start()
    assert lines(caplog) == ["store: unexpected error: ValueError('a defect')"]
    assert store.write(insert(1))
    assert store.rows() == [1]


@pytest.mark.usefixtures("at_once")
def test_old_rows_that_cannot_be_deleted_are_an_outage(store: Fixture, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    store.clean = raising_once(error(sqlite3.SQLITE_READONLY))
    store.writer.start()
    assert store.write(insert(1))
    until(lambda: lines(caplog))
    assert lines(caplog)[0] == f"store: {store.path}: read-only; answers are kept in memory until it can be written"
    assert store.write(insert(2))
    assert store.rows() == [1, 2]


@pytest.mark.usefixtures("at_once")
def test_a_file_that_is_damaged_at_each_write_is_set_aside_once_a_minute(
    store: Fixture, caplog: pytest.LogCaptureFixture
) -> None:
    store.writer.start()
    damaged = raising(error(sqlite3.SQLITE_CORRUPT, "malformed"))
    assert not store.write(damaged)
    assert not store.write(damaged)
    until(lambda: len(lines(caplog)) == 2)
    aside, again = lines(caplog)
    assert aside.startswith(f"store: {store.path} is damaged (malformed); renamed to edged.db.damaged-")
    assert again == (
        f"store: {store.path}: damaged again (malformed); answers are kept in memory until it can be written"
    )
    assert len([path for path in store.path.parent.iterdir() if path.name.startswith("edged.db.damaged-")]) == 1


@pytest.mark.usefixtures("at_once")
def test_damage_that_shows_while_old_rows_are_deleted_replaces_the_file(
    store: Fixture, caplog: pytest.LogCaptureFixture
) -> None:
    store.clean = raising_once(error(sqlite3.SQLITE_CORRUPT, "malformed"))
    store.writer.start()
    assert store.write(insert(1))
    until(lambda: lines(caplog))
    assert "is damaged (malformed); renamed to" in lines(caplog)[0]
    assert store.write(insert(2))
    assert store.rows() == [2]


@pytest.mark.usefixtures("at_once")
def test_damage_that_shows_when_the_file_is_opened_again_replaces_it(
    store: Fixture, caplog: pytest.LogCaptureFixture
) -> None:
    """A card that dies gives I/O errors first, which close the file. Then its pages are damaged, and not its header."""
    store.writer.start()
    assert store.write(insert(1))
    store.opened = raising_once(error(sqlite3.SQLITE_CORRUPT, "malformed"))
    assert not store.write(raising_once(error(sqlite3.SQLITE_IOERR)))
    assert not store.write(insert(2))
    assert store.write(insert(3))
    assert "is damaged (malformed); renamed to" in lines(caplog)[1]
    assert store.rows() == [2, 3]


@pytest.mark.usefixtures("at_once")
def test_a_deletion_that_leaves_rows_goes_on_soon(store: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "LEAST_CLEAN_S", 0.01)
    calls: list[sqlite3.Connection] = []

    def clean(connection: sqlite3.Connection) -> bool:
        monkeypatch.setattr(writer, "CLEAN_S", 3600.0)
        calls.append(connection)
        return len(calls) < 4

    store.clean = clean
    store.writer.start()
    until(lambda: store.write(insert(1)) and len(calls) == 4)
    assert store.write(insert(2))
    assert len(calls) == 4


@pytest.mark.usefixtures("at_once")
def test_a_damaged_file_that_cannot_be_renamed_is_an_outage(
    store: Fixture, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    store.writer.start()
    monkeypatch.setattr(Path, "rename", refuses)  # as for a file that is immutable; root may rename any other
    assert not store.write(raising(error(sqlite3.SQLITE_CORRUPT)))
    until(lambda: lines(caplog))
    assert lines(caplog) == [
        f"store: {store.path}: operation not permitted; answers are kept in memory until it can be written"
    ]


@pytest.mark.usefixtures("at_once")
def test_a_file_that_another_edged_has_taken_meanwhile_is_an_outage_like_others(
    store: Fixture, caplog: pytest.LogCaptureFixture
) -> None:
    store.writer.start()
    assert store.write(insert(1))
    store.path.rename(store.path.with_name("moved.db"))
    store.path.with_name("edged.db.lock").unlink()
    other = StateFile(store.path)
    other.lock()
    until(lambda: any("was removed or replaced" in line for line in lines(caplog)))
    assert not store.write(insert(2))
    assert lines(caplog)[-1] == (
        f"store: {store.path}: another edged uses {store.path}; give each its own STATE_DIRECTORY or node; "
        "answers are kept in memory until it can be written"
    )
    other.unlock()
    assert store.write(insert(3))
    assert store.rows() == [2, 3]


@pytest.mark.usefixtures("at_once")
def test_a_file_that_turns_out_to_be_somebody_elses_after_a_long_opening_is_an_outage(
    store: Fixture, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "OPEN_S", 0.05)
    opening, problems = threading.Event(), [StoreInUse("another edged uses it")]

    def opened(_: sqlite3.Connection) -> None:
        opening.wait(20)
        if problems:
            raise problems.pop()

    store.opened = opened
    store.writer.start()
    opening.set()
    until(lambda: lines(caplog))
    assert lines(caplog) == [
        f"store: {store.path}: another edged uses it; answers are kept in memory until it can be written"
    ]
    assert store.write(insert(1))
    assert store.rows() == [1]


def test_what_is_submitted_while_the_writer_closes_is_told_that_it_is_not_written(tmp_path: Path) -> None:
    store = Fixture(tmp_path / "edged.db")
    store.writer.start()
    assert store.write(insert(1))
    assert store.writer.close(20)
    assert not store.write(insert(2))
    assert store.rows() == [1]


def test_the_backlog_is_bounded_and_loses_the_oldest(store: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "BACKLOG_LIMIT", 2)
    monkeypatch.setattr(writer, "RETRY_S", 0.0)
    disk = Disk()
    store.writer.start()
    for number in range(4):
        assert not store.write(disk.insert(number))
    assert store.writer.lost == 2
    disk.full = False
    assert store.write(disk.insert(4))
    assert store.rows() == [2, 3, 4]


def test_what_the_disk_could_not_take_is_written_at_the_end_if_the_disk_works_again(store: Fixture) -> None:
    problems = [error(sqlite3.SQLITE_FULL)]

    def fails_once(connection: sqlite3.Connection) -> None:
        if problems:
            raise problems.pop()
        insert(1)(connection)

    store.writer.start()
    assert not store.write(fails_once)  # the next try is seconds away
    assert store.writer.close(20)
    assert store.rows() == [1]
    assert store.writer.lost == 0


def test_what_the_disk_does_not_take_at_the_end_either_is_counted_and_logged(
    store: Fixture, caplog: pytest.LogCaptureFixture
) -> None:
    store.writer.start()
    full = raising(error(sqlite3.SQLITE_FULL))
    assert not store.write(full)
    assert not store.write(full)
    assert store.writer.close(20)
    assert lines(caplog)[1:] == [f"store: {store.path} could not be written before edged stopped; 2 writes lost"]
    assert store.writer.lost == 2


def test_what_was_submitted_before_a_start_that_failed_is_told_that_it_is_not_written(tmp_path: Path) -> None:
    store, other = Fixture(tmp_path / "edged.db"), StateFile(tmp_path / "edged.db")
    other.lock()
    outcomes = SimpleQueue[bool]()
    store.writer.submit(Operation(insert(1), outcomes.put))
    with pytest.raises(StoreInUse, match=f"^another edged uses {store.path}"):
        store.writer.start()
    assert outcomes.get(timeout=20) is False
    assert store.writer.close(20)
    other.unlock()
