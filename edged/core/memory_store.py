"""A store without a file: nothing survives the process. For tests and one-shot commands."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edged.core.interfaces import FrameStore
from edged.core.kept_frames import KeptFrame, Label, LabelProgress, LabelRefused, LabelTask, LabelVerdict
from edged.core.specs import FramesSpec, HistorySpec
from edged.core.types import Fact, StoredMessage, StoreFigures, Value


class NoFrames:
    """Keeps no frame. See `core.interfaces.FrameStore`."""

    def keep(self, frame: KeptFrame, encode: Callable[[], bytes]) -> None: ...

    def next_unlabelled(self) -> LabelTask | None:
        return None

    def task(self, frame: str) -> LabelTask | None:
        return None

    def read(self, frame: str) -> bytes | None:
        return None

    def progress(self) -> LabelProgress:
        return LabelProgress(0, 0, 0)

    def label(self, frame: str, question: str, verdict: LabelVerdict | None, truth: Value = None) -> Label:
        raise LabelRefused("no frames are kept")

    def undo(self) -> Label | None:
        return None


class MemoryStore:
    """See `core.interfaces.Store`."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._facts: dict[str, dict[str, Any]] = {}
        self._no_frames = NoFrames()

    @property
    def moved_at(self) -> float:
        """Monotonic: when the writing thread last made progress; infinite without one."""
        return float("inf")

    @property
    def frames(self) -> FrameStore:
        return self._no_frames

    def keep(self, history: HistorySpec | None, frames: FramesSpec | None = None) -> None: ...

    def facts(self, kind: str) -> dict[str, Any]:
        with self._lock:
            return dict(self._facts.get(kind, {}))

    def remember(self, facts: Sequence[Fact]) -> None:
        with self._lock:
            for fact in facts:
                of_kind = self._facts.setdefault(fact.kind, {})
                of_kind.pop(fact.name, None)
                if fact.value is not None:
                    of_kind[fact.name] = fact.value

    def next_number(self) -> int:
        return next(self._numbers)

    def write(self, messages: Sequence[StoredMessage], facts: Sequence[Fact], then: Callable[[bool], None]) -> None:
        self.remember(facts)
        then(False)

    def mark_late(self, payloads: Mapping[int, bytes]) -> bool:
        return True

    def done(self, numbers: Sequence[int]) -> None: ...

    def payload(self, number: int) -> bytes | None:
        return None

    def found(self) -> Sequence[StoredMessage]:
        return ()

    def found_facts(self) -> Sequence[Fact]:
        return ()

    def figures(self) -> StoreFigures:
        return StoreFigures(working=True, bytes=0, lost=0)

    def close(self) -> bool:
        return True
