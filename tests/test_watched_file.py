"""A file has changed when two polls in a row read the same new content, or when it can no longer be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from edged.config.document import MAX_BYTES
from edged.service.watched_file import WatchedFile


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "edged.yaml"
    file.write_text("one")
    return file


def known(file: Path) -> WatchedFile:
    watched = WatchedFile(file)
    watched.remember()
    return watched


def test_a_file_that_was_never_read_has_changed(file: Path):
    watched = WatchedFile(file)  # does not read it
    assert [watched.changed() for _ in range(3)] == [False, True, False]


def test_new_content_counts_when_two_polls_have_seen_it(file: Path):
    watched = known(file)
    assert not watched.changed()
    file.write_text("two")
    assert [watched.changed() for _ in range(3)] == [False, True, False]


def test_a_missing_file_is_no_change(file: Path):
    watched = known(file)
    file.unlink()
    assert [watched.changed() for _ in range(3)] == [False, False, False]
    file.write_text("one")
    assert [watched.changed() for _ in range(3)] == [False, False, False]


def test_a_file_that_is_too_large_is_a_change(file: Path):
    watched = known(file)
    file.write_bytes(b"#" * (MAX_BYTES + 1))
    assert [watched.changed() for _ in range(3)] == [False, True, False]


def test_a_folder_that_replaces_the_file_is_a_change(file: Path):
    watched = known(file)
    file.unlink()
    file.mkdir()
    assert [watched.changed() for _ in range(3)] == [False, True, False]


def test_a_file_that_can_be_read_again_is_a_change(file: Path):
    watched = known(file)
    file.write_bytes(b"#" * (MAX_BYTES + 1))
    assert [watched.changed() for _ in range(2)] == [False, True]
    file.write_text("one")
    assert [watched.changed() for _ in range(3)] == [False, True, False]
