"""Message expiry: a monotonic time inside edged, whole seconds in a message."""

from __future__ import annotations

import math
import time


def seconds_until(until: float) -> int | None:
    """Whole seconds until a monotonic time, rounded up; None for infinity. At least 1: some brokers take 0 as never."""
    if until == math.inf:
        return None
    return max(1, math.ceil(until - time.monotonic()))
