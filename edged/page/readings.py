"""What the page reads of the store, which it may not import: functions that are given to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edged.core.types import PastAnswer


@dataclass(frozen=True, slots=True)
class Readings:
    """Functions for any thread but the event loop's; they may wait for the disk.

    `past_answers` has the answers to a question of a camera, oldest first: those since a moment (wall clock), and a few
    before it. It raises EdgedError, also while it is read, if the store cannot be read.
    """

    past_answers: Callable[[str, str, float], Iterator[PastAnswer]] = lambda camera, question, since: iter(())
