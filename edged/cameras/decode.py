"""Decodes the newest picture of a stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import av
import numpy as np
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from edged.cameras.annexb import begins_refresh, without_sei
from edged.cameras.environment import MAX_PIXELS
from edged.cameras.gop_buffer import Picture
from edged.cameras.packets import codec_name
from edged.cameras.picture import Pixels, decode_picture
from edged.core.errors import CameraError

HELD_BACK = 32  # pictures in, none out: more than any order or interlacing explains, so they are damaged
SKIP_UNUSED = 8  # the last pictures of a group, of which none is skipped


@dataclass(frozen=True, slots=True)
class Decoded:
    """When the newest undamaged picture was captured (monotonic), and the number of the first damaged one."""

    captured: float
    damaged: int | None


class NotRefreshed(CameraError):
    """The group begins with an intra refresh, which is not complete yet."""


class GroupDecoder:
    """Decodes groups of pictures. Not thread-safe.

    FFmpeg's decoder stays open while the same group grows, so that no picture is decoded twice. A picture that cannot
    be decoded without an error ends its group: those after it refer to it.
    """

    def __init__(self, codec: str, extradata: bytes) -> None:
        self._codec = codec
        self._extradata = extradata
        self._open: _OpenGroup | None = None
        self._newest: VideoFrame | Pixels | None = None

    @property
    def position(self) -> int:
        """The number of the last picture that the open decoder has decoded; 0 if none is open. Any thread may ask."""
        group = self._open
        return group.position if group else 0

    def decode(self, group: Sequence[Picture], check: Callable[[], None]) -> Decoded:
        """Decode the group, from where the last call left off. `check` is called between pictures and may raise.

        Raises CameraError if not even the keyframe can be decoded, NotRefreshed if there is no whole picture yet.
        """
        if self._codec == "mjpeg":
            self._newest = decode_picture(group[-1].data)
            return Decoded(group[-1].captured, None)
        if self._open is None or not self._open.continues(group):
            self._open = _OpenGroup(self._codec, self._extradata, group[0])
        try:
            decoded, self._newest = self._open.decode(group, check)
        except BaseException:
            self._open = None
            raise
        if self._open.ended:
            self._open = None
        return decoded

    def pixels(self) -> Pixels:
        """The picture that was decoded last (BGR), once."""
        newest, self._newest = self._newest, None
        if isinstance(newest, VideoFrame):
            return np.asarray(newest.to_ndarray(format="bgr24"), dtype=np.uint8)
        assert newest is not None
        return newest

    def close(self) -> None:
        """Free the memory of an open decoder."""
        self._open = self._newest = None


class _OpenGroup:
    """FFmpeg's decoder within one group."""

    def __init__(self, codec: str, extradata: bytes, keyframe: Picture) -> None:
        self._codec = codec
        self._keyframe = keyframe.number
        # The first pictures are corrupt until the refresh is complete.
        self._refreshes = codec == "h264" and begins_refresh(keyframe.data)
        decoder = av.CodecContext.create(codec, "r")
        assert isinstance(decoder, VideoCodecContext)
        self._decoder = decoder
        self._decoder.thread_count = 1  # threads delay pictures, and their memory is per camera
        # An error instead of a picture that is partly made up; and no picture of 3 GB because a header says so.
        self._decoder.options = {"err_detect": "explode", "max_pixels": str(MAX_PIXELS)}
        if extradata:
            self._decoder.extradata = extradata
        self._times: dict[int, float] = {}
        self._newest: VideoFrame | None = None
        self._damaged: int | None = None
        self.position = 0
        self.ended = False  # no more pictures can be decoded

    def continues(self, group: Sequence[Picture]) -> bool:
        return not self.ended and group[0].number == self._keyframe

    def decode(self, group: Sequence[Picture], check: Callable[[], None]) -> tuple[Decoded, VideoFrame]:
        pending = [picture for picture in group if picture.number > self.position]
        for place, picture in enumerate(pending):
            check()
            # Pictures that no other refers to, such as many B-frames, need not be decoded to reach the newest.
            self._decoder.skip_frame = "NONREF" if place < len(pending) - SKIP_UNUSED else "DEFAULT"
            if not self._decode(picture):
                break
        if self._damaged is not None or self._newest is None or self._newest.pts != self.position:
            self._flush()
        if self._damaged is None and self._newest and self.position - (self._newest.pts or 0) > HELD_BACK:
            self._damaged = (self._newest.pts or 0) + 1
        if self._newest is None and self._damaged is None and self._refreshes:
            raise NotRefreshed("the stream's intra refresh is not complete yet")
        if self._newest is None:
            raise CameraError(f"the stream's pictures cannot be decoded ({codec_name(self._codec)})")
        return Decoded(self._times[self._newest.pts or 0], self._damaged), self._newest

    def _decode(self, picture: Picture) -> bool:
        packet = av.Packet(without_sei(self._codec, picture.data))
        packet.pts = picture.number  # comes back with the picture, whose place differs with B-frames
        self._times[picture.number] = picture.captured
        try:
            self._keep(self._decoder.decode(packet))
        except FFmpegError:
            self._damaged = picture.number
        if self._damaged is not None:
            return False
        self.position = picture.number
        return True

    def _flush(self) -> None:
        """Take the pictures that the decoder holds back to put them in order. It cannot be used afterwards."""
        self.ended = True
        with suppress(FFmpegError):
            self._keep(self._decoder.decode(None))

    def _keep(self, frames: Sequence[VideoFrame]) -> None:
        """Those after a corrupt one refer to it, and do not say so."""
        for frame in frames:
            if frame.is_corrupt and frame.pts is not None and (self._newest or not self._refreshes):
                self._damaged = min(frame.pts, self._damaged or frame.pts)
            if frame.is_corrupt or frame.pts is None or (self._damaged is not None and frame.pts >= self._damaged):
                continue
            self._newest = frame
