"""Folders of pictures: each picture in the order of the names, or only what another program adds."""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from edged.cameras.jpeg import DamagedPicture
from edged.cameras.picture import Pixels
from edged.cameras.picture_file import PICTURE_SUFFIXES
from edged.core.errors import CameraError, NothingNew, StaleFrame

UNFINISHED_S = 10.0  # a file that cannot be decoded may still be written for so long after its last change
TRIES = 5  # pictures per look
SUFFIXES = tuple(PICTURE_SUFFIXES)

ReadPicture = Callable[[Path], Pixels]


class InNameOrder:
    """One picture after the other by name, over and over. The folder is listed again after its last picture."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pending: list[Path] = []  # in reverse order

    def next(self) -> Path:
        path = self._next_pending()
        if path is None:
            pictures = (path for path in self._folder.iterdir() if _is_picture(path.name))
            self._pending = sorted(pictures, key=lambda path: path.name, reverse=True)
            path = self._next_pending()
        if path is None:
            raise CameraError(f"{self._folder} contains no picture")
        return path

    def _next_pending(self) -> Path | None:
        """The next one that still exists."""
        while self._pending:
            path = self._pending.pop()
            if os.path.lexists(path):
                return path
        return None


def _is_picture(name: str) -> bool:
    """False for hidden files: macOS leaves `._a.jpg` beside `a.jpg` on a share."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


@dataclass(frozen=True, slots=True, order=True)
class _Entry:
    """A picture file and when it was last changed, in seconds since 1970."""

    changed: float
    path: str


class NewestFirst:
    """The newest picture that was not taken yet, subfolders included. Pictures older than a taken one are left out.

    Pictures that were there before the first look are candidates like any other: `max_age` decides.
    """

    def __init__(self, folder: Path, read: ReadPicture, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._read = read
        self._clock = clock
        self._taken = _Entry(0.0, "")
        self._since: str | None = None  # when the newest picture that was taken is from
        # Known files with a time stamp in the future. They must not pass as new when the clock reaches it.
        self._ahead: set[_Entry] | None = None

    def take(self) -> tuple[Pixels, float]:
        """The pixels (BGR) and when the file was last changed (monotonic). Raises StaleFrame if there is nothing new.

        A file that is still being written is left for a later look. One with a time stamp in the future counts as
        changed just now. Raises CameraError if the new files are unreadable or damaged.
        """
        listed = self._listed()
        now, mono = self._clock(), time.monotonic()  # after it, or a new file would be from the future
        failed: CameraError | None = None
        for entry in self._candidates(listed, now):
            age_s = max(0.0, now - entry.changed)
            try:
                pixels = self._read(Path(entry.path))
            except CameraError as error:
                refusal = self._refusal(entry, age_s, error)
                failed = failed or refusal
                continue
            self._taken = max(self._taken, min(entry, _Entry(now, "")))
            self._since = f"{datetime.fromtimestamp(now - age_s, UTC).astimezone():%Y-%m-%d %H:%M:%S}"
            return pixels, mono - age_s
        raise failed or NothingNew(self._nothing_new())

    def _candidates(self, listed: list[_Entry], now: float) -> list[_Entry]:
        """The newest ones first."""
        known = self._ahead
        self._ahead = {entry for entry in listed if entry.changed > now or entry in (known or ())}
        passed = self._ahead if known is None else known
        fresh = (entry for entry in listed if entry > self._taken and entry not in passed)
        newest = heapq.nlargest(TRIES, fresh)
        self._taken = min(self._taken, _Entry(now, ""))  # the clock may have been set back
        return newest

    def _listed(self) -> list[_Entry]:
        """Raises OSError if there are pictures, and the state of none of them can be read."""
        entries: list[_Entry] = []
        unreadable: OSError | None = None
        for path in self._paths():
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            except OSError as error:
                unreadable = error
                continue
            # The change time is the local clock's; programs that upload may set the other to anything.
            entries.append(_Entry(min(status.st_mtime, status.st_ctime), str(path)))
        if unreadable and not entries:
            raise unreadable
        return entries

    def _paths(self) -> Iterator[Path]:
        def check(error: OSError) -> None:
            if error.filename == str(self._folder):  # a subfolder may have been removed meanwhile
                raise error

        for folder, subfolders, names in os.walk(self._folder, onerror=check):
            subfolders[:] = [name for name in subfolders if not name.startswith(".")]
            yield from (Path(folder, name) for name in names if _is_picture(name))

    def _refusal(self, entry: _Entry, age_s: float, error: CameraError) -> CameraError:
        """StaleFrame for a file that may still be written, which is read again; a damaged one is not."""
        if age_s < UNFINISHED_S:
            if self._ahead:
                self._ahead.discard(entry)
            return StaleFrame(f"{entry.path} is not complete yet")
        if isinstance(error, DamagedPicture):
            self._taken = max(self._taken, entry)
        return error

    def _nothing_new(self) -> str:
        if self._since is None:
            return f"no picture in {self._folder} yet"
        return f"no new picture in {self._folder} since {self._since}"
