"""Kept frames: what is in the folder and in the store, after limits, restarts, kills and full disks; and labels."""

from __future__ import annotations

import logging
import os
import random
import re
import shutil
import signal
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.account import unprivileged
from support.broker import until
from support.kept import kept_answer, kept_frame, yes_no
from support.publishing import logged
from support.small_disk import SmallDisk, small_disk  # noqa: F401  # a fixture

from edged.core.kept_frames import FramesUnavailable, KeptFrame, LabelProgress, LabelRefused
from edged.core.specs import FramesSpec
from edged.core.types import Fact
from edged.store import frame_files, frame_rows, frames, writer
from edged.store.schema import MIGRATIONS
from edged.store.store import DiskStore

WITHIN_S = 20.0
ALL = FramesSpec()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "edged.db"


@pytest.fixture(autouse=True)
def _no_reserve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_files, "FREE_BYTES", 0)


Opened = Callable[..., DiskStore]


@pytest.fixture
def opened(path: Path) -> Iterator[Opened]:
    """Opens stores that keep frames. They are closed at the end."""
    stores: list[DiskStore] = []

    def open_one(spec: FramesSpec | None = ALL, at: Path = path) -> DiskStore:
        stores.append(DiskStore(at, lambda: True))
        stores[-1].open()
        stores[-1].keep(None, spec)
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


def keep(store: DiskStore, *kept: KeptFrame, data: bytes = b"picture") -> None:
    """Keep frames, and wait until the last is kept."""
    for frame in kept:
        store.frames.keep(frame, lambda: data)
        until(partial(store.frames.task, frame.name), WITHIN_S)


def files(path: Path) -> list[str]:
    folder = path.with_name("frames")
    return sorted(each.name for each in folder.iterdir()) if folder.exists() else []


# Keeping


def test_a_frame_is_a_file_with_its_answers_in_the_store(opened: Opened, path: Path) -> None:
    store, frame = opened(), kept_frame(kept_answer(), yes_no(), why="unsure")
    keep(store, frame, data=b"whole")
    assert files(path) == [frame.name]
    assert store.frames.read(frame.name) == b"whole"
    task = store.frames.task(frame.name)
    assert task is not None
    assert (task.frame, task.labels) == (frame, ())
    store.close()
    again = opened()
    task = again.frames.next_unlabelled()
    assert task is not None
    assert task.frame == frame


def test_files_and_folder_are_the_owners_alone(opened: Opened, path: Path) -> None:
    store = opened()
    keep(store, frame := kept_frame())
    folder = path.with_name("frames")
    assert [each.stat().st_mode & 0o777 for each in (folder, folder / frame.name)] == [0o700, 0o600]


def test_without_the_key_nothing_is_kept_and_no_thread_runs(opened: Opened, path: Path) -> None:
    store = opened(None)
    store.frames.keep(kept_frame(), lambda: pytest.fail("encoded"))
    assert "edged-frames" not in {thread.name for thread in threading.enumerate()}
    assert not path.with_name("frames").exists()


def test_a_frame_that_two_looks_keep_is_there_once_with_the_answers_of_both(opened: Opened, path: Path) -> None:
    store, first = opened(), kept_frame(kept_answer())
    second = KeptFrame(first.name, "dock", first.ts, first.sha256, "c1", "unsure", (kept_answer(value=9), yes_no()))
    keep(store, first)
    store.frames.keep(second, lambda: b"picture")
    until(lambda: (task := store.frames.task(first.name)) and len(task.frame.answers) == 2, WITHIN_S)
    task = store.frames.task(first.name)
    assert task is not None
    assert ([answer.value for answer in task.frame.answers], task.frame.why) == ([3, True], "unsure")
    assert files(path) == [first.name]


def test_looks_do_not_wait_for_an_encoder_and_what_comes_too_fast_is_reported_once(
    opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    store, begun, go = opened(), threading.Event(), threading.Event()

    def slow() -> bytes:
        begun.set()
        go.wait(WITHIN_S)
        return b"x"

    store.frames.keep(kept_frame(), slow)
    assert begun.wait(WITHIN_S)
    since = time.monotonic()
    for _ in range(20):
        store.frames.keep(kept_frame(), slow)
    assert time.monotonic() - since < 1
    go.set()
    until(
        lambda: any(
            re.search(r"^frames: all are kept again after .* \(\d+ lost\)$", line) for line in logged(caplog, "INFO")
        ),
        WITHIN_S,
    )
    assert logged(caplog) == ["frames: arriving faster than they can be written; some are not kept"]
    until(lambda: store.frames.progress().kept == 1 + frames.WAITING, WITHIN_S)


def test_an_encoder_that_fails_is_reported_and_the_next_frame_is_kept(
    opened: Opened, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened()

    def broken() -> bytes:
        raise ValueError("no such codec")

    store.frames.keep(kept_frame(), broken)
    until(lambda: logged(caplog, "ERROR"), WITHIN_S)
    keep(store, kept_frame())
    assert logged(caplog, "ERROR") == ["frames: unexpected error: ValueError('no such codec')"]


def test_a_codec_that_is_missing_is_said_to_be(opened: Opened, caplog: pytest.LogCaptureFixture) -> None:
    store = opened()

    def missing() -> bytes:
        raise OSError("no encoder")

    store.frames.keep(kept_frame(), missing)
    until(lambda: logged(caplog), WITHIN_S)
    assert logged(caplog) == [
        "frames: camera dock: a frame cannot be encoded: no encoder; no frames are kept until that works"
    ]


# The largest size


def test_the_oldest_without_a_label_go_first_and_labelled_ones_last(
    opened: Opened, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, kept = opened(FramesSpec(max_bytes=1000)), [kept_frame() for _ in range(8)]
    keep(store, *kept[:4], data=b"x" * 250)
    store.frames.label(kept[0].name, "people", "right")
    store.frames.label(kept[1].name, "people", "skip")
    for frame in kept[4:7]:
        keep(store, frame, data=b"x" * 250)
    assert files(path) == [kept[0].name, *(frame.name for frame in kept[4:7])]
    for frame in kept[4:7]:
        store.frames.label(frame.name, "people", "wrong", 5)
    assert logged(caplog) == []
    keep(store, kept[7], data=b"x" * 500)
    assert files(path) == [frame.name for frame in kept[5:8]]
    line = "frames: frames.max is reached, so labelled frames are deleted too; their labels stay"
    assert logged(caplog) == [line]
    store.frames.label(kept[7].name, "people", "right")
    keep(store, kept_frame(), data=b"x" * 500)
    assert logged(caplog) == [line]
    assert store.frames.progress().labels == 6


def test_a_smaller_limit_takes_effect_at_once(opened: Opened, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    store, kept = opened(), [kept_frame() for _ in range(5)]
    keep(store, *kept, data=b"x" * 100)
    store.keep(None, FramesSpec(max_bytes=200))
    until(lambda: files(path) == [frame.name for frame in kept[3:]], WITHIN_S)
    until(lambda: "frames: 3 frames deleted: frames.max is exceeded" in logged(caplog, "INFO"), WITHIN_S)


def test_a_frame_above_the_limit_deletes_no_others(
    opened: Opened, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, small = opened(FramesSpec(max_bytes=1000)), kept_frame()
    keep(store, small)
    for _ in range(3):
        store.frames.keep(kept_frame(), lambda: b"x" * 1001)
    keep(store, later := kept_frame())
    assert files(path) == [small.name, later.name]
    assert logged(caplog) == ["frames: camera dock: a frame has 0.0 MB, more than frames.max; not kept"]


def test_switched_off_what_has_no_label_is_deleted(opened: Opened, path: Path) -> None:
    store, kept = opened(), [kept_frame() for _ in range(3)]
    keep(store, *kept)
    store.frames.label(kept[1].name, "people", "right")
    store.keep(None, None)
    until(lambda: files(path) == [kept[1].name], WITHIN_S)
    store.close()
    assert opened(None).frames.progress() == LabelProgress(1, 1, 1)


def test_a_second_change_while_the_first_takes_effect_is_not_lost(opened: Opened, path: Path) -> None:
    store, go, blocked = opened(), threading.Event(), threading.Event()
    keep(store, kept_frame())

    def block(_on_disk: bool) -> None:
        blocked.set()
        go.wait(WITHIN_S)

    store.write([], (), block)  # called in the thread that writes
    assert blocked.wait(WITHIN_S)
    store.keep(None, FramesSpec(max_bytes=2000))
    threading.Event().wait(0.5)  # the thread of the frames waits for that one now
    store.keep(None, None)
    go.set()
    until(lambda: files(path) == [], 5)


@pytest.mark.slow
def test_ten_thousand_frames_stay_within_the_limit(opened: Opened, path: Path) -> None:
    store = opened()
    connection = sqlite3.connect(path)
    folder = path.with_name("frames")
    folder.mkdir()
    answers = (kept_answer(), yes_no())
    with connection:
        for _ in range(10_000):
            frame = kept_frame(*answers)
            frame_rows.insert(connection, frame, 100)
            (folder / frame.name).write_bytes(b"x" * 100)
    connection.close()
    store.keep(None, FramesSpec(max_bytes=500_000))
    until(lambda: len(files(path)) == 5000, 60)
    seconds = []
    for _ in range(10):
        begun = time.monotonic()
        keep(store, kept_frame(), data=b"x" * 100)
        seconds.append(time.monotonic() - begun)
    until(lambda: len(files(path)) == 5000, WITHIN_S)
    assert store.frames.progress().kept == 5000
    assert min(seconds) < 0.5


# Restarts, kills


def test_a_killed_process_leaves_whole_frames_only(opened: Opened, path: Path) -> None:
    data, chance = os.urandom(200_000), random.Random(1)
    for _ in range(8):
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            _keep_for_ever(path, data, theirs)
        assert os.read(ours, 1) == b"k"
        time.sleep(chance.uniform(0.0, 0.05))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(ours)
        os.close(theirs)
    folder = path.with_name("frames")
    (folder / f"{kept_frame().name}.part").write_bytes(b"half")
    (folder / kept_frame().name).write_bytes(b"without a row")
    (folder / "notes.txt").write_text("the owner's")
    store = opened()
    until(lambda: not any(name.endswith(".part") for name in files(path)), WITHIN_S)
    until(lambda: store.frames.progress().kept == len(files(path)) - 1, WITHIN_S)
    assert "notes.txt" in files(path)
    assert len(files(path)) > 8
    for name in set(files(path)) - {"notes.txt"}:
        assert store.frames.read(name) == data


def _keep_for_ever(path: Path, data: bytes, pipe: int) -> None:
    store = DiskStore(path, lambda: True)
    store.open()
    store.keep(None, ALL)
    while True:
        keep(store, kept_frame(camera=f"dock-{os.getpid()}"), data=data)
        os.write(pipe, b"k")


def test_a_row_without_a_file_goes_unless_it_has_a_label(opened: Opened, path: Path) -> None:
    store, kept = opened(), [kept_frame() for _ in range(3)]
    keep(store, *kept)
    store.frames.label(kept[0].name, "people", "right")
    store.close()
    for frame in kept[:2]:
        path.with_name("frames").joinpath(frame.name).unlink()
    again = opened()
    until(lambda: again.frames.progress().kept == 2, WITHIN_S)
    assert again.frames.task(kept[1].name) is None
    assert again.frames.read(kept[0].name) is None


def test_a_file_of_version_2_gets_the_tables_with_everything_in_it(opened: Opened, path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as old:
        old.executescript(MIGRATIONS[0] + MIGRATIONS[1])
        old.execute("PRAGMA user_version = 2")
        old.execute("INSERT INTO fact VALUES ('alert', 'dock/people', '{\"on\":true}')")
    old.close()
    store = opened()
    assert store.facts("alert") == {"dock/people": {"on": True}}
    keep(store, kept_frame())
    assert store.frames.progress() == LabelProgress(1, 0, 0)


# A disk that cannot be used


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "RETRY_S", 0.1)
    monkeypatch.setattr(writer, "RETRY_S", 0.1)


def kept_in_the_end(store: DiskStore, data: bytes = b"x" * 1000) -> None:
    """Keep frames until one is kept."""

    def tried() -> Any:
        store.frames.keep(frame := kept_frame(), lambda: data)
        threading.Event().wait(0.05)
        return store.frames.task(frame.name)

    until(tried, WITHIN_S)


def test_a_full_disk_is_reported_once_and_once_when_over(
    small_disk: SmallDisk,  # noqa: F811
    opened: Opened,
    impatient: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(frame_files, "FREE_BYTES", 500_000)
    caplog.set_level(logging.INFO)
    path = small_disk.folder / "edged.db"
    store = opened(at=path)
    for _ in range(30):
        store.frames.keep(kept_frame(), lambda: b"x" * 100_000)
        threading.Event().wait(0.05)
    folder = small_disk.folder / "frames"
    expected = f"frames: {folder}: disk nearly full; no frames are kept until that works"
    until(lambda: logged(caplog), WITHIN_S)
    assert logged(caplog) == [expected]
    outcomes: list[bool] = []
    store.write([], (), outcomes.append)
    until(lambda: outcomes, WITHIN_S)
    assert outcomes == [True]  # answers still have room
    shutil.rmtree(folder)
    kept_in_the_end(store)
    assert logged(caplog) == [expected]
    assert len([line for line in logged(caplog, "INFO") if line.startswith("frames: writing again after ")]) == 1


def test_a_write_that_fails_half_way_leaves_nothing(
    small_disk: SmallDisk,  # noqa: F811
    opened: Opened,
    impatient: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(frame_files, "FREE_BYTES", -10_000_000)  # so that the write itself fails
    path = small_disk.folder / "edged.db"
    store = opened(at=path)
    keep(store, whole := kept_frame())
    store.frames.keep(kept_frame(), lambda: b"x" * 3_000_000)
    until(lambda: logged(caplog), WITHIN_S)
    assert logged(caplog) == [
        f"frames: {small_disk.folder}/frames: no space left on device; no frames are kept until that works"
    ]
    assert files(path) == [whole.name]
    kept_in_the_end(store)
    assert store.frames.progress().kept == len(files(path)) == 2


def test_a_folder_that_cannot_be_written_is_survived_until_it_can(
    opened: Opened, path: Path, impatient: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path.parent.mkdir()
    folder = path.with_name("frames")
    folder.write_text("a file in place of the folder")
    store = opened()
    until(lambda: logged(caplog), WITHIN_S)
    store.frames.keep(kept_frame(), lambda: b"x")
    folder.unlink()
    kept_in_the_end(store)
    assert all(line.startswith(f"frames: {folder}: ") for line in logged(caplog))
    assert 1 <= len(logged(caplog)) <= 2  # reading and writing it fail for different reasons
    assert any("frames: writing again after" in line for line in logged(caplog, "INFO"))


def test_a_state_folder_that_may_not_be_searched_ends_nothing() -> None:
    with tempfile.TemporaryDirectory() as folder:  # tmp_path is in a folder of root
        path = Path(folder)
        path.chmod(0o700)
        with unprivileged():
            store = DiskStore(path / "edged.db", lambda: True)
            store.open()
            store.keep(None, None)
            store.close()


def test_while_the_store_cannot_be_written_no_frame_is_kept_and_a_label_says_so(
    small_disk: SmallDisk,  # noqa: F811
    opened: Opened,
    impatient: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = small_disk.folder / "edged.db"
    store = opened(at=path)
    keep(store, frame := kept_frame())
    small_disk.fill()
    until(lambda: not _written(store), WITHIN_S)
    with pytest.raises(
        FramesUnavailable,
        match=r"edged\.db cannot be written now; the label is kept in memory and will be written later",
    ):
        store.frames.label(frame.name, "people", "right")
    small_disk.free()
    until(lambda: _written(store), WITHIN_S)
    until(lambda: store.frames.progress() == LabelProgress(1, 1, 1), WITHIN_S)


def _written(store: DiskStore) -> bool:
    outcomes: list[bool] = []
    store.write([], (Fact("test", "x", "y" * 20_000 + str(time.monotonic())),), outcomes.append)
    until(lambda: outcomes, WITHIN_S)
    return outcomes[0]


# Labels


def test_the_next_frame_is_the_oldest_of_the_most_useful_without_a_label(opened: Opened) -> None:
    store = opened()
    sample, changed, unsure, later = (kept_frame(why=why) for why in ("sample", "changed", "unsure", "unsure"))
    keep(store, sample, changed, unsure, later)
    order = []
    while task := store.frames.next_unlabelled():
        order.append(task.frame.name)
        store.frames.label(task.frame.name, "people", "skip")
    assert order == [unsure.name, later.name, changed.name, sample.name]
    assert store.frames.progress() == LabelProgress(4, 4, 4)


def test_a_frame_is_done_when_each_answer_has_a_label_but_for_what_was_not_asked(opened: Opened) -> None:
    store = opened()
    car = kept_answer("car", None, status="not_asked", guess=None)
    keep(store, frame := kept_frame(kept_answer(), yes_no(), car))
    first = store.frames.label(frame.name, "people", None, 7)
    task = store.frames.next_unlabelled()
    assert task is not None
    assert (task.labels, first.truth, first.verdict) == ((first,), 7, "wrong")
    assert store.frames.progress() == LabelProgress(1, 0, 1)
    store.frames.label(frame.name, "gate", "right")
    assert store.frames.next_unlabelled() is None
    assert store.frames.progress() == LabelProgress(1, 1, 2)


def test_a_label_is_replaced_by_the_next_one_and_the_last_is_taken_back(opened: Opened) -> None:
    store = opened()
    keep(store, frame := kept_frame(kept_answer(), yes_no()))
    store.frames.label(frame.name, "people", "right")
    gate = store.frames.label(frame.name, "gate", "wrong")
    people = store.frames.label(frame.name, "people", "wrong", 5)
    assert store.frames.undo() == people
    assert store.frames.undo() == gate
    assert store.frames.undo() is None
    assert store.frames.progress() == LabelProgress(1, 0, 0)


def test_labels_survive_a_restart_and_their_frame(opened: Opened) -> None:
    store = opened(FramesSpec(max_bytes=100))
    keep(store, frame := kept_frame(), data=b"x" * 100)
    label = store.frames.label(frame.name, "people", "wrong", 0)
    keep(store, kept_frame(), data=b"x" * 100)
    store.close()
    again = opened(FramesSpec(max_bytes=100))
    assert again.frames.task(frame.name) is None
    assert again.frames.undo() == label


@pytest.mark.parametrize("name", ["../edged.db", "/etc/passwd", "", "x\0y", "..", "unknown.webp", "\ud800.webp"])
def test_only_names_in_the_store_reach_the_file_system(opened: Opened, path: Path, name: str) -> None:
    store = opened()
    keep(store, kept_frame())
    path.with_name("frames").joinpath("unknown.webp").write_bytes(b"not kept")
    assert store.frames.read(name) is None
    assert store.frames.task(name) is None
    with pytest.raises(LabelRefused, match="is kept"):
        store.frames.label(name, "people", "right")


def test_any_text_that_json_can_hold_can_be_the_truth(opened: Opened) -> None:
    store = opened()
    keep(store, frame := kept_frame(kept_answer("scene", "A yard.", type="text", form={})))
    label = store.frames.label(frame.name, "scene", None, "half a pair \ud800, 한글")
    assert store.frames.undo() == label


def test_a_label_of_an_unknown_question_or_an_impossible_value_changes_nothing(opened: Opened) -> None:
    store = opened()
    keep(store, frame := kept_frame())
    with pytest.raises(LabelRefused, match='no answer to a question "cars"'):
        store.frames.label(frame.name, "cars", "right")
    with pytest.raises(LabelRefused, match="from 0 to 40, not 41"):
        store.frames.label(frame.name, "people", None, 41)
    assert store.frames.progress().labels == 0
