"""The packets of an open stream: compressed pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

TOGETHER_S = 0.05  # the second picture of a live stream comes later
JUST_BEFORE_S = 0.001  # another picture, and as good as the same time
CODEC_NAMES = {"h264": "H.264", "hevc": "H.265", "mjpeg": "MJPEG"}


@dataclass(frozen=True, slots=True)
class Packet:
    """One compressed picture, or a slice of one. Times are monotonic.

    `since` is when the wait for it began. A packet is no younger than that: FFmpeg's parser delivers one only when the
    next one begins, and after a stall the first one delivered is as old as the stall. `stream_s` is the camera's own
    time stamp, which is not a reliable clock: see LiveEdge. `sent_s` is the same in seconds since 1970, by the camera's
    own wall clock. `lost` says that data was lost on the way, before or within this packet.
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
    """

    codec: str
    extradata: bytes
    packets: Iterator[Packet | None]


def codec_name(codec: str) -> str:
    return CODEC_NAMES.get(codec, codec)


def age_first(packets: Iterator[Packet | None], began: float) -> Iterator[Packet | None]:
    """The same packets. The first one is older than its delivery by the time between two; `began` is the least.

    It arrived during the open already, and waited in FFmpeg's parser until the second one began. FFmpeg may not know
    its time stamp yet: if both have waited, it gets one just before the second, so that it is judged like those that
    follow it.
    """
    for first in packets:
        if first is not None:
            break
        yield None
    else:
        return
    for second in packets:
        between_s = _between_s(first, second) if second else 0.0
        stamp = _stamp_of_first(first, second) if second else first.stream_s
        yield replace(first, since=max(began, first.since - between_s), stream_s=stamp)
        yield second
        break
    yield from packets


def _stamp_of_first(first: Packet, second: Packet) -> float | None:
    together = second.arrived - first.arrived < TOGETHER_S
    if first.stream_s is None and second.stream_s is not None and together:
        return second.stream_s - JUST_BEFORE_S
    return first.stream_s


def _between_s(first: Packet, second: Packet) -> float:
    """By their arrival, or by the camera's time stamps if that is longer: they may arrive in one burst."""
    by_arrival_s = second.arrived - first.arrived
    if first.stream_s is None or second.stream_s is None:
        return by_arrival_s
    return max(by_arrival_s, second.stream_s - first.stream_s)
