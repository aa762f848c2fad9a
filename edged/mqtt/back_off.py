"""How long to wait before the next try. All times are of the monotonic clock."""

from __future__ import annotations

SLOWEST_RETRY_S = 60
SLOWEST_SHORT_S = 5
STEADY_S = 5.0
SHORT_LIMIT = 3  # so many connections in a row that ended within STEADY_S are an outage of their own


def retry_pause_s(tries: int) -> float:
    """1, 2, 4 s and so on after the first, second, third try; at most SLOWEST_RETRY_S."""
    return float(min(SLOWEST_RETRY_S, 2 ** min(max(tries - 1, 0), 6)))


class ShortConnections:
    """Connections in a row that ended within STEADY_S, as when two clients with one id disconnect each other."""

    def __init__(self) -> None:
        self._count = 0
        self._connected_at = 0.0

    @property
    def too_many(self) -> bool:
        return self._count >= SHORT_LIMIT

    @property
    def pause_s(self) -> float:
        """The wait before the next try while there are `too_many`: 2, 4, and then 5 s.

        Not longer: a broker that restarts again and again looks the same as two clients with one id.
        """
        return float(min(SLOWEST_SHORT_S, 2 ** min(self._count - SHORT_LIMIT + 1, 6)))

    def connected(self, now: float) -> None:
        self._connected_at = now

    def lost(self, now: float) -> bool:
        """Count a lost connection. False if there were `too_many` before and still are."""
        repeated = self.too_many
        self._count = self._count + 1 if now < self._connected_at + STEADY_S else 0
        return not (repeated and self.too_many)

    def steady(self, now: float) -> bool:
        """True once, when a connection has lasted STEADY_S after `too_many` short ones."""
        if not self._count or now < self._connected_at + STEADY_S:
            return False
        ended, self._count = self.too_many, 0
        return ended
