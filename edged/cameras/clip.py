"""Clips on disk: the picture that is shown at a moment of the clip, by its time stamps."""

from __future__ import annotations

import math
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from edged.cameras.picture import Pixels
from edged.cameras.picture_file import check_regular
from edged.core.errors import CameraError

LOCAL_ONLY = {"protocol_whitelist": "file"}  # a playlist could name addresses

# Where to seek to, before the position: in some containers a seek goes past the keyframe. The last is the beginning.
MARGINS_S = (0.0, 10.0, math.inf)


class _UnknownLength(Exception):
    """Not a video, or one without a length."""


def picture_at(path: Path, played_s: float) -> Pixels:
    """The picture (BGR) of a clip that has played for so long, over and over. Raises CameraError."""
    if not path.exists():
        raise CameraError(f"{path} does not exist")
    check_regular(path, path.stat().st_mode)
    try:
        for margin_s in MARGINS_S:
            with av.open(str(path), options=LOCAL_ONLY) as container:
                frame = _shown_at(container, played_s, margin_s)
            if frame is not None:
                return _upright(frame)
    except FFmpegError as error:
        raise CameraError(
            f"{path} is neither a picture nor a video clip that can be decoded ({error.strerror})"
        ) from None
    except _UnknownLength:
        raise CameraError(f"{path} is neither a picture nor a video clip of known length") from None
    raise CameraError(f"{path} cannot be decoded")


def _shown_at(container: InputContainer, played_s: float, margin_s: float) -> VideoFrame | None:
    """The last picture that begins at or before this position. None if the seek went past it."""
    duration_s = _duration_s(container)
    stream = container.streams.video[0]
    stream.thread_type = "NONE"
    position_s, begin_s = played_s % duration_s, (stream.start_time or 0) * _tick(stream)
    from_start = position_s <= margin_s
    if not from_start:
        container.seek(int((begin_s + position_s - margin_s) / _tick(stream)), stream=stream)
    shown: VideoFrame | None = None
    for frame in container.decode(stream):
        if (frame.time or 0.0) - begin_s > position_s and (shown or not from_start):
            break
        shown = frame
    return shown


def _duration_s(container: InputContainer) -> float:
    stream = container.streams.video[0] if container.streams.video else None
    if stream and stream.duration:
        return stream.duration * _tick(stream)
    if stream and container.duration:
        return container.duration / av.time_base
    raise _UnknownLength


def _tick(stream: VideoStream) -> float:
    """Seconds from one time stamp to the next."""
    assert stream.time_base
    return float(stream.time_base)


def _upright(frame: VideoFrame) -> Pixels:
    """Phones film on their side and say so."""
    bgr = np.asarray(frame.to_ndarray(format="bgr24"), dtype=np.uint8)
    return np.ascontiguousarray(np.rot90(bgr, round(frame.rotation / 90)))
