"""What the page reads beside edged itself: of the store, which it may not import, and of the demo."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edged.core.types import PastAnswer


@dataclass(frozen=True, slots=True)
class Readings:
    """The functions are for any thread but the event loop's; they may wait for the disk.

    `past_answers` has the answers to a question of a camera, oldest first: those since a moment (wall clock), and a few
    before it. It raises EdgedError, also while it is read, if the store cannot be read. `verdicts` is the file in which
    the demo says whether answers are right; None without one.
    """

    past_answers: Callable[[str, str, float], Iterator[PastAnswer]] = lambda camera, question, since: iter(())
    verdicts: Path | None = None
