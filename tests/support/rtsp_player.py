"""Plays a clip into one RTSP session in real time, and records when each picture was sent."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from itertools import count
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
    """A picture, also one that was lost on the way. Times are monotonic.

    `captured` is when a camera would have taken it, `sent` when its first packet left.
    """

    number: int
    captured: float
    sent: float


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


def due(script: Script, first: int, place: int) -> Due:
    """Picture `place` of a session that begins with unit `first` of the clip."""
    switched = script.switch is not None and place >= script.switch[0]
    clip, begin = (script.switch[1], -script.switch[0]) if script.switch and switched else (script.clip, first)
    rounds, at = divmod(begin + place, len(clip.units))
    unit = clip.units[at]
    shown = rounds * len(clip.units) + unit.shown - begin
    parameter_sets = unit.key and (switched or script.parameter_sets != "sdp")
    slot_s, lost = _slot_s(script, place), _interrupted_until(script, place, "lost") is not None
    late_s = _interrupted_until(script, place, "late") or slot_s
    return Due(place, clip, unit, shown / clip.fps + slot_s - place / clip.fps, late_s, parameter_sets, lost)


def _slot_s(script: Script, place: int) -> float:
    """When picture `place` in order of decoding would be sent, without delays on the way."""
    paused = [each.seconds for each in script.interruptions if each.pictures == "none taken" and each.place <= place]
    return place / script.clip.fps + sum(paused)


def _interrupted_until(script: Script, place: int, kind: str) -> float | None:
    """The end of the interruption of this kind that picture `place` falls into."""
    slot_s = _slot_s(script, place)
    spans = [(_slot_s(script, each.place), each.seconds) for each in script.interruptions if each.pictures == kind]
    return next((begin + seconds for begin, seconds in spans if begin <= slot_s < begin + seconds), None)


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
        for place in count():
            picture = due(self._script, self._first, place)
            if picture.send_s >= ends_s or not self._wait_until(self._began + picture.send_s):
                return
            self._report()
            self._send(picture)
            self.next_unit = self._first + place + 1

    def say_bye(self) -> None:
        self._transport.send_rtcp(bye())

    def ticks(self, media_s: float) -> int:
        return FIRST_TICKS + round(self._script.stamps(media_s) * CLOCK_HZ)

    @property
    def first_stamp(self) -> tuple[int, int]:
        """Sequence number and time stamp for the RTP-Info header."""
        return FIRST_SEQUENCE & 0xFFFF, self.ticks(0.0) & 0xFFFFFFFF

    def _wait_until(self, moment: float) -> bool:
        """False if the session ended meanwhile."""
        while not self._ended.is_set():
            left = moment - time.monotonic()
            if left <= 0 and self._running.is_set():
                return True
            if left > 0:
                self._ended.wait(left)
            else:
                self._running.wait(0.05)
        return False

    def _send(self, picture: Due) -> None:
        captured = self._began + picture.media_s - self._latency_s
        # Before the packets: a client may ask for it as soon as it has the last one.
        self._log.append(Sent(picture.unit.number, captured, time.monotonic()))
        ticks = self.ticks(picture.media_s)
        parts = payloads(picture.clip, picture.unit, picture.parameter_sets, self._script.mtu)
        for fragment, part in enumerate(parts):
            piece = Piece(picture.place, picture.unit.number, picture.unit.key, fragment, len(parts))
            if not picture.lost and not self._script.drop(piece):
                self._send_part(part, ticks, fragment == len(parts) - 1)
            self._sequence += 1

    def _send_part(self, part: bytes, ticks: int, marker: bool) -> None:
        payload_type = PAYLOAD_TYPES[self._script.clip.codec]
        self._transport.send_rtp(rtp(part, payload_type, self._sequence, ticks, marker))
        self._octets += len(part)
        self._packets += 1

    def _report(self) -> None:
        reports, now = self._script.reports, time.monotonic()
        if reports and now >= self._next_report:
            self._next_report = now + reports.every_s
            ticks = self.ticks(now - self._began + self._latency_s)
            wall_s = time.time() + reports.ahead_s
            self._transport.send_rtcp(sender_report(wall_s, ticks, self._packets, self._octets))
