"""The files of kept frames: in one folder, each complete or not there at all. Every function raises OSError."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

from edged.core.kept_frames import FILE_NAME

PART = ".part"  # ends the name of a file that is being written; what ends so at a start is from a process that died
FREE_BYTES = 64_000_000  # of the disk that frames leave to others: edged.db is on it


class FrameFiles:
    """In `folder`, which is created with the first file, for the owner only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, data: bytes) -> None:
        """Write a whole file, on disk when this returns. It is not written if the disk is full but for FREE_BYTES."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._check_room(len(data))
        part = self.folder / f"{name}{PART}"
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.folder / name)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def delete(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)

    def may_exist(self) -> bool:
        """False if it does not, or if this user may not look."""
        with suppress(OSError):
            return self.folder.exists()
        return False

    def names(self) -> set[str]:
        """The frames, and the parts of frames, in the folder. Files with other names are not edged's."""
        if not self.folder.exists():
            return set()
        return {each.name for each in self.folder.iterdir() if FILE_NAME.fullmatch(each.name.removesuffix(PART))}

    def _check_room(self, size: int) -> None:
        disk = os.statvfs(self.folder)
        if disk.f_bavail * disk.f_frsize - size < FREE_BYTES:
            raise OSError(errno.ENOSPC, "disk nearly full")
