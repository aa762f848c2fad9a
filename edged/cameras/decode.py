"""Decodes the newest picture of a stream."""

from __future__ import annotations

import io

import cv2
import numpy as np

from edged.cameras.gop_buffer import Snapshot
from edged.cameras.packets import CODEC_NAMES
from edged.cameras.picture import Pixels, decode_picture
from edged.core.errors import CameraError


def decode(snapshot: Snapshot) -> Pixels:
    """The newest picture (BGR). Raises CameraError if none can be decoded."""
    if snapshot.codec == "MJPG":
        return decode_picture(snapshot.packets[-1])
    data = b"".join(snapshot.packets)
    newest, count = _last_picture(data, skip=len(snapshot.packets) - 3)
    if newest is None and count:
        newest, _ = _last_picture(data, skip=count - 1)  # interlaced: two packets per picture
    if newest is None:
        raise CameraError(
            f"the stream's pictures cannot be decoded ({CODEC_NAMES.get(snapshot.codec, snapshot.codec)})"
        )
    return newest


def _last_picture(data: bytes, skip: int) -> tuple[Pixels | None, int]:
    """The last picture, and how many there are. The first `skip` are decoded but not converted, and never returned."""
    # OpenCV keeps no reference to the file object: without this variable the next grab() reads freed memory.
    file = io.BytesIO(data)
    # OpenCV takes any file-like object; its type hints do not say so.
    decoder = cv2.VideoCapture(file, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])  # type: ignore[call-overload]
    newest, count = None, 0
    try:
        while decoder.grab():
            count += 1
            if count > skip:
                _, newest = decoder.retrieve()
    finally:
        decoder.release()
        file.close()  # only after the release
    return None if newest is None else np.asarray(newest, dtype=np.uint8), count
