"""Decodes JPEGs strictly: what libjpeg only warns about is an error here, for it fills what is missing with grey.

One flaw is harmless and common: the encoders of some webcams (Logitech's C270, C310 and C910 among them) put a few
bytes too many before the restart markers of every picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from edged.cameras.environment import MAX_PIXELS
from edged.core.errors import CameraError

MAX_FILLER = 16  # bytes between the data and a marker; up to 10 are known from webcams
FILLER = re.compile(r"(\d+) extraneous bytes before marker")
WARNING = re.compile(r"(?:Corrupt JPEG data: )?([\w ]{1,80})")
RESTART = re.compile(rb"\xff+([\xd0-\xd7])")
SOF, SOS, DRI = (0xC0, 0xC1, 0xC2), 0xDA, 0xDD
EOI = b"\xff\xd9"


class UnsupportedJpeg(Exception):
    """Not a JPEG, or a kind of JPEG that simplejpeg cannot decode."""


class DamagedPicture(CameraError):
    """A part of the picture is missing or wrong."""


def decode_jpeg(data: bytes) -> NDArray[np.uint8]:
    """The pixels (BGR), not turned by the orientation in EXIF. Raises UnsupportedJpeg and DamagedPicture."""
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    except (ValueError, KeyError):  # KeyError: a number of colours that it does not know
        raise UnsupportedJpeg from None
    if int(height) * int(width) > MAX_PIXELS:
        raise UnsupportedJpeg
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "BGR")
    except ValueError as error:
        scan = _whole_but_for_filler(data) if FILLER.search(str(error)) else None
        if scan is None:
            found = WARNING.match(str(error))
            raise DamagedPicture(f"the JPEG is damaged ({found[1] if found else 'unknown error'})") from None
        pixels = simplejpeg.decode_jpeg(scan.header + scan.data + EOI, "BGR", strict=False)
    return pixels


@dataclass(frozen=True, slots=True)
class _Scan:
    """A JPEG in its parts. Sizes are in MCUs (8x8 to 32x32 pixels each); `interval` is from one restart to the next."""

    header: bytes
    size_at: int  # where the header has height and width
    mcu_size: tuple[int, int]
    columns: int
    rows: int
    interval: int
    data: bytes

    def intervals(self) -> Iterator[bytes]:
        """Each part between two restart markers as a JPEG of its own. Raises ValueError if one is missing."""
        parts = RESTART.split(self.data)
        total = self.columns * self.rows
        if parts[1::2] != [bytes([0xD0 + number % 8]) for number in range((total - 1) // self.interval)]:
            raise ValueError("restart markers are missing")
        for number, part in enumerate(parts[::2]):
            yield self._picture(min(self.interval, total - number * self.interval), part)

    def _picture(self, count: int, data: bytes) -> bytes:
        columns = self.columns if count % self.columns == 0 else count
        width, height = columns * self.mcu_size[0], count // columns * self.mcu_size[1]
        size = height.to_bytes(2, "big") + width.to_bytes(2, "big")
        return self.header[: self.size_at] + size + self.header[self.size_at + 4 :] + data + EOI


def _whole_but_for_filler(data: bytes) -> _Scan | None:
    """The JPEG if every part between two restart markers is whole, with up to MAX_FILLER bytes after it."""
    try:
        scan = _split(data)
        return scan if all(_filler(picture) <= MAX_FILLER for picture in scan.intervals()) else None
    except (ValueError, IndexError, OverflowError, ZeroDivisionError):
        return None


def _filler(jpeg: bytes) -> int:
    """The bytes between the data and the end mark. Raises ValueError if the JPEG is damaged otherwise."""
    try:
        simplejpeg.decode_jpeg(jpeg, "GRAY")
    except ValueError as error:
        if found := FILLER.search(str(error)):
            return int(found[1])
        raise
    return 0


def _split(data: bytes) -> _Scan:
    """Raises ValueError or IndexError if the header is malformed."""
    segments, end = _header(data)
    header, size_at, interval, frame = bytearray(data[:2]), 0, 0, b""
    for marker, segment in segments:
        if marker in SOF:
            size_at, frame = len(header) + 5, segment
        elif marker == DRI:
            interval = int.from_bytes(segment[4:6], "big")
        header += segment
    height, width = int.from_bytes(frame[5:7], "big"), int.from_bytes(frame[7:9], "big")
    samplings = frame[11::3] if frame[9] > 1 else b"\x11"
    across, down = 8 * max(value >> 4 for value in samplings), 8 * max(value & 15 for value in samplings)
    columns, rows = -(-width // across), -(-height // down)
    scan = data[end : data.index(EOI, end)]
    return _Scan(bytes(header), size_at, (across, down), columns, rows, interval or columns * rows, scan)


def _header(data: bytes) -> tuple[list[tuple[int, bytes]], int]:
    """Marker and bytes of each segment, without the filler between them, and where the compressed data begins."""
    segments: list[tuple[int, bytes]] = []
    marker, end = 0, 2
    while marker != SOS:
        begin = data.index(b"\xff", end)
        marker, end = data[begin + 1], begin + 1
        if marker not in (0, 0xFF):
            end += 1 + int.from_bytes(data[begin + 2 : begin + 4], "big")
            segments.append((marker, data[begin:end]))
    return segments, end
