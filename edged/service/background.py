"""A call in a thread of its own, so that the main thread can go on feeding the watchdog."""

from __future__ import annotations

import threading
from collections.abc import Callable


class BackgroundCall:
    def __init__(self, call: Callable[[], object], name: str) -> None:
        self._call = call
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def done(self) -> bool:
        return not self._thread.is_alive()

    def check(self) -> None:
        """Call after the end. Raises the exception of the call."""
        if self._error:
            raise self._error

    def _run(self) -> None:
        try:
            self._call()
        except BaseException as error:  # raised by `check`
            self._error = error
