"""A store that has looks on disk when a test says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edged.core.memory_store import MemoryStore
from edged.core.types import Fact, StoredMessage


class SlowStore(MemoryStore):
    """Has a look on disk only when `finish` is called."""

    def __init__(self) -> None:
        super().__init__()
        self._unfinished: list[Callable[[bool], None]] = []

    def write(self, messages: Sequence[StoredMessage], facts: Sequence[Fact], then: Callable[[bool], None]) -> None:
        self._unfinished.append(then)

    def finish(self) -> None:
        for then in self._unfinished:
            then(True)
        self._unfinished.clear()
