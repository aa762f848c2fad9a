"""A file that is polled for new content."""

from __future__ import annotations

import hashlib
from pathlib import Path

from edged.config.document import read_bytes


class WatchedFile:
    """Compares content and not modification times, because editors replace files and clocks jump."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: bytes | None = None
        self._candidate: bytes | None = None

    def remember(self) -> None:
        """Take the current content, or the absence of the file, as known."""
        self._known, self._candidate = self._digest(), None

    def changed(self) -> bool:
        """Poll the file. True once for new content, when two polls in a row have read the same: it is complete then.

        A missing file is not new content, because an editor may be replacing it. A file that cannot be read is new
        content, because the user may believe that it is active.
        """
        digest = self._digest()
        if digest is None or digest == self._known:
            self._candidate = None
            return False
        if digest != self._candidate:
            self._candidate = digest
            return False
        self._known = digest
        return True

    def _digest(self) -> bytes | None:
        try:
            content = read_bytes(self._path)
        except FileNotFoundError:
            return None
        except OSError as error:
            content = repr(error).encode(errors="replace")
        return hashlib.sha256(content).digest()
