"""The packets of an open stream: compressed pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

CODEC_NAMES = {"h264": "H.264", "hevc": "H.265", "mjpeg": "MJPEG"}


@dataclass(frozen=True, slots=True)
class Packet:
    """One compressed picture, or a slice of one. Times are monotonic.

    `since` is a time before it arrived, such as when the wait for it began, and counts as its arrival: FFmpeg's parser
    delivers a packet only when the next one begins, and after a stall the first one delivered is as old as the stall.
    `stream_s` is the camera's own time stamp, which is not a reliable clock: see LiveEdge. `sent_s` is the same in
    seconds since 1970, by the camera's own wall clock. `lost` says that data was lost on the way, before or within this
    packet.
    """

    data: bytes
    key: bool
    since: float
    arrived: float
    stream_s: float | None
    sent_s: float | None = None
    lost: bool = False


@dataclass(frozen=True, slots=True)
class OpenStream:
    """`codec` is FFmpeg's name of it. `extradata` contains the parameter sets that may be missing in the packets.

    `packets` has None where nothing arrived for some seconds, and raises CameraError when the connection is lost.
    `stamped` says that packets have time stamps; the first one may lack it. `began` is the open (monotonic).
    """

    codec: str
    extradata: bytes
    packets: Iterator[Packet | None]
    stamped: bool = False
    began: float | None = None


def codec_name(codec: str) -> str:
    return CODEC_NAMES.get(codec, codec)
