"""The packets of an open stream: compressed pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

CODEC_NAMES = {"h264": "H.264", "hevc": "H.265", "MJPG": "MJPEG"}


@dataclass(frozen=True, slots=True)
class Packet:
    """One compressed picture, or a slice of one. Times are monotonic.

    `since` is when the wait for it began. A packet is no younger than that: FFmpeg's parser delivers one only when the
    next one begins, and after a stall the first one delivered is as old as the stall.
    """

    data: bytes
    key: bool
    since: float
    arrived: float
    stream_s: float | None  # the camera's own time stamp, which is not a reliable clock: see LiveEdge


@dataclass(frozen=True, slots=True)
class OpenStream:
    """`extradata` contains the parameter sets that may be missing in the packets; `about` is for the log."""

    codec: str
    extradata: bytes
    about: str
    packets: Iterator[Packet]
