"""Plays a clip into one RTSP session in real time, and records when each picture was sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from support.clips import AccessUnit, Clip
from support.rtp import bye, payloads, rtp, sender_report
from support.rtsp_script import Piece, Script

CLOCK_HZ = 90_000
PAYLOAD_TYPES = {"h264": 96, "h265": 96, "jpeg": 26}
FIRST_SEQUENCE, FIRST_TICKS = 65_500, 2**32 - 5 * CLOCK_HZ  # both overflow within the first seconds


class Transport(Protocol):
    """Where a session's packets go. Raises OSError once the client is gone."""

    def send_rtp(self, packet: bytes) -> None: ...
    def send_rtcp(self, packet: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class Sent:
    """A picture that was sent, times monotonic. `captured` is when a camera would have taken it."""

    number: int
    key: bool
    captured: float
    sent: float
    whole: bool  # no packet of it was dropped


@dataclass(frozen=True, slots=True)
class Due:
    """A picture of a session. `media_s` is its true time in the session, `send_s` when it is due after the start."""

    place: int
    clip: Clip
    unit: AccessUnit
    media_s: float
    send_s: float
    parameter_sets: bool
    lost: bool


def timetable(script: Script, first: int) -> Iterator[Due]:
    """The pictures of a session that begins with unit `first` of the clip, without an end."""
    clip, begins, place, waited_s = script.clip, first, 0, 0.0
    interruptions = {each.place: each for each in script.interruptions}
    lost_until = late_until = -1.0
    in_stream = script.parameter_sets != "sdp"
    while True:
        if script.switch and script.switch[0] == place:
            clip, begins, in_stream = script.switch[1], -place, True
        interruption = interruptions.get(place)
        slot_s = place / clip.fps + waited_s
        if interruption and interruption.pictures == "none taken":
            waited_s += interruption.seconds
            slot_s += interruption.seconds
        elif interruption and interruption.pictures == "lost":
            lost_until = slot_s + interruption.seconds
        elif interruption:
            late_until = slot_s + interruption.seconds
        rounds, at = divmod(begins + place, len(clip.units))
        unit = clip.units[at]
        shown = rounds * len(clip.units) + unit.shown - begins
        yield Due(
            place,
            clip,
            unit,
            shown / clip.fps + waited_s,
            max(slot_s, late_until),
            in_stream and unit.key,
            slot_s < lost_until,
        )
        place += 1


class Player:
    """One session. `run` returns when the script ends the session; raises OSError once the client is gone."""

    def __init__(
        self,
        script: Script,
        transport: Transport,
        first: int,
        log: list[Sent],
        ended: threading.Event,
        running: threading.Event,
    ) -> None:
        self._script = script
        self._transport = transport
        self._first = first
        self._log = log
        self._ended = ended
        self._running = running  # while it is cleared, nothing is sent
        self.next_unit = first
        self._sequence, self._packets, self._octets = FIRST_SEQUENCE, 0, 0
        self._began = self._next_report = 0.0
        # The first picture shown was taken this long before the first packet is sent.
        self._latency_s = script.clip.reorder / script.clip.fps + script.delay_s

    def run(self) -> None:
        self._began = self._next_report = time.monotonic()
        ends_s = self._script.ending[0] if self._script.ending else float("inf")
        for due in timetable(self._script, self._first):
            if due.send_s >= ends_s or not self._wait_until(self._began + due.send_s):
                return
            self._report()
            self._send(due)
            self.next_unit = self._first + due.place + 1

    def say_bye(self) -> None:
        self._transport.send_rtcp(bye())

    def ticks(self, media_s: float) -> int:
        return FIRST_TICKS + round(self._script.stamps(media_s) * CLOCK_HZ)

    @property
    def first_stamp(self) -> tuple[int, int]:
        """Sequence number and time stamp for the RTP-Info header."""
        return FIRST_SEQUENCE & 0xFFFF, self.ticks(0.0) & 0xFFFFFFFF

    def _wait_until(self, due: float) -> bool:
        """False if the session ended meanwhile."""
        while not self._ended.is_set():
            left = due - time.monotonic()
            if left <= 0 and self._running.is_set():
                return True
            if left > 0:
                self._ended.wait(left)
            else:
                self._running.wait(0.05)
        return False

    def _send(self, due: Due) -> None:
        script, unit = self._script, due.unit
        parts = payloads(due.clip, unit, due.parameter_sets, script.mtu)
        ticks, whole = self.ticks(due.media_s), True
        for fragment, part in enumerate(parts):
            piece = Piece(due.place, unit.number, unit.key, fragment, len(parts))
            if due.lost or script.drop(piece):
                whole = False
            else:
                marker = fragment == len(parts) - 1
                payload_type = PAYLOAD_TYPES[script.clip.codec]
                self._transport.send_rtp(rtp(part, payload_type, self._sequence, ticks, marker))
                self._octets += len(part)
                self._packets += 1
            self._sequence += 1
        captured = self._began + due.media_s - self._latency_s
        self._log.append(Sent(unit.number, unit.key, captured, time.monotonic(), whole))

    def _report(self) -> None:
        reports, now = self._script.reports, time.monotonic()
        if reports and now >= self._next_report:
            self._next_report = now + reports.every_s
            ticks = self.ticks(now - self._began + self._latency_s)
            wall_s = time.time() + reports.ahead_s
            self._transport.send_rtcp(sender_report(wall_s, ticks, self._packets, self._octets))
