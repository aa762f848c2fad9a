"""When a picture was captured, from the driver's time stamps: most are of CLOCK_MONOTONIC, some of another clock."""

from __future__ import annotations

from collections import deque

WINDOW = 30  # pictures whose delays are remembered
ENOUGH = 10  # more than a driver's queue holds: old pictures are followed by new ones sooner than this
AHEAD_S = 2.0  # some drivers stamp a picture up to one frame before it is captured
BEHIND_S = 5.0


class StampClock:
    """Turns the stamps of one connection into capture times by time.monotonic().

    An old stamp is that of an old picture, however old: a queue is full of them after the process was stopped. Stamps
    are taken to be of another clock only if they are in the future, or if all of them are equally far in the past.
    Then the shortest delay of the last 30 pictures counts as none.
    """

    def __init__(self) -> None:
        self._delays: deque[float] = deque(maxlen=WINDOW)

    def captured(self, stamp_s: float, now: float) -> float:
        """When the picture with this stamp, which arrived `now`, was captured. A driver without stamps gives 0."""
        if stamp_s <= 0:
            return now
        delay = now - stamp_s
        self._delays.append(delay)
        return now - delay + min(self._delays) if self._is_other_clock() else min(now, stamp_s)

    def _is_other_clock(self) -> bool:
        least = min(self._delays)
        return least < -AHEAD_S or (len(self._delays) >= ENOUGH and least > BEHIND_S)
