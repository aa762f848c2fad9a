"""Folders that another program fills: each picture once, the newest first, with the age of its file."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from support import jpegs
from support.cameras import Watched, spec
from support.http import jpeg

from edged.cameras.folder import NewestFirst
from edged.cameras.picture import Pixels
from edged.cameras.picture_file import read_picture
from edged.core.errors import CameraError, StaleFrame


def add(path: Path, shade: int, age_s: float = 0.0, data: bytes | None = None) -> Path:
    """A picture whose file was last changed `age_s` ago."""
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(jpeg(shade) if data is None else data)
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def damaged() -> bytes:
    whole = jpegs.encoded(jpegs.scene(1, 320, 240))
    return whole[: len(whole) // 2] + jpegs.END


def uploads(folder: Path, max_age_s: float = 60.0) -> Watched:
    return Watched(spec(str(folder), "path", new_only=True, max_age_s=max_age_s))


def shade(watched: Watched) -> int:
    return int(watched.grab().rgb.mean().round())


def why(watched: Watched, kind: type[CameraError] = CameraError) -> str:
    with pytest.raises(kind) as caught:
        watched.grab()
    assert isinstance(caught.value, kind)
    return str(caught.value)


def test_newest_picture_is_taken_once_and_has_the_age_of_its_file(tmp_path: Path) -> None:
    add(tmp_path / "b.jpg", 20, age_s=30)
    add(tmp_path / "a.jpg", 10, age_s=4)
    with uploads(tmp_path) as watched:
        frame = watched.grab()
        assert round(frame.rgb.mean()) == 10
        assert 4 < frame.age_s() < 6
        assert why(watched, StaleFrame).startswith(f"no new picture in {tmp_path} since 2")
        assert why(watched, StaleFrame) == why(watched, StaleFrame), "the reason does not change with the time"
        add(tmp_path / "c.jpg", 30, age_s=1)
        assert shade(watched) == 30
        add(tmp_path / "d.jpg", 40, age_s=20)
        assert why(watched, StaleFrame).startswith("no new picture"), "never back in time"
        assert [state.online for state in watched.states] == [True]


def test_picture_that_is_written_again_is_new(tmp_path: Path) -> None:
    add(tmp_path / "snapshot.jpg", 20, age_s=5)
    with uploads(tmp_path) as watched:
        assert shade(watched) == 20
        add(tmp_path / "snapshot.jpg", 30)
        assert shade(watched) == 30


def test_picture_older_than_max_age_is_stale_and_not_an_outage(tmp_path: Path) -> None:
    add(tmp_path / "a.jpg", 10, age_s=30)
    with uploads(tmp_path, max_age_s=5) as watched:
        assert why(watched, StaleFrame).startswith("the newest picture is 30.")
        assert False not in [state.online for state in watched.states]


def test_empty_folder_is_offline_until_its_first_picture_and_says_why_once(tmp_path: Path) -> None:
    with uploads(tmp_path) as watched:
        reason = f"no picture in {tmp_path} yet"
        assert [why(watched, StaleFrame) for _ in range(3)] == [reason] * 3
        assert [(state.online, state.reason) for state in watched.states] == [(False, reason)]
        add(tmp_path / "a.jpg", 10)
        assert shade(watched) == 10


def test_subfolders_count_and_hidden_files_and_folders_do_not(tmp_path: Path) -> None:
    add(tmp_path / "2026" / "11" / "29" / "a.jpg", 10, age_s=8)
    add(tmp_path / ".trash" / "b.jpg", 20, age_s=4)
    add(tmp_path / ".upload.jpg", 30, age_s=2)
    add(tmp_path / "notes.txt", 40, age_s=1)
    with uploads(tmp_path) as watched:
        assert shade(watched) == 10
        assert why(watched, StaleFrame).startswith("no new picture")


@pytest.mark.parametrize("unfinished", [b"", jpeg(50)[:300], damaged(), b"\x89PNG\r\n\x1a\n"])
def test_file_that_is_still_written_is_left_for_a_later_look(tmp_path: Path, unfinished: bytes) -> None:
    add(tmp_path / "a.jpg", 10, age_s=8)
    path = add(tmp_path / "b.jpg", 0, age_s=1, data=unfinished)
    with uploads(tmp_path) as watched:
        assert shade(watched) == 10
        assert why(watched, StaleFrame) == f"{path} is not complete yet"
        add(path, 50)
        assert shade(watched) == 50
        assert (watched.camera.figures().damaged, [state.online for state in watched.states]) == (0, [True])


def test_damaged_file_is_reported_once_and_counted(tmp_path: Path) -> None:
    path = add(tmp_path / "a.jpg", 0, age_s=15, data=damaged())
    with uploads(tmp_path) as watched:
        assert why(watched) == f"{path}: the JPEG is damaged (premature end of data segment)"
        assert why(watched, StaleFrame) == f"no picture in {tmp_path} yet"
        assert watched.camera.figures().damaged == 1
        add(tmp_path / "b.jpg", 20)
        assert shade(watched) == 20


def test_two_damaged_files_are_each_read_once(tmp_path: Path) -> None:
    reads: list[Path] = []

    def read(path: Path) -> Pixels:
        reads.append(path)
        return read_picture(path)

    newest = NewestFirst(tmp_path, read)
    for name in "ab":
        add(tmp_path / f"{name}.jpg", 0, age_s=15, data=damaged())
    assert "damaged" in str(taken(newest))
    assert taken(newest) == f"no picture in {tmp_path} yet"
    assert len(reads) == 2


def test_a_file_whose_state_cannot_be_read_leaves_the_others(tmp_path: Path) -> None:
    with uploads(tmp_path) as watched:
        add(tmp_path / "a.jpg", 10)
        assert shade(watched) == 10
        (tmp_path / "loop.jpg").symlink_to("loop.jpg")
        add(tmp_path / "b.jpg", 20)
        assert shade(watched) == 20
        assert [state.online for state in watched.states] == [True]


def test_a_folder_none_of_whose_files_can_be_read_is_an_outage_with_the_reason(tmp_path: Path) -> None:
    """As one that may be listed, but whose files may not be opened."""
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    with uploads(tmp_path) as watched:
        assert why(watched) == f"{tmp_path} cannot be read: Too many levels of symbolic links"


def test_folder_that_is_missing_is_an_outage_with_the_reason(tmp_path: Path) -> None:
    folder = tmp_path / "share"
    with uploads(folder) as watched:
        assert why(watched) == f"{folder} cannot be read: No such file or directory" == watched.states[0].reason
        folder.mkdir()
        assert why(watched, StaleFrame) == f"no picture in {folder} yet" == watched.states[-1].reason
        add(folder / "a.jpg", 10)
        assert shade(watched) == 10
        assert [state.online for state in watched.states] == [False, False, True]


def test_file_in_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    with uploads(add(tmp_path / "a.jpg", 10)) as watched:
        assert why(watched) == f"{tmp_path / 'a.jpg'} is not a folder, which new_only requires"


# --- clocks ---


class Clock:
    """The box's clock, `ahead_s` before the true one."""

    def __init__(self, ahead_s: float = 0.0) -> None:
        self.ahead_s = ahead_s

    def __call__(self) -> float:
        return time.time() + self.ahead_s


def taken(newest: NewestFirst) -> int | str:
    try:
        return int(newest.take()[0].mean().round())
    except CameraError as error:
        return str(error).partition(" since ")[0]


def test_time_stamp_in_the_future_is_replaced_by_that_of_the_change(tmp_path: Path) -> None:
    """Cameras in another time zone set the time of their uploads."""
    newest = NewestFirst(tmp_path, read_picture)
    add(tmp_path / "a.jpg", 10, age_s=-9 * 3600)
    pixels, captured = newest.take()
    assert round(pixels.mean()) == 10
    assert 0 <= time.monotonic() - captured < 2
    add(tmp_path / "b.jpg", 20, age_s=-3600)
    assert [taken(newest), taken(newest)] == [20, f"no new picture in {tmp_path}"]


def test_files_of_a_share_whose_clock_is_ahead_are_new_when_they_are_found(tmp_path: Path) -> None:
    clock = Clock(ahead_s=-40)
    newest = NewestFirst(tmp_path, read_picture, clock)
    add(tmp_path / "a.jpg", 10)
    assert taken(newest) == f"no picture in {tmp_path} yet", "it may be of any age"
    add(tmp_path / "b.jpg", 20)
    pixels, captured = newest.take()
    assert (round(pixels.mean()), time.monotonic() - captured < 2) == (20, True)
    assert taken(newest) == f"no new picture in {tmp_path}"


def test_no_old_picture_passes_as_new_after_the_clock_was_set_back(tmp_path: Path) -> None:
    clock = Clock()
    newest = NewestFirst(tmp_path, read_picture, clock)
    add(tmp_path / "a.jpg", 10, age_s=2)
    add(tmp_path / "b.jpg", 20, age_s=1)
    assert taken(newest) == 20
    clock.ahead_s = -3600
    assert taken(newest) == f"no new picture in {tmp_path}"
    add(tmp_path / "c.jpg", 30, age_s=3599.5)
    assert taken(newest) == 30
    clock.ahead_s = 0
    assert taken(newest) == f"no new picture in {tmp_path}", "also when the clock has reached the old pictures"
    add(tmp_path / "d.jpg", 40)
    assert taken(newest) == 40
