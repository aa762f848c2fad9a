"""How the main thread waits: for a model to load, a worker to leave, a broker to be closed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from edged.core.errors import Stopped

# Wait until the condition is true, at most so many seconds; True if it became true.
Wait: TypeAlias = Callable[[Callable[[], bool], float], bool]


@dataclass(frozen=True, slots=True)
class Waiting:
    """`meanwhile` is called repeatedly during a wait, and paces it. `ending` is True once edged has to end."""

    meanwhile: Callable[[], None]
    ending: Callable[[], bool]

    def wait(self, condition: Callable[[], bool], limit_s: float) -> bool:
        """A `Wait` that raises Stopped once edged has to end."""
        return self._wait(condition, limit_s, interruptible=True)

    def wait_uninterrupted(self, condition: Callable[[], bool], limit_s: float) -> bool:
        """A `Wait` that goes on when edged has to end."""
        return self._wait(condition, limit_s, interruptible=False)

    def _wait(self, condition: Callable[[], bool], limit_s: float, interruptible: bool) -> bool:
        end = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > end:
                return False
            self.meanwhile()
            if interruptible and self.ending():
                raise Stopped
        return True
