"""How old a packet is, by the camera's time stamps."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

from edged.cameras.packets import Packet

WINDOW_S = 5.0
LONG_WINDOW_S = 600.0  # for a clock that is known to be one
BURST_S = 3.0  # longer than any burst after an open


class LeastOf:
    """The least number of the last `window_s`.

    A silence counts as 1 s at most: the numbers before it are needed to judge those after it, which may have waited.
    """

    MOST_SILENCE_S = 1.0

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._numbers: deque[tuple[float, float]] = deque()  # (counted time, number), the least number first
        self._counted_s = 0.0
        self._last = float("-inf")

    def add(self, at: float, number: float) -> float:
        """Add a number at this time; the least of the window."""
        self._counted_s += min(at - self._last, self.MOST_SILENCE_S)
        self._last = at
        while self._numbers and self._numbers[-1][1] >= number:
            self._numbers.pop()
        self._numbers.append((self._counted_s, number))
        while self._numbers[0][0] < self._counted_s - self._window_s:
            self._numbers.popleft()
        return self._numbers[0][1]

    def clear(self) -> None:
        self._numbers.clear()


class LiveEdge:
    """How far behind the newest each packet is.

    After an open, and after congestion, seconds of old packets arrive in one burst: the camera's time stamps then
    advance faster than our clock. The stamps are not a reliable clock: they run backwards with B-frames, jump by hours
    when an encoder restarts, run slow in the dark, or stand still. So only a packet's lag relative to the least lag of
    the last 5 s counts, and a jump starts over. Where the camera's sender reports show that its wall clock is one, the
    lag by that clock counts, relative to the least of 10 minutes: then slow, lasting congestion is seen too.

    `stamped` says that a first packet without a time stamp is followed by packets that have one. `began` is when the
    open began (monotonic).
    """

    BACKWARDS_S = 0.5  # more than B-frames step back
    FORWARDS_S = 10.0
    STANDING_S = 0.2  # stamps that do not advance for so long are no clock; slices of a picture share one
    MOST_WAIT_S = 0.1  # of a wait for a packet that counts: a long one is congestion in the middle of a picture
    CALM_S = 0.09  # two pictures at the pace of their time stamps; a look waits for this
    CALM_AFTER_PAUSE_S = 0.5  # a busy machine reads even a burst with gaps
    FALL_S = 0.05  # by which the least lag falls while pictures arrive as they are taken
    PAUSE_S = 1.5  # an open that takes longer may have been paused, and so may a wait for the second packet

    def __init__(self, stamped: bool = False, began: float | None = None) -> None:
        self.reached = False  # the burst after the open is over
        self.stands = False  # the stamps no longer advance
        self._stamped = stamped
        self._sender = SenderClock()
        self._lags = LeastOf()
        self._stream_s: float | None = None
        self._arrived = 0.0  # the last packet
        self._stood_s = 0.0  # for how long the stamp has not changed
        self._waited_from = math.inf if began is None else began  # for the first packet, then for the first stamp
        self._burst_began = math.inf
        self._least: float | None = None
        self._calm_since = 0.0
        self._calm_s = self.CALM_S

    def captured(self, packet: Packet) -> float:
        """The latest time at which the packet's picture can have been captured (monotonic)."""
        stamp, before = packet.stream_s, self._stream_s
        if stamp is None:
            self._await_stamp(packet.arrived)
            return packet.since - self._sender.delay_s(packet)
        waited_s, self._arrived = packet.arrived - self._arrived, packet.arrived
        self._stood_s = self._stood_s + min(waited_s, self.MOST_WAIT_S) if stamp == before else 0.0
        if before is not None and not -self.BACKWARDS_S < stamp - before < self.FORWARDS_S:
            self._clear()
        self._stream_s = stamp
        self.stands = self._stood_s > self.STANDING_S
        if self.stands:
            self._clear()
        lag = packet.arrived - stamp
        least = self._lags.add(packet.arrived, lag)
        self._detect_end_of_burst(packet.arrived, least)
        delay_s = self._sender.delay_s(packet)
        return packet.since - self._sender.within(lag - least) - delay_s

    def _clear(self) -> None:
        self._lags.clear()
        self._sender.start_over()

    def _await_stamp(self, arrived: float) -> None:
        """The first packet may have no time stamp although those that follow have one."""
        if self._burst_began == math.inf:
            self._begin_burst(arrived)
        self.reached |= not self._stamped or arrived - self._burst_began > BURST_S

    def _detect_end_of_burst(self, arrived: float, least: float) -> None:
        """The burst is over when the least lag no longer falls."""
        if self._least is None:
            self._least = least
            self._begin_burst(arrived)
        elif abs(self._least - least) > self.FALL_S:
            self._least, self._calm_since = least, arrived
        self.reached |= arrived - self._calm_since > self._calm_s or arrived - self._burst_began > BURST_S

    def _begin_burst(self, arrived: float) -> None:
        """For the first packet, and for the first one with a time stamp. Nothing has waited longer than edged did."""
        paused = arrived - self._waited_from > self.PAUSE_S
        if paused:
            self._calm_s = self.CALM_AFTER_PAUSE_S
        if paused or self._burst_began == math.inf:
            self._burst_began = self._calm_since = arrived
        self._waited_from = arrived


class SenderClock:
    """How old packets are by the wall clock of a camera that sends it (RTCP sender reports).

    The delay inside the camera, before a packet arrives, is believed only within `MOST_S`: beyond, or if it is
    negative, the camera's clock and this machine's do not agree. How late a packet is relative to others is known in
    any case. Each report ties the time stamps to the wall clock again, so stamps that run slow are right on the whole,
    and fall behind until the next report.
    """

    MOST_S = 2.0
    STEADY_S = 15.0  # at least two sender reports that agree
    AGREES_S = 0.1  # by which a report may set the clock back; a clock set forward has a new least lag at once
    STEPS_S = 60.0  # longer than between two reports

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._lags = LeastOf(LONG_WINDOW_S)
        self._steps_back = LeastOf(self.STEPS_S)  # by which reports set the clock back; those forward are negative
        self._slow_s = 0.0  # the most by which the time stamps lately fell behind between two reports
        self._offset_s: float | None = None  # from the time stamps to the wall clock
        self._steady_since = 0.0
        self.late_s: float | None = None  # how late the last packet was, by 10 minutes; None: not known

    def delay_s(self, packet: Packet) -> float:
        """The least delay of the last 10 minutes, in seconds; 0.0 if it is not known."""
        self.late_s = None
        if packet.sent_s is None:
            return 0.0
        self._tie(packet.arrived, packet.sent_s - (packet.stream_s or 0.0))
        lag = packet.arrived - packet.sent_s
        least = self._lags.add(packet.arrived, lag)
        if packet.arrived - self._steady_since > self.STEADY_S:
            self.late_s = lag - least
        delay_s = least + self._wall() - self._monotonic()
        return delay_s if 0 <= delay_s <= self.MOST_S else 0.0

    def _tie(self, arrived: float, offset_s: float) -> None:
        """The time stamps to the wall clock, by the last report."""
        step_back_s = 0.0 if self._offset_s is None else self._offset_s - offset_s
        if self._offset_s is None or step_back_s > self.AGREES_S:
            self._steady_since = arrived
            self._lags.clear()
        self._slow_s = -self._steps_back.add(arrived, step_back_s)
        self._offset_s = offset_s

    def within(self, late_s: float) -> float:
        """A lateness by the time stamps, within the bounds that the wall clock sets to it."""
        if self.late_s is None:
            return late_s
        return min(max(late_s, self.late_s - self._slow_s), self.late_s)

    def start_over(self) -> None:
        """The time stamps have jumped, or are no clock."""
        self._offset_s = None
