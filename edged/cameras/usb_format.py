"""The picture format of a USB camera: MJPG if it has it, in the wanted size or the next larger one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2

from edged.cameras.usb_capture import Capture
from edged.cameras.usb_v4l2 import Size, Sizes

DEFAULT_SIZE = (1280, 720)
MJPG = cv2.VideoWriter.fourcc(*"MJPG")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The format to ask for. None: the default size, and the rate of the driver (about 30 pictures a second)."""

    size: Size | None = None
    fps: int | None = None


def set_up(capture: Capture, wanted: Wanted, sizes: Sizes) -> None:
    """Set the format of a capture that was just opened. `sizes` are those of the device, see VideoNode.sizes.

    The number of buffers stays at OpenCV's default of 4. With a single one, the driver would write the next picture
    over the one that is being copied, and have no buffer in between.
    """
    # MJPG before the size: uncompressed, many cameras offer large sizes at 5 pictures a second only.
    capture.set(cv2.CAP_PROP_FOURCC, MJPG)
    # set() returns True and keeps the old format if the camera has no MJPG.
    has_mjpg = int(capture.get(cv2.CAP_PROP_FOURCC)) == MJPG
    width, height = choose_size(sizes.get(_name(capture), []), wanted.size or DEFAULT_SIZE)
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
    if wanted.fps:
        capture.set(cv2.CAP_PROP_FPS, wanted.fps)  # last: every other setting would set OpenCV's own rate again
    if has_mjpg:
        # OpenCV decodes a damaged JPEG over the previous picture without an error: take the bytes instead.
        capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)


def choose_size(sizes: Sequence[Size], wanted: Size) -> Size:
    """The wanted size, else the smallest that covers it, else the largest. Without any sizes, the wanted one."""
    covering = [size for size in sizes if size[0] >= wanted[0] and size[1] >= wanted[1]]
    if covering:
        return min(covering, key=_area)
    return max(sizes, key=_area, default=wanted)


def describe(capture: Capture) -> str:
    """`MJPG 1280x720 at 30 fps`, as the driver has set it."""
    width, height = (int(capture.get(edge)) for edge in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    fps = capture.get(cv2.CAP_PROP_FPS)
    rate = f" at {fps:.3g} fps" if 0 < fps < 1000 else ""
    return f"{_name(capture).strip()} {width}x{height}{rate}"


def _name(capture: Capture) -> str:
    code = int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
    return code.to_bytes(4, "little").decode("latin-1")


def _area(size: Size) -> int:
    return size[0] * size[1]
