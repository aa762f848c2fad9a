"""A worker is one loaded model and the one thread that calls it. The workers of one `model:` section are a group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import TypeAlias

from edged.core.interfaces import VisionModel

Load: TypeAlias = Callable[[], VisionModel]

FIRST_ENCODE_S = 600.0  # the first one of a size may compile, page in weights, or run on a slow CPU
LEAST_ENCODE_S = 60.0
ENCODES = 10  # an encode that takes so many times the slowest one before it hangs


@dataclass(slots=True)
class EncodeTime:
    """How long encodes of pictures of about one size take. The first one is forgotten as soon as there is a second."""

    count: int = 0
    slowest_s: float = 0.0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.slowest_s = max(seconds, self.slowest_s) if self.count > 2 else seconds

    def limit_s(self) -> float:
        """How long one may take before it counts as hung."""
        return max(LEAST_ENCODE_S, ENCODES * self.slowest_s) if self.count else FIRST_ENCODE_S


@dataclass(slots=True, eq=False)
class Worker:
    """One model and its thread. The worker queue's lock guards everything but `load`.

    `model` is None until it is loaded and after it was disposed of; `error` is why it could not be loaded. A worker is
    `finishing` at the last question of a look. While it serves a request it is `urgent`, and `interrupted` if a look
    waits for the end of that. `expected_by` (monotonic) is when the current call should have returned, None while idle.
    `pixels` is the size of the picture that was or is being encoded. Encode times are kept for each power of two of it.
    """

    name: str
    load: Load
    group: WorkerGroup
    model: VisionModel | None = None
    error: BaseException | None = None
    thread: Thread | None = None
    busy: bool = False
    finishing: bool = False
    urgent: bool = False
    interrupted: bool = False
    expected_by: float | None = None
    pixels: int = 0
    encode_times: dict[int, EncodeTime] = field(default_factory=dict)

    def has_room(self, urgent: bool) -> bool:
        """True if it can take another look soon; a request (`urgent`) may interrupt a look of the schedule."""
        if self.model is None:
            return False
        if urgent:
            return not self.urgent or self.finishing
        return not self.busy or (self.finishing and not self.interrupted)

    def encoded(self, seconds: float) -> None:
        """Record how long the encode took."""
        self._encode_time().add(seconds)

    def encode_limit_s(self) -> float:
        """How long an encode of a picture of this size may take before it counts as hung."""
        return self._encode_time().limit_s()

    def _encode_time(self) -> EncodeTime:
        return self.encode_times.setdefault(self.pixels.bit_length(), EncodeTime())


@dataclass(slots=True, eq=False)
class WorkerGroup:
    """The workers of one `model:` section: loaded, put into service and dismissed together.

    `leaving` is set when the group is dismissed. Its model calls end at the next token.
    """

    workers: list[Worker] = field(default_factory=list)
    leaving: Event = field(default_factory=Event)

    def ready(self) -> bool:
        """True if all models are loaded. Raises the error of one that could not be loaded."""
        for worker in self.workers:
            if worker.error:
                raise worker.error
        return all(worker.model for worker in self.workers)

    def models(self) -> list[VisionModel]:
        """Those that are loaded."""
        return [model for worker in self.workers if (model := worker.model)]

    def gone(self) -> bool:
        """True if every thread has ended, and its model is disposed of."""
        return not any(worker.thread and worker.thread.is_alive() for worker in self.workers)
