"""A wall clock that can be set, for one Python process: `time.time`, and `datetime.now` and `utcnow`.

`install` before the modules are imported that use them. The clock of C libraries, such as SQLite's, is not shifted,
nor is any monotonic clock.
"""

from __future__ import annotations

import datetime
import threading
import time
from typing import Any

REAL, REAL_TIME = datetime.datetime, time.time
ahead_s = [0.0]
wanted = threading.Event()  # a look is running, in which the clock is to jump


class _Like(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, REAL)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, REAL)


class Shifted(datetime.datetime, metaclass=_Like):
    """In the place of `datetime.datetime`. What it returns are ordinary datetimes."""

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        return REAL.fromtimestamp(time.time(), tz)

    @classmethod
    def utcnow(cls) -> Any:
        return REAL.fromtimestamp(time.time(), datetime.UTC).replace(tzinfo=None)


def install() -> None:
    setattr(time, "time", lambda: REAL_TIME() + ahead_s[0])  # noqa: B010  # mypy knows the modules
    setattr(datetime, "datetime", Shifted)  # noqa: B010
