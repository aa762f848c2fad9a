"""A file that is polled: whether its content has changed, and has then stayed the same for two polls."""

from __future__ import annotations

import hashlib
from pathlib import Path

from edged.config.document import read_bytes


class WatchedFile:
    """Polls by content, because editors replace files and clocks jump."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = self._digest()
        self._candidate: bytes | None = None

    def changed(self) -> bool:
        """Whether there is a new content, complete as far as one can tell.

        A missing file is no content; one that cannot be read is, for its owner believes that it is in force.
        """
        now = self._digest()
        if now is None or now == self._known:
            self._candidate = None
            return False
        if now != self._candidate:
            self._candidate = now
            return False
        self._known = now
        return True

    def settle(self) -> None:
        """It is read now: what stands there, or that nothing does, is known."""
        self._known, self._candidate = self._digest(), None

    def _digest(self) -> bytes | None:
        try:
            content = read_bytes(self._path)
        except FileNotFoundError:  # an editor that is just replacing it
            return None
        except OSError as error:
            content = repr(error).encode(errors="replace")
        return hashlib.sha256(content).digest()
