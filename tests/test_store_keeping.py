"""What is deleted from the history, and what never is."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.history import NOW, Row, add, database

from edged.store.keeping import BATCH, Cleaner, used_bytes

DAY_S = 86400.0
PLENTY = 10**12
PAYLOAD = b'{"x":"' + b"x" * 800 + b'"}'


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    opened = database(tmp_path / "edged.db")
    yield opened
    opened.close()


def clean(connection: sqlite3.Connection, keep_s: float = DAY_S, max_bytes: int = PLENTY, synced: bool = True) -> int:
    """In one call, however slow the machine is."""
    return Cleaner().clean(connection, keep_s, max_bytes, NOW, synced, budget_s=60.0)


def numbers(connection: sqlite3.Connection) -> list[int]:
    return [number for (number,) in connection.execute("SELECT number FROM message ORDER BY number")]


def count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM message").fetchone()[0])


def test_messages_older_than_the_time_are_deleted_and_younger_ones_kept(connection: sqlite3.Connection):
    add(connection, [Row(NOW - 3 * DAY_S), Row(NOW - DAY_S - 1), Row(NOW - DAY_S + 1), Row(NOW)])
    assert clean(connection) == 2
    assert numbers(connection) == [3, 4]


def test_the_newest_of_each_series_is_kept_whatever_its_age(connection: sqlite3.Connection):
    old = NOW - 9 * DAY_S
    add(connection, [Row(old, question=name) for name in ("a", "b", "a", "b", None, None)])
    assert clean(connection) == 3
    assert numbers(connection) == [3, 4, 6]


def test_messages_that_wait_for_the_broker_are_kept(connection: sqlite3.Connection):
    add(connection, [Row(NOW - 9 * DAY_S, waiting=True), Row(NOW - 9 * DAY_S), Row(NOW)])
    assert clean(connection) == 1
    assert clean(connection, keep_s=0) == 0
    assert clean(connection, max_bytes=1) == 0
    assert numbers(connection) == [1, 3]


def test_a_message_of_an_unsynchronised_clock_is_not_judged_by_its_age(connection: sqlite3.Connection):
    add(connection, [Row(NOW - 9 * DAY_S, synced=False), Row(NOW - 9 * DAY_S), Row(NOW)])
    assert clean(connection) == 1
    assert numbers(connection) == [1, 3]


def test_while_the_clock_is_not_synchronised_nothing_is_judged_by_its_age(connection: sqlite3.Connection):
    add(connection, [Row(NOW - 9 * DAY_S), Row(NOW)])
    assert clean(connection, synced=False) == 0


def test_without_a_history_only_the_newest_of_each_series_and_what_waits_is_kept(connection: sqlite3.Connection):
    add(connection, [Row(NOW), Row(NOW, synced=False), Row(NOW + DAY_S), Row(NOW, waiting=True), Row(NOW)])
    assert clean(connection, keep_s=0, synced=False) == 3
    assert numbers(connection) == [4, 5]


def test_one_wrong_stamp_of_the_future_does_not_keep_what_follows(connection: sqlite3.Connection):
    old = [Row(NOW - 9 * DAY_S) for _ in range(BATCH - 1)]
    add(connection, [*old, Row(NOW + 300 * DAY_S), *old, Row(NOW)])
    assert clean(connection) == 2 * len(old)
    assert numbers(connection) == [BATCH, 2 * BATCH]


def test_the_oldest_go_first_until_the_file_is_small_enough(connection: sqlite3.Connection):
    add(connection, (Row(NOW - 3000 + number, payload=PAYLOAD, synced=number % 2 == 0) for number in range(3000)))
    assert used_bytes(connection) > 2_500_000
    assert clean(connection, max_bytes=1_500_000, synced=False) > 0
    assert 1_000_000 < used_bytes(connection) < 1_500_000
    left = numbers(connection)
    assert left == list(range(left[0], 3001))


def test_the_file_does_not_grow_beyond_its_size(connection: sqlite3.Connection, tmp_path: Path):
    cleaner, limit = Cleaner(), 2_000_000
    sizes = []
    for minute in range(120):
        add(connection, (Row(NOW + minute * 60, payload=PAYLOAD) for _ in range(30)))  # 1.3 % of the limit
        cleaner.clean(connection, 30 * DAY_S, limit, NOW + minute * 60, True, budget_s=60.0)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        sizes.append((tmp_path / "edged.db").stat().st_size)
    assert 0.9 * limit < max(sizes) <= limit


def test_a_call_ends_when_its_time_is_up_and_the_next_one_goes_on(connection: sqlite3.Connection):
    add(connection, (Row(NOW - 9 * DAY_S) for _ in range(4 * BATCH)))
    cleaner, deleted, behind = Cleaner(), [], []
    for _ in range(5):
        deleted.append(cleaner.clean(connection, DAY_S, PLENTY, NOW, True, budget_s=0))
        behind.append(cleaner.behind)
    assert deleted == [BATCH, BATCH, BATCH, BATCH - 1, 0]
    assert behind == [True, True, True, True, False]


def test_a_call_that_has_nothing_to_delete_is_not_behind(connection: sqlite3.Connection):
    add(connection, (Row(NOW - 9 * DAY_S) for _ in range(2 * BATCH)))
    cleaner = Cleaner()
    assert cleaner.clean(connection, DAY_S, PLENTY, NOW, True, budget_s=0) == BATCH
    assert cleaner.behind
    cleaner.clean(connection, DAY_S, PLENTY, NOW, False)  # the clock is not synchronised any more
    assert not cleaner.behind


def test_messages_that_may_not_be_judged_are_passed_in_several_calls(connection: sqlite3.Connection):
    add(connection, (Row(0.0, synced=False) for _ in range(3 * BATCH)))
    add(connection, [Row(NOW - 9 * DAY_S), Row(NOW)])
    cleaner = Cleaner()
    deleted = [cleaner.clean(connection, DAY_S, PLENTY, NOW, True, budget_s=0) for _ in range(8)]
    assert deleted == [0, 0, 0, 1, 0, 0, 0, 0]
    assert not cleaner.behind


def test_a_message_that_was_acknowledged_later_is_deleted_by_a_later_walk(connection: sqlite3.Connection):
    add(connection, [Row(NOW - 9 * DAY_S, waiting=True), *(Row(NOW) for _ in range(2 * BATCH))])
    cleaner = Cleaner()
    assert cleaner.clean(connection, DAY_S, PLENTY, NOW, True) == 0
    connection.execute("UPDATE message SET waiting = 0 WHERE number = 1")
    assert cleaner.clean(connection, DAY_S, PLENTY, NOW, True) == 1


def test_what_is_too_much_is_deleted_also_if_the_walk_has_passed_it(connection: sqlite3.Connection):
    add(connection, (Row(0.0, synced=False, payload=PAYLOAD) for _ in range(4 * BATCH)))
    cleaner = Cleaner()
    assert cleaner.clean(connection, DAY_S, PLENTY, NOW, True, budget_s=0) == 0
    assert cleaner.clean(connection, DAY_S, used_bytes(connection) // 2, NOW, True) > 0
    assert numbers(connection)[0] > BATCH


def test_a_walk_writes_nothing_where_nothing_is_deleted(connection: sqlite3.Connection, tmp_path: Path):
    add(connection, (Row(NOW - number) for number in range(10)))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for _ in itertools.repeat(None, 3):
        assert clean(connection) == 0
    assert (tmp_path / "edged.db-wal").stat().st_size == 0
