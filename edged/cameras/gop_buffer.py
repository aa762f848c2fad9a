"""The group of pictures (GOP) that a camera is sending: the pictures since the last keyframe, ready to be decoded."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from edged.cameras.annexb import FrameNumbers, begins_refresh, later_slices
from edged.cameras.packets import Packet
from edged.cameras.waiting import POLL_S
from edged.core.errors import CameraError

GOP_BYTES = 32 * 1024 * 1024
GOP_PICTURES = 2000  # beyond these only the keyframe is kept; cameras in the field send groups of 600 pictures
PICTURE_SLICES = 500
SURE_AFTER = 3  # pictures in one packet each, until a camera is assumed to send all of them so


@dataclass(frozen=True, slots=True)
class Picture:
    """One whole compressed picture. `number` counts the pictures of a connection; `captured` is monotonic."""

    number: int
    captured: float
    data: bytes


@dataclass(slots=True)
class _Incoming:
    """The newest picture, slice by slice. More of it may follow even after it was taken for complete."""

    key: bool
    captured: float
    slices: list[bytes]
    damaged: bool
    stream_s: float | None
    size: int = 0
    complete: bool = False

    def append(self, data: bytes) -> None:
        self.slices.append(data)
        self.size += len(data)
        if len(self.slices) > PICTURE_SLICES or self.size > GOP_BYTES:
            raise CameraError(
                f"a picture of the stream has more than {PICTURE_SLICES} slices or {GOP_BYTES // 1024 // 1024} MiB"
            )


class GopBuffer:
    """The undamaged pictures since the last keyframe, bounded. One thread adds, any thread may read.

    A picture can arrive as several packets, one per slice. Half a picture decodes without an error, so a picture is
    added only once it is complete: at once for a camera that sends one packet per picture, else when the next one
    begins. After loss, the pictures up to the next keyframe would be smeared: they are dropped.
    """

    def __init__(self, codec: str, extradata: bytes) -> None:
        self._codec = codec
        self._frame_numbers = FrameNumbers(extradata) if codec == "h264" else None
        self._lock = threading.Lock()
        self._keyframe = threading.Condition(self._lock)
        self._incoming: _Incoming | None = None
        self._pictures: list[Picture] = []  # the keyframe first
        self._count, self._size = 0, 0  # of the whole group, also of pictures that were dropped
        self._number = 0
        self._refresh = 0  # the number of the picture with which the latest intra refresh of the group began
        self._newest_keyframe, self._newest_captured = 0, 0.0
        self._damaged_since: float | None = None  # monotonic; None for a whole group
        self._damaged_groups = 0
        self._full_since: float | None = None  # monotonic
        self._key_times: tuple[float, ...] = ()  # when the last three keyframes were captured
        self._single_packets = 0  # pictures that came in one packet
        self._has_slices = False

    @property
    def keyframe(self) -> int:
        """The number of the group's keyframe; 0 if there is none."""
        return self._newest_keyframe

    @property
    def newest_captured(self) -> float:
        """When the newest picture of the group was captured (monotonic)."""
        return self._newest_captured

    @property
    def damaged_groups(self) -> int:
        """How many groups were damaged since the stream was opened."""
        return self._damaged_groups

    @property
    def keyframe_interval_s(self) -> float:
        """The longer one of the last two intervals between keyframes; 0.0 before there were three keyframes."""
        times = self._key_times
        return max(times[1] - times[0], times[2] - times[1]) if len(times) == 3 else 0.0

    def full_for_s(self, now: float) -> float:
        """For how long the group has been too long for new pictures to be kept, in seconds; 0.0 if it is not."""
        since = self._full_since
        return 0.0 if since is None else now - since

    def damaged_for_s(self, now: float) -> float:
        """How long there has been no undamaged picture, in seconds; 0.0 while the group is whole."""
        since = self._damaged_since
        return 0.0 if since is None else now - since

    def pictures(self) -> tuple[Picture, ...]:
        """The group, its keyframe first. Empty before the first keyframe, and if that is damaged."""
        with self._lock:
            return tuple(self._pictures)

    def wait_for_keyframe(self, number: int, seconds: float, check: Callable[[], None]) -> None:
        """Wait until a keyframe later than picture `number` is complete. `check` is called meanwhile and may raise."""
        deadline = time.monotonic() + seconds
        with self._keyframe:
            while self._newest_keyframe <= number and (left := deadline - time.monotonic()) > 0:
                check()
                self._keyframe.wait(min(left, POLL_S))

    def add(self, packet: Packet, captured: float) -> None:
        """Raises CameraError for a picture with too many slices."""
        later = later_slices(self._codec, packet.data)
        with self._lock:
            first_is_lost = later is not None and self._incoming and self._incoming.stream_s != packet.stream_s
            if later is None or first_is_lost:
                self._complete()
                self._begin(packet, captured, bool(first_is_lost))
            elif self._incoming:
                self._has_slices = True
                self._incoming.damaged |= packet.lost
                self._incoming.append(later)
                if self._incoming.complete:  # it was added without this slice
                    self._drop_from(self._number)
            if self._codec == "mjpeg" or (not self._has_slices and self._single_packets >= SURE_AFTER):
                self._complete()

    def drop_from(self, number: int) -> None:
        """Drop the pictures from this one on, and those that follow until the next keyframe, because it is damaged."""
        with self._lock:
            self._drop_from(number)

    def _drop_from(self, number: int) -> None:
        if self._pictures and self._pictures[0].number <= number <= self._number:
            self._pictures = [picture for picture in self._pictures if picture.number < number]
            self._newest_captured = self._pictures[-1].captured if self._pictures else 0.0
            self._mark_damaged()

    def _begin(self, packet: Packet, captured: float, damaged: bool) -> None:
        after_loss = self._incoming is not None and self._incoming.damaged
        gap = self._frame_numbers is not None and self._frame_numbers.gap_before(packet.data, after_loss)
        key = packet.key or self._codec == "mjpeg"
        # A gap before a keyframe does not concern it. Loss does: FFmpeg's parser delivers a picture when the next one
        # begins, so loss reported with it is within it or right after it. Decoders do not detect all loss within it,
        # those of H.265 and of interlaced H.264 least. Of JPEG, FFmpeg drops incomplete pictures itself.
        damaged |= (gap and not key) or (packet.lost and self._codec != "mjpeg")
        self._incoming = _Incoming(key, captured, [], damaged, packet.stream_s)
        self._incoming.append(packet.data)

    def _complete(self) -> None:
        """Add the newest picture to the group."""
        picture = self._incoming
        if picture is None or picture.complete:
            return
        picture.complete = True
        self._number += 1
        self._single_packets += len(picture.slices) == 1
        whole = Picture(self._number, picture.captured, b"".join(picture.slices))
        if picture.damaged:
            self._mark_damaged()
        elif picture.key and self._pictures and self._damaged_since is None and self._refreshes(whole):
            self._append(whole)
            self._begin_refresh(whole)
        elif picture.key:
            self._start_group(whole)
        elif self._pictures and self._damaged_since is None:
            self._append(whole)

    def _start_group(self, keyframe: Picture) -> None:
        self._pictures, self._count, self._size = [keyframe], 1, len(keyframe.data)
        self._newest_keyframe, self._newest_captured = keyframe.number, keyframe.captured
        self._damaged_since, self._full_since, self._refresh = None, None, keyframe.number
        self._key_times = (*self._key_times[-2:], keyframe.captured)
        self._keyframe.notify_all()

    def _refreshes(self, picture: Picture) -> bool:
        return self._codec == "h264" and begins_refresh(picture.data)

    def _begin_refresh(self, picture: Picture) -> None:
        """Begin the group with the refresh before the one that begins with this picture: only that is complete."""
        if len(self._pictures) < self._count:  # beyond the bounds: the pictures before this one are not there
            self._start_group(picture)
            return
        self._pictures = [kept for kept in self._pictures if kept.number >= self._refresh]
        self._refresh, self._newest_keyframe = picture.number, self._pictures[0].number
        self._count, self._size = len(self._pictures), sum(len(kept.data) for kept in self._pictures)
        self._keyframe.notify_all()

    def _append(self, picture: Picture) -> None:
        self._count += 1
        self._size += len(picture.data)
        if self._count > GOP_PICTURES or self._size > GOP_BYTES:
            del self._pictures[1:]
            self._full_since = self._full_since or picture.captured
        else:
            self._pictures.append(picture)
            self._newest_captured = picture.captured

    def _mark_damaged(self) -> None:
        if self._damaged_since is None:
            newest = self._incoming
            self._damaged_since = newest.captured if newest else 0.0
            self._damaged_groups += 1
