"""How old a packet is, by the camera's time stamps."""

from __future__ import annotations

from collections import deque

from edged.cameras.packets import Packet


class LiveEdge:
    """How far behind the newest each packet is.

    After an open, and after congestion, seconds of old packets arrive in one burst: the camera's time stamps then
    advance faster than our clock. The stamps are not a reliable clock: they run backwards with B-frames, jump by hours
    when an encoder restarts, and run slow in the dark. So only a packet's lag relative to the least lag of the last
    5 s counts, and a jump starts over.
    """

    WINDOW_S = 5.0
    BACKWARDS_S = 0.5  # more than B-frames step back
    FORWARDS_S = 10.0
    CALM_S = 0.5
    BURST_S = 3.0  # longer than any burst after an open

    def __init__(self) -> None:
        self.reached = False  # the burst after the open is over
        self._lags: deque[tuple[float, float]] = deque()  # (arrived, lag), the least lag first
        self._stream_s: float | None = None
        self._first_arrived: float | None = None
        self._least = 0.0
        self._calm_since = 0.0

    def captured(self, packet: Packet) -> float:
        """The latest time at which the packet's picture can have been captured (monotonic)."""
        if packet.stream_s is None:
            self.reached = True
            return packet.since
        if self._stream_s is not None and not -self.BACKWARDS_S < packet.stream_s - self._stream_s < self.FORWARDS_S:
            self._lags.clear()
        self._stream_s = packet.stream_s
        lag = packet.arrived - packet.stream_s
        while self._lags and self._lags[-1][1] >= lag:
            self._lags.pop()
        self._lags.append((packet.arrived, lag))
        while self._lags[0][0] < packet.arrived - self.WINDOW_S:
            self._lags.popleft()
        least = self._lags[0][1]
        self._detect_end_of_burst(packet.arrived, least)
        return packet.since - (lag - least)

    def _detect_end_of_burst(self, arrived: float, least: float) -> None:
        """The burst is over when the least lag no longer falls."""
        if self._first_arrived is None:
            self._first_arrived, self._least, self._calm_since = arrived, least, arrived
        elif abs(self._least - least) > 0.1:
            self._least, self._calm_since = least, arrived
        self.reached |= arrived - self._calm_since > self.CALM_S or arrived - self._first_arrived > self.BURST_S
