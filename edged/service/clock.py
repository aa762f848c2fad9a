"""Checks if the system clock is synchronised: without a battery-backed clock a box starts with a time in the past."""

from __future__ import annotations

import ctypes
import time
from pathlib import Path

UNSYNCHRONISED = 5  # TIME_ERROR of adjtimex(2)
TIMESYNCD = Path("/run/systemd/timesync/synchronized")
KEEP_S = 10.0

_known: tuple[float, bool] = (float("-inf"), False)


def synced() -> bool:
    """True if the clock is synchronised, according to the kernel, or to systemd-timesyncd if adjtimex is forbidden."""
    global _known  # noqa: PLW0603  # a cache: asked at every look, and seldom changes
    if time.monotonic() - _known[0] > KEEP_S:
        _known = (time.monotonic(), _ask())
    return _known[1]


def _ask() -> bool:
    buffer = ctypes.create_string_buffer(256)  # struct timex, all zero: read only
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    except AttributeError:
        state = -1
    return TIMESYNCD.exists() if state < 0 else state != UNSYNCHRONISED
