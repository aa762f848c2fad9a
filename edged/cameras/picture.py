"""From a decoded picture to a Frame: upright, masked, with a digest. Nothing leaves this package unmasked."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.cameras.jpeg import DamagedPicture, UnsupportedJpeg, decode_jpeg
from edged.cameras.png import PNG_START, needed_chunks
from edged.cameras.polygon import inside
from edged.core.errors import CameraError, StaleFrame
from edged.core.specs import Point, Rotation
from edged.core.types import Frame, utc_now

Pixels: TypeAlias = NDArray[np.uint8]
Outline: TypeAlias = NDArray[np.int32]
Mask: TypeAlias = tuple[tuple[Point, ...], ...]

TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
JPEG_START, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
EXIF = b"Exif\0\0"
STEP = 16  # every 16th row and column is enough to measure brightness
BLANK_LEVELS = 2  # noise of a compressed picture of one colour
BLACK = 32  # the level below which a pixel is black to the eye


def frame_from_bgr(bgr: Pixels, mask: Mask, captured_mono: float, grab_ms: float = 0.0, rotate: Rotation = 0) -> Frame:
    """A frame from a picture as OpenCV decodes it, turned clockwise by `rotate` degrees.

    The mask's polygons, in fractions of the turned picture's size, are filled with black.
    `captured_mono` is `time.monotonic()` at the capture; the wall time of the capture is derived from it.
    """
    if rotate:
        bgr = _pixels(cv2.rotate(bgr, TURNS[rotate]))
    rgb = _pixels(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
    _blacken(rgb, mask)
    captured_at = utc_now() - timedelta(seconds=max(0.0, time.monotonic() - captured_mono))
    return Frame(rgb, hashlib.sha256(rgb.data).hexdigest(), captured_at, captured_mono, grab_ms)


def decode_picture(data: bytes) -> Pixels:
    """The pixels (BGR) of a picture file. Raises CameraError; DamagedPicture for a damaged JPEG or PNG."""
    if data.startswith(PNG_START):
        return _decode_any(needed_chunks(data))
    if not data.startswith(JPEG_START):
        return _decode_any(data)
    if JPEG_END not in data:
        raise DamagedPicture("the JPEG is truncated")
    try:
        pixels = decode_jpeg(data)
    except UnsupportedJpeg:
        return _decode_any(data)
    # OpenCV turns a picture as its EXIF says.
    return _decode_any(data) if EXIF in data else pixels


def _decode_any(data: bytes) -> Pixels:
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error:
        decoded = None
    if decoded is None:
        raise CameraError("the data is not a picture in a supported format, such as JPEG or PNG")
    return _pixels(decoded)


def _pixels(picture: NDArray[Any]) -> Pixels:
    """A picture of OpenCV, whose functions say nothing about the type of its numbers."""
    return np.asarray(picture, np.uint8)


def require_fresh(captured_mono: float, max_age_s: float, after_damage: bool = False) -> None:
    """Raises StaleFrame for a picture that is older than `max_age_s`. `after_damage`: newer ones are damaged."""
    age_s = time.monotonic() - captured_mono
    if age_s > max_age_s:
        picture = "newest undamaged picture" if after_damage else "newest picture"
        raise StaleFrame(f"the {picture} is {age_s:.1f} s old, max_age is {max_age_s:g} s")


def _blacken(rgb: Pixels, mask: Mask) -> None:
    height, width = rgb.shape[:2]
    for polygon in mask:
        for outlines in _fillings(polygon, width, height):
            # One by one: in a single call, pixels in two polygons would stay visible.
            cv2.fillPoly(rgb, outlines, (0, 0, 0))


@lru_cache(maxsize=256)
def _fillings(polygon: tuple[Point, ...], width: int, height: int) -> tuple[Sequence[Outline], ...]:
    """Outlines for one `cv2.fillPoly` each, which together cover the polygon.

    It leaves out what a polygon goes around twice, such as the middle of a star: that has outlines of its own.
    """
    corners = np.rint(np.array(polygon) * (width, height)).astype(np.int32)
    left_out = inside((corners + 0.5).tolist(), width, height)
    cv2.fillPoly(left_out, [corners], 0)
    found, _ = cv2.findContours(left_out, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    outlines = [np.asarray(outline, np.int32) for outline in found]
    return ([corners], outlines) if outlines else ([corners],)


def is_dark(picture: Pixels) -> bool:
    """True if all pixels are black, as nearly as a camera shows it at night. What a mask covers is black too."""
    return int(picture.max()) < BLACK


def is_blank(picture: Pixels) -> bool:
    """True if all pixels have the same value, as nearly as compression keeps it."""
    return _is_even(picture[::STEP, ::STEP]) and _is_even(picture)


def _is_even(picture: Pixels) -> bool:
    rows = picture.reshape(-1, picture.shape[-1])
    return bool((rows.max(axis=0).astype(int) - rows.min(axis=0) <= BLANK_LEVELS).all())
