"""The NPUs' temperature and load, without waiting for a driver that hangs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from edged.core.outage import Outage
from edged.core.types import NpuFigures

log = logging.getLogger("edged")

LIMIT_S = 0.5


class NpuReading:
    """For one thread. The driver is called in another one, because the call may never return."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._figures: Sequence[NpuFigures] = ()
        self._outage = Outage("metrics", log, "the NPU driver responds again")

    def figures(self, read: Callable[[], Sequence[NpuFigures]]) -> Sequence[NpuFigures]:
        """What `read` returns; nothing while a call of it takes longer than 0.5 s."""
        if self._thread is None or not self._thread.is_alive():
            self._figures = ()
            self._thread = threading.Thread(target=self._run, args=(read,), name="edged-npu-figures", daemon=True)
            self._thread.start()
            self._thread.join(LIMIT_S)
        if self._thread.is_alive():
            self._outage.begin("the NPU driver does not respond; temperature and load are not reported")
            return ()
        self._outage.end()
        return self._figures

    def _run(self, read: Callable[[], Sequence[NpuFigures]]) -> None:
        self._figures = read()
