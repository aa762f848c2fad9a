"""A file system of 2 MB that a test can fill and make read-only."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SIZE = "2m"


class SmallDisk:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self) -> None:
        """Leave not a single block free."""
        file = os.open(self.folder / "ballast", os.O_WRONLY | os.O_CREAT)
        try:
            while True:
                os.write(file, bytes(4096))
        except OSError:
            pass
        finally:
            os.close(file)

    def free(self) -> None:
        (self.folder / "ballast").unlink()

    def make_read_only(self) -> None:
        """For files that are opened from now on.

        In one step: a mount on which a file was opened for writing meanwhile is busy.
        """
        with tempfile.TemporaryDirectory() as aside:
            subprocess.run(["mount", "--bind", self.folder, aside], check=True)
            try:
                subprocess.run(["mount", "--make-private", aside], check=True)  # its end is not that of the folder's
                subprocess.run(["mount", "-o", "remount,bind,ro", aside], check=True)
                subprocess.run(["mount", "--bind", aside, self.folder], check=True)  # read-only as well
            finally:
                subprocess.run(["umount", "-l", aside], check=True)

    def make_writable(self) -> None:
        subprocess.run(["umount", "-l", self.folder], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with mounted(tmp_path / "disk", SIZE) as disk:
        yield disk


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[SmallDisk]:
    """Mount a file system of this size. For root only."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "edged-test", folder], check=True)
    try:
        yield SmallDisk(folder)
    finally:
        while subprocess.run(["umount", "-l", folder], capture_output=True).returncode == 0:
            pass
