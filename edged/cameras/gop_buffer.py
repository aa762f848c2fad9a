"""The group of pictures (GOP) that a camera is sending: the packets since the last keyframe, ready to be decoded."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from edged.cameras.packets import Packet
from edged.core.errors import CameraError

GOP_BYTES = 16 * 1024 * 1024
GOP_PACKETS = 500  # beyond these only the keyframe is kept; 500 packets at 1080p take about 1.5 s to decode
SURE_AFTER = 3  # pictures in one packet each, until a camera is assumed to send all of them so
START_CODE = b"\0\0\1"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The packets needed to decode the newest picture, and when that picture was captured (monotonic)."""

    codec: str
    packets: tuple[bytes, ...]
    captured: float


@dataclass(slots=True)
class _Picture:
    """A picture, slice by slice."""

    key: bool
    captured: float
    slices: list[bytes]
    size: int
    complete: bool = False

    def append(self, data: bytes) -> None:
        self.slices.append(data)
        self.size += len(data)
        if len(self.slices) > GOP_PACKETS or self.size > GOP_BYTES:
            raise CameraError(
                f"a picture of the stream has more than {GOP_PACKETS} slices or {GOP_BYTES // 1024 // 1024} MiB"
            )


class GopBuffer:
    """The packets since the last keyframe, bounded. One thread adds, any thread may take a snapshot.

    A picture can arrive as several packets, one per slice. Half a picture decodes without an error, so a picture is
    added to the group only once it is complete: at once for a camera that sends one packet per picture, else when the
    next picture begins.
    """

    def __init__(self, codec: str, extradata: bytes) -> None:
        self._codec = codec
        self._extradata = extradata
        self._lock = threading.Lock()
        self._newest: _Picture | None = None  # more slices of it may follow, even after it was taken for complete
        self._pictures: list[_Picture] = []  # complete; the keyframe first
        self._count, self._size = 0, 0  # packets and bytes since the keyframe, also of pictures that were dropped
        self._single_packets = 0  # pictures that came in one packet
        self._has_slices = False

    @property
    def has_keyframe(self) -> bool:
        return bool(self._pictures)

    def add(self, packet: Packet, captured: float) -> None:
        """Raises CameraError for a picture with too many slices."""
        slices = later_slices(self._codec, packet.data)
        with self._lock:
            if slices is None:
                self._complete()
                key = packet.key or self._codec == "MJPG"
                self._newest = _Picture(key, captured, [packet.data], len(packet.data))
            elif self._newest:
                self._has_slices = True
                self._newest.append(slices)
            if self._codec == "MJPG" or (not self._has_slices and self._single_packets >= SURE_AFTER):
                self._complete()

    def snapshot(self) -> Snapshot:
        with self._lock:
            packets = [data for picture in self._pictures for data in picture.slices]
            captured = self._pictures[-1].captured if self._pictures else 0.0
            return Snapshot(self._codec, (self._extradata, *packets), captured)

    def _complete(self) -> None:
        """Add the newest picture to the group."""
        picture = self._newest
        if picture is None or picture.complete:
            return
        picture.complete = True
        self._single_packets += len(picture.slices) == 1
        if picture.key:
            self._pictures, self._count, self._size = [picture], len(picture.slices), picture.size
        elif self._pictures:
            self._append(picture)

    def _append(self, picture: _Picture) -> None:
        self._count += len(picture.slices)
        self._size += picture.size
        if self._count > GOP_PACKETS or self._size > GOP_BYTES:
            del self._pictures[1:]
        else:
            self._pictures.append(picture)


def later_slices(codec: str, data: bytes) -> bytes | None:
    """The slices in a packet that continues the previous picture; None for a packet that begins one.

    Parameter sets before the slices are left out: a decoder would take the slices after them for a new picture.
    """
    header = {"h264": 1, "hevc": 2}.get(codec)
    at = data.find(START_CODE) if header else -1
    while header and at >= 0 and at + 3 + header < len(data):
        unit = data[at + 3]
        kind = unit & 0x1F if header == 1 else (unit >> 1) & 0x3F
        if 1 <= kind <= 5 if header == 1 else kind < 32:
            # first_mb_in_slice is an Exp-Golomb code, 0 being a single 1; or first_slice_segment_in_pic_flag
            begins = data[at + 3 + header] & 0x80
            return None if begins else b"\0" + data[at:]
        at = data.find(START_CODE, at + 3)
    return None
