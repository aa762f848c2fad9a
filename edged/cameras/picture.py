"""From a decoded picture to a Frame: the masks first, then the digest. Nothing leaves this package unmasked."""

from __future__ import annotations

import hashlib
import time
from datetime import timedelta
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.core.errors import CameraError
from edged.core.types import Frame, utc_now

Pixels: TypeAlias = NDArray[np.uint8]
Mask: TypeAlias = tuple[tuple[tuple[float, float], ...], ...]

JPEG_START, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"


def frame_from_bgr(bgr: Pixels, mask: Mask, captured_mono: float, grab_ms: float = 0.0) -> Frame:
    """A frame of a picture as OpenCV decodes it, with the mask's polygons (shares of width and height) filled black.

    `captured_mono` is `time.monotonic()` of the capture; the wall time of the capture follows from it.
    """
    rgb = np.ascontiguousarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)
    _blacken(rgb, mask)
    captured_at = utc_now() - timedelta(seconds=max(0.0, time.monotonic() - captured_mono))
    return Frame(rgb, hashlib.sha256(rgb.data).hexdigest(), captured_at, captured_mono, grab_ms)


def decode_picture(data: bytes) -> Pixels:
    """The pixels (BGR) of a JPEG, PNG or other picture file. Raises CameraError, also where a JPEG is cut short."""
    # OpenCV fills the missing rest of a JPEG with grey and says nothing.
    if data.startswith(JPEG_START) and JPEG_END not in data.rstrip(b"\0\r\n ")[-1024:]:
        raise CameraError("the JPEG is cut short")
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error:
        decoded = None
    if decoded is None:
        raise CameraError("the data is not a picture that can be decoded (JPEG and PNG can)")
    return np.asarray(decoded, dtype=np.uint8)


def _blacken(rgb: Pixels, mask: Mask) -> None:
    height, width = rgb.shape[:2]
    for polygon in mask:
        points = np.rint(np.array(polygon) * (width, height)).astype(np.int32)
        # One at a time: given together, the pixels that two polygons share would stay visible.
        cv2.fillPoly(rgb, [points], (0, 0, 0))
