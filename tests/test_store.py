"""The store on disk: what survives a restart, and what happens when the disk cannot be used."""

from __future__ import annotations

import logging
import math
import os
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.broker import until
from support.publishing import logged
from support.small_disk import SmallDisk, small_disk  # noqa: F401  # a fixture

from edged.core.errors import EXIT_CONFIG, EXIT_UNAVAILABLE, MessageUnreadable, StoreUnreadable
from edged.core.specs import HistorySpec
from edged.core.types import Fact, StoredMessage
from edged.store import file, moments, rows, writer
from edged.store import store as store_module
from edged.store.file import StateFile, StoreInUse
from edged.store.path import state_file
from edged.store.rows import MessageRows
from edged.store.schema import MIGRATIONS, VERSION, StoreTooNew, migrate
from edged.store.store import DiskStore

PEOPLE = "edged/box/dock/people"
WRITTEN_S = 20.0


def message(store: DiskStore, payload: bytes = b'{"late":false}', topic: str = PEOPLE, **more: Any) -> StoredMessage:
    now = time.monotonic()
    question = more.pop("question", topic.rpartition("/")[2])
    values = {"made_at": now, "until": now + 60, "late": False, **more}
    return StoredMessage(store.next_number(), topic, "dock", question, payload, len(payload), **values)


def write(store: DiskStore, *messages: StoredMessage, facts: tuple[Fact, ...] = ()) -> bool:
    """Write a look, and wait until that is done. True if it is on disk."""
    outcomes: list[bool] = []
    store.write(messages, facts, outcomes.append)
    until(lambda: outcomes, WRITTEN_S)
    return outcomes[0]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "edged.db"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[..., DiskStore]]:
    """Opens stores, at `path` if no other is given. They are closed at the end."""
    stores: list[DiskStore] = []

    def open_one(at: Path = path, synced: Callable[[], bool] = lambda: True) -> DiskStore:
        stores.append(DiskStore(at, synced))
        stores[-1].open()
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


Opened = Callable[..., DiskStore]


def found(store: DiskStore) -> list[StoredMessage]:
    return list(store.found())


# A restart


def test_a_message_that_waits_is_found_again_in_order_with_its_payload(opened: Opened) -> None:
    store = opened()
    for payload in (b'{"id":1}', b'{"id":2}', b'{"id":3}'):
        assert write(store, message(store, payload))
    store.close()
    again = opened()
    waiting = found(again)
    assert [each.number for each in waiting] == [-2, -1, 0]
    assert [again.payload(each.number) for each in waiting] == [b'{"id":1}', b'{"id":2}', b'{"id":3}']
    assert [(each.topic, each.camera, each.question, each.waiting) for each in waiting] == [
        (PEOPLE, "dock", "people", True)
    ] * 3
    assert found(again) == []


def test_numbers_of_a_later_process_do_not_collide(opened: Opened) -> None:
    first = opened()
    write(first, message(first, b"1"))
    first.close()
    second = opened()
    write(second, message(second, b"2"))
    second.close()
    third = opened()
    assert [third.payload(each.number) for each in found(third)] == [b"1", b"2"]


def test_what_is_done_does_not_wait_but_the_newest_answer_of_a_question_is_found(opened: Opened) -> None:
    store = opened()
    old, new, event = message(store, b"old"), message(store, b"new"), message(store, b"event", "e", question=None)
    write(store, old, new, event)
    store.done([old.number, new.number, event.number])
    store.close()
    again = opened()
    [newest] = found(again)
    assert (again.payload(newest.number), newest.waiting) == (b"new", False)
    assert newest.until == pytest.approx(new.until)


def test_a_late_mark_replaces_the_payload(opened: Opened) -> None:
    store = opened()
    waits = message(store, b'{"late":false}')
    write(store, waits)
    store.mark_late({waits.number: b'{"late":true}'})
    assert store.payload(waits.number) == b'{"late":true}'
    store.close()
    again = opened()
    [marked] = found(again)
    assert (marked.late, again.payload(marked.number)) == (True, b'{"late":true}')


def test_a_late_mark_that_a_slow_disk_has_not_written_is_not_reported_as_written(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "MARK_S", 0.1)
    store, go_on = opened(), threading.Event()
    waits = message(store, b'{"late":false}')
    write(store, waits)
    original = MessageRows.mark_late

    def slow(rows: MessageRows, payloads: Mapping[int, bytes]) -> None:
        assert go_on.wait(20)
        original(rows, payloads)

    monkeypatch.setattr(MessageRows, "mark_late", slow)
    late = {waits.number: b'{"late":true}'}
    assert not store.mark_late(late)
    assert not store.mark_late(late)
    go_on.set()
    until(lambda: store.mark_late(late))
    assert store.payload(waits.number) == b'{"late":true}'


def test_facts_survive_a_restart_and_none_forgets(opened: Opened) -> None:
    store = opened()
    assert write(store, message(store), facts=(Fact("alert", "dock/people", {"on": True}),))
    store.remember([Fact("active", "dock", False), Fact("active", "yard", False)])
    store.remember([Fact("active", "yard", None)])
    store.close()
    again = opened()
    assert (again.facts("alert"), again.facts("active")) == ({"dock/people": {"on": True}}, {"dock": False})
    assert again.facts("retained") == {}


def test_a_killed_process_loses_nothing_that_was_reported_as_written(path: Path) -> None:
    for number in range(3):
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            _write_and_wait(path, b"%d" % number, theirs)
        assert os.read(ours, 1) == b"1"
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(ours)
        os.close(theirs)
    store = DiskStore(path, lambda: True)
    store.open()
    assert [store.payload(each.number) for each in found(store)] == [b"0", b"1", b"2"]
    store.close()


def _write_and_wait(path: Path, payload: bytes, pipe: int) -> None:
    store = DiskStore(path, lambda: True)
    store.open()
    os.write(pipe, b"1" if write(store, message(store, payload)) else b"0")
    time.sleep(30)
    os._exit(1)


# Clocks


def test_an_expiry_is_exact_within_a_boot_whatever_the_wall_clock_does(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened()
    answer = message(store)
    write(store, answer)
    store.close()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 86_400)
    [again] = found(opened())
    assert again.until == answer.until


def test_over_a_reboot_an_expiry_is_of_the_wall_clock(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = opened()
    write(store, message(store, until=time.monotonic() + 60), message(store, topic="never", until=math.inf))
    store.close()
    another_boot = tmp_path / "boot_id"
    another_boot.write_text("another\n")
    monkeypatch.setattr(moments, "BOOT_ID", another_boot)
    people, never_expires = found(opened())
    assert people.until == pytest.approx(time.monotonic() + 60, abs=5)
    assert never_expires.until == math.inf


def test_without_the_right_time_nothing_expires_over_a_reboot(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = opened(synced=lambda: False)
    answer = message(store, until=time.monotonic() - 1)
    write(store, answer)
    store.done([answer.number])
    store.close()
    another_boot = tmp_path / "boot_id"
    another_boot.write_text("another\n")
    monkeypatch.setattr(moments, "BOOT_ID", another_boot)
    [again] = found(opened())
    assert again.until == math.inf


# Two at once, versions, damage


def test_a_second_edged_on_the_same_file_is_refused(opened: Opened, path: Path) -> None:
    opened()
    with pytest.raises(StoreInUse, match=f"another edged uses {path}") as refused:
        DiskStore(path, lambda: True).open()
    assert refused.value.code == EXIT_UNAVAILABLE


def test_a_file_of_version_1_is_brought_up_to_date_with_everything_in_it(opened: Opened, path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as old:
        old.executescript(MIGRATIONS[0])
        old.execute("PRAGMA user_version = 1")
        old.execute("INSERT INTO series VALUES (1, ?, 'dock', 'people')", (PEOPLE,))
        for number, waits in ((1, 0), (2, 1)):
            row = (number, 1, time.time(), 1, 1, None, None, 0, waits, b'{"id":%d}' % number)
            old.execute("INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        old.execute("INSERT INTO fact VALUES ('alert', 'dock/people', '{\"on\":true}')")
    old.close()
    store = opened()
    [waiting] = found(store)
    assert (store.payload(waiting.number), waiting.waiting, waiting.look) == (b'{"id":2}', True, None)
    assert store.facts("alert") == {"dock/people": {"on": True}}
    assert write(store, message(store, b'{"id":3}', look="a1b2"))
    store.close()
    again = opened()
    assert [(again.payload(each.number), each.look) for each in found(again)] == [
        (b'{"id":2}', None),
        (b'{"id":3}', "a1b2"),
    ]
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)


def test_a_migration_that_fails_leaves_the_file_as_it_was(path: Path) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(MIGRATIONS[0])
    connection.execute("ALTER TABLE message ADD COLUMN look TEXT")  # so that this cannot be done again
    connection.execute("PRAGMA user_version = 1")
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, "edged.db")
    connection.execute("ROLLBACK")
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    connection.close()


def test_a_file_of_a_newer_edged_is_refused_and_left_alone(opened: Opened, path: Path) -> None:
    opened().close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(StoreTooNew, match="version 99 of its tables") as refused:
        DiskStore(path, lambda: True).open()
    assert refused.value.code == EXIT_CONFIG
    assert path.read_bytes() == before


def test_a_file_of_a_newer_edged_is_refused_before_it_is_checked(opened: Opened, path: Path) -> None:
    """The check of a large file may take longer than the start waits, and sets a damaged file aside."""
    store = opened()
    write(store, *(message(store, b"x" * 2000) for _ in range(20)))
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    damaged = path.read_bytes()
    damaged = damaged[:8192] + b"\xff" * 8192 + damaged[16384:]
    path.write_bytes(damaged)
    with pytest.raises(StoreTooNew, match="version 99 of its tables"):
        DiskStore(path, lambda: True).open()
    assert path.read_bytes() == damaged


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"no database at all" * 500,
        lambda data: data[: len(data) // 2],
        lambda data: data[:4096] + os.urandom(4096) + data[8192:],
        lambda data: data[:100] + b"\xff" * 3900 + data[4000:],
    ],
    ids=["garbage", "truncated", "a page", "the schema"],
)
def test_a_damaged_file_is_set_aside_and_replaced(
    opened: Opened, path: Path, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    store = opened()
    for number in range(60):
        write(store, message(store, b"x" * 2000 + b"%d" % number))
    store.close()
    path.write_bytes(damage(path.read_bytes()))
    again = opened()
    assert found(again) == []
    assert write(again, message(again))
    [aside] = [
        each for each in path.parent.iterdir() if "damaged" in each.name and not each.name.endswith(("wal", "shm"))
    ]
    assert aside.name.startswith("edged.db.damaged-20")
    [line] = logged(caplog, "ERROR")
    assert line.startswith(f"store: {path} is damaged (")
    assert line.endswith(f"; renamed to {aside.name}; continuing with an empty file")


def test_a_file_that_is_damaged_while_edged_runs_is_replaced(
    opened: Opened, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = opened()
    for number in range(200):
        write(store, message(store, b"x" * 2000 + b"%d" % number))
    checkpoint = sqlite3.connect(path)
    checkpoint.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    checkpoint.close()
    with path.open("r+b") as file:
        file.seek(0)
        file.write(os.urandom(path.stat().st_size))
    until(lambda: write(store, message(store, b"after")) and logged(caplog, "ERROR"), WRITTEN_S)
    store.close()
    assert b"after" in {opened_again_payload(path, number) for number in range(1, 300)}


def opened_again_payload(path: Path, number: int) -> bytes | None:
    with sqlite3.connect(path) as connection:
        row = connection.execute("SELECT payload FROM message WHERE number = ?", (number,)).fetchone()
    return bytes(row[0]) if row else None


def test_a_file_that_was_deleted_under_a_running_edged_is_created_again(
    opened: Opened, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writer, "CLEAN_S", 0.1)
    store = opened()
    before = message(store, b"before")
    write(store, before, facts=(Fact("pause", "dock", True),))
    assert store.payload(before.number) == b"before"
    shutil.rmtree(path.parent)
    until(lambda: logged(caplog, "ERROR"), WRITTEN_S)
    assert logged(caplog, "ERROR")[0] == (
        f"store: {path} was removed or replaced; edged uses the file that is there now"
    )
    after = message(store, b"after")
    assert write(store, after)
    assert store.payload(after.number) == b"after"
    store.close()
    again = opened()
    assert [again.payload(each.number) for each in found(again)] == [b"after"]
    assert again.facts("pause") == {"dock": True}


# Where the file is


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"STATE_DIRECTORY": "/var/lib/edged", "XDG_STATE_HOME": "/x"}, "/var/lib/edged/edged.db"),
        ({"STATE_DIRECTORY": "/var/lib/edged:/var/lib/other"}, "/var/lib/edged/edged.db"),
        ({"XDG_STATE_HOME": "/x", "HOME": "/home/ann"}, "/x/edged/box/edged.db"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/home/ann"}, "/home/ann/.local/state/edged/box/edged.db"),
        ({}, "/var/lib/edged/box/edged.db"),
    ],
)
def test_the_file_is_in_the_state_directory(environment: dict[str, str], expected: str) -> None:
    assert state_file("box", environment) == Path(expected)


# A disk that cannot be used


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "RETRY_S", 0.2)


def test_a_full_disk_is_survived_in_memory_and_reported_twice(
    small_disk: SmallDisk,  # noqa: F811
    opened: Opened,
    impatient: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    store = opened(small_disk.folder / "edged.db")
    assert write(store, message(store, b"before"))
    small_disk.fill()
    payloads = [b"x" * 3000 + b"%03d" % number for number in range(40)]
    outcomes = [write(store, message(store, payload)) for payload in payloads]
    assert not outcomes[-1]
    assert [line for line in logged(caplog) if "disk full" in line] == [
        f"store: {small_disk.folder}/edged.db: disk full; answers are kept in memory until it can be written"
    ]
    small_disk.free()
    until(lambda: any("writing again after" in line for line in logged(caplog, "INFO")), WRITTEN_S)
    assert len([line for line in logged(caplog, "WARNING") if "store" in line]) == 1
    store.close()
    again = opened(small_disk.folder / "edged.db")
    assert [again.payload(each.number) for each in found(again)] == [b"before", *payloads]


def test_a_read_only_disk_is_survived_until_it_is_writable(
    small_disk: SmallDisk,  # noqa: F811
    opened: Opened,
    impatient: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    path = small_disk.folder / "edged.db"
    before = opened(path)
    write(before, message(before, b"1"))
    before.close()
    small_disk.make_read_only()
    store = opened(path)
    assert not write(store, message(store, b"2"))
    store.remember([Fact("active", "dock", False)])
    assert logged(caplog) == [
        f"store: {path}: read-only file system; answers are kept in memory until it can be written"
    ]
    small_disk.make_writable()
    until(lambda: any("writing again" in line for line in logged(caplog, "INFO")), WRITTEN_S)
    store.close()
    again = opened(path)
    assert [again.payload(each.number) for each in found(again)] == [b"1", b"2"]
    assert again.facts("active") == {"dock": False}


def test_a_disk_that_comes_after_the_start_is_used_from_then_on(
    opened: Opened, path: Path, impatient: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    before = opened()
    write(before, message(before, b"of the last run"), facts=(Fact("active", "dock", False),))
    before.close()
    path.parent.rename(path.parent.with_name("unmounted"))
    path.parent.write_text("a file in place of the folder")
    store = opened()
    assert not write(store, message(store, b"in memory"))
    [line] = logged(caplog)
    assert line == f"store: {path}: file exists; answers are kept in memory until it can be written"
    path.parent.unlink()
    path.parent.with_name("unmounted").rename(path.parent)
    until(lambda: any("writing again" in line for line in logged(caplog, "INFO")), WRITTEN_S)
    [earlier] = found(store)
    assert (earlier.number, store.payload(earlier.number)) == (0, b"of the last run")
    assert store.facts("active") == {"dock": False}
    assert write(store, message(store, b"on disk"))
    store.close()
    again = opened()
    assert [again.payload(each.number) for each in found(again)] == [b"of the last run", b"in memory", b"on disk"]


def test_the_backlog_of_an_unusable_disk_is_bounded(
    opened: Opened, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "BACKLOG_LIMIT", 10)
    path.parent.parent.mkdir(exist_ok=True)
    path.parent.write_text("a file in place of the folder")
    store = opened()
    for _ in range(30):
        write(store, message(store))
    assert store.figures().lost == 20
    assert not store.figures().working


def test_a_fact_that_was_deleted_stays_so_though_the_backlog_was_full(
    opened: Opened, path: Path, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "BACKLOG_LIMIT", 10)
    monkeypatch.setattr(file, "BUSY_S", 0.05)
    store = opened()
    assert write(store, message(store), facts=(Fact("active", "dock", {"since": 1.0}),))
    locked = sqlite3.connect(path, isolation_level=None)
    locked.execute("BEGIN IMMEDIATE")
    store.remember([Fact("active", "dock", None)])
    for _ in range(30):
        write(store, message(store))
    assert store.figures().lost > 0
    locked.close()
    until(lambda: store.figures().working, WRITTEN_S)
    store.close()
    assert opened().facts("active") == {}


def test_a_fact_that_was_deleted_before_the_file_could_be_read_stays_so(
    opened: Opened, path: Path, impatient: None
) -> None:
    before = opened()
    facts = (Fact("active", "dock", {"since": 1.0}), Fact("active", "yard", {"since": 2.0}))
    assert write(before, message(before), facts=facts)
    before.close()
    path.parent.rename(path.parent.with_name("unmounted"))
    path.parent.write_text("a file in place of the folder")
    store = opened()
    store.remember([Fact("active", "dock", {"since": 3.0})])
    store.remember([Fact("active", "dock", None)])
    path.parent.unlink()
    path.parent.with_name("unmounted").rename(path.parent)
    until(lambda: store.figures().working, WRITTEN_S)
    assert store.facts("active") == {"yard": {"since": 2.0}}
    assert list(store.found_facts()) == list(facts)
    assert not store.found_facts()
    store.close()
    assert opened().facts("active") == {"yard": {"since": 2.0}}


def test_a_file_that_cannot_be_read_when_it_is_opened_is_read_later(
    opened: Opened, path: Path, impatient: None
) -> None:
    before = opened()
    assert write(before, message(before, b"of the last run"), facts=(Fact("active", "dock", {"since": 1.0}),))
    before.close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("ALTER TABLE fact RENAME TO elsewhere")
    store = opened()
    assert not write(store, message(store))
    other.execute("ALTER TABLE elsewhere RENAME TO fact")
    other.close()
    until(lambda: store.figures().working, WRITTEN_S)
    assert [store.payload(each.number) for each in found(store)] == [b"of the last run"]
    assert store.facts("active") == {"dock": {"since": 1.0}}


def test_one_thread_writes_and_it_ends_at_close(opened: Opened) -> None:
    store = opened()
    names = set()
    store.write([message(store)], (), lambda _: names.add(threading.current_thread().name))
    until(lambda: names)
    assert names == {"edged-store"}
    assert store.close() is True
    assert "edged-store" not in {thread.name for thread in threading.enumerate()}
    outcomes: list[bool] = []
    store.write([message(store)], (), outcomes.append)
    assert outcomes == [False]


def test_the_file_is_readable_by_its_owner_only(opened: Opened, path: Path) -> None:
    store = opened()
    write(store, message(store))
    modes = {each.name: each.stat().st_mode & 0o777 for each in path.parent.iterdir()}
    assert set(modes.values()) == {0o600}, modes
    assert path.parent.stat().st_mode & 0o777 == 0o700


# Old rows


def rows_left(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("SELECT count(*) FROM message").fetchone()[0])
    finally:
        connection.close()


@pytest.mark.parametrize(("history", "left"), [(HistorySpec(max_bytes=500_000), 500), (None, 1), (HistorySpec(0.5), 1)])
def test_a_running_store_keeps_no_more_than_the_history(
    opened: Opened, path: Path, history: HistorySpec | None, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "CLEAN_S", 0.1)
    store = opened()
    store.keep(history)
    for _ in range(30):
        messages = [message(store, b"x" * 1000) for _ in range(100)]
        write(store, *messages)
        store.done([each.number for each in messages])
    write(store, last := message(store))
    store.done([last.number])
    write(store, message(store, topic="waits"))
    until(lambda: rows_left(path) <= left + 1, WRITTEN_S)
    store.close()
    assert rows_left(path) >= 2


def test_a_check_of_a_large_file_counts_as_progress(
    opened: Opened, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened()
    assert write(store, *(message(store, b"x" * 1000, topic=f"edged/box/dock/q{number}") for number in range(500)))
    store.close()
    monkeypatch.setattr(file, "STEPS", 1000)
    moved: list[float] = []
    connection = StateFile(path, lambda: moved.append(time.monotonic())).connect(check=True)
    connection.close()
    assert len(moved) > 3


def test_a_payload_that_is_not_in_the_file_is_none(path: Path, opened: Opened) -> None:
    assert DiskStore(path, lambda: True).payload(1) is None  # not open yet
    assert opened().payload(1) is None


@contextmanager
def moved_away(path: Path) -> Iterator[None]:
    """The file cannot be read meanwhile."""
    elsewhere = path.rename(path.with_name("elsewhere"))
    yield
    elsewhere.rename(path)


def opened_with_a_message(opened: Opened) -> tuple[DiskStore, StoredMessage]:
    store = opened()
    first = message(store)
    assert write(store, first)
    return store, first


def test_a_file_that_cannot_be_read_is_not_taken_for_one_without_the_message(
    path: Path, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    store, first = opened_with_a_message(opened)
    with moved_away(path):
        for _ in range(3):
            with pytest.raises(StoreUnreadable):
                store.payload(first.number)
    for _ in range(2):
        assert store.payload(first.number) == b'{"late":false}'
    [begin], [end] = logged(caplog), [line for line in logged(caplog, "INFO") if "reading" in line]
    assert begin.startswith(f"store: {path} cannot be read: unable to open database file; ")
    assert end.startswith("store: reading again after ")
    assert end.endswith("(3 tries)")


def test_a_message_that_cannot_be_read_although_others_can_is_no_outage_of_the_store(
    opened: Opened, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened()
    bad, good = message(store), message(store)
    assert write(store, bad, good)
    payload = rows.payload

    def read(connection: sqlite3.Connection, row_number: int) -> bytes | None:
        if row_number == bad.number:
            raise sqlite3.OperationalError("disk I/O error")
        return payload(connection, row_number)

    monkeypatch.setattr(rows, "payload", read)
    with pytest.raises(MessageUnreadable):
        store.payload(bad.number)
    assert store.payload(good.number) == b'{"late":false}'
    assert logged(caplog) == []


def test_a_locked_file_is_not_tried_twice(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each try takes 5 s."""
    store = opened()
    tried: list[str] = []

    def read(*_: Any) -> bytes | None:
        tried.append(threading.current_thread().name)  # the writing thread tries too
        error = sqlite3.OperationalError("database is locked")
        error.sqlite_errorcode = sqlite3.SQLITE_BUSY
        raise error

    monkeypatch.setattr(rows, "payload", read)
    monkeypatch.setattr(rows, "newest", read)
    with pytest.raises(StoreUnreadable) as failed:
        store.payload(7)
    assert not isinstance(failed.value, MessageUnreadable)
    assert tried.count(threading.current_thread().name) == 1


def test_the_end_of_an_outage_of_reading_is_logged_although_nobody_reads_any_more(
    path: Path, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    store, first = opened_with_a_message(opened)
    with moved_away(path), pytest.raises(StoreUnreadable):
        store.payload(first.number)
    until(lambda: any(line.startswith("store: reading again after ") for line in logged(caplog, "INFO")))


def test_where_the_kernel_does_not_tell_the_boot_each_start_is_another(
    path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moments, "BOOT_ID", path / "none")
    for _ in range(2):
        opened().close()
    with sqlite3.connect(path) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM boot")]
    assert len(set(names)) == len(names) == 2
    assert all(name.startswith("unknown-") for name in names)


def test_a_fact_that_is_no_json_is_forgotten(path: Path, opened: Opened) -> None:
    store = opened()
    assert write(store, message(store), facts=(Fact("active", "dock", False), Fact("active", "yard", True)))
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE fact SET value = '{' WHERE name = 'dock'")
    assert opened().facts("active") == {"yard": True}
