"""What the scripted RTSP server does: one value per behaviour. The default is a well-behaved camera."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from support.clips import Clip, clip

Ending: TypeAlias = Literal["bye", "close", "reset", "half", "garbage"]


@dataclass(frozen=True, slots=True)
class Piece:
    """One RTP packet, as a drop rule sees it. `place` counts the pictures of the session, `number` is in the pixels."""

    place: int
    number: int
    key: bool
    fragment: int
    fragments: int


DropRule: TypeAlias = Callable[[Piece], bool]


def keep_all(_piece: Piece) -> bool:
    return False


def lossy(share: float, seed: int = 0, spare: int = 15) -> DropRule:
    """Drops this share of all packets, none of the first `spare` pictures of a session."""
    chance = random.Random(seed)
    return lambda piece: chance.random() < share and piece.place >= spare


@dataclass(frozen=True, slots=True)
class Interruption:
    """Before a session's picture `place` nothing is sent for `seconds`.

    Pictures taken meanwhile are sent afterwards in one burst (`late`), are lost although sequence numbers and stamps
    count on (`lost`), or were never taken, as by a camera that sends on motion only (`none taken`).
    """

    place: int
    seconds: float
    pictures: Literal["late", "lost", "none taken"]


@dataclass(frozen=True, slots=True)
class Reports:
    """RTCP sender reports. `ahead_s` is how much the camera's clock is ahead of the true time."""

    every_s: float = 1.0
    ahead_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Login:
    """`challenges` are sent in this order."""

    user: str
    password: str = field(repr=False)
    challenges: tuple[Literal["Basic", "MD5", "SHA-256"], ...] = ("Basic",)


def true_stamps(seconds: float) -> float:
    return seconds


def plain_sdp(text: str) -> str:
    return text


@dataclass(frozen=True, slots=True)
class Script:
    """`tcp` and `udp` are the statuses of SETUP for each transport, `statuses` those of other methods.

    `parameter_sets` tells where they are sent. `extra_units` are put into the SDP beside them (H.265 only). `sdp`
    changes the SDP.
    `stamps` maps a picture's true time in the session to its time stamp, both in seconds. `delay_s` is the time between
    the capture of a picture and its first packet. `switch` plays another clip, with its parameter sets in the stream,
    from that picture of each session on. `join` begins each session that many pictures after a keyframe.
    `ending` ends each session after so many seconds: RTCP BYE, connection closed or reset, closed in the middle of a
    packet, or bytes that are not RTSP. `redirect` is a path on this server or a URL.
    """

    clip: Clip = field(default_factory=clip)
    tcp: int = 200
    udp: int = 200
    statuses: Mapping[str, int] = field(default_factory=dict)
    answer_s: float = 0.0
    login: Login | None = None
    redirect: str | None = None
    parameter_sets: Literal["sdp", "stream", "both"] = "both"
    extra_units: tuple[bytes, ...] = ()
    sdp: Callable[[str], str] = plain_sdp
    mtu: int = 1400
    drop: DropRule = keep_all
    interruptions: tuple[Interruption, ...] = ()
    stamps: Callable[[float], float] = true_stamps
    delay_s: float = 0.0
    reports: Reports | None = None
    switch: tuple[int, Clip] | None = None
    join: int = 0
    ending: tuple[float, Ending] | None = None
