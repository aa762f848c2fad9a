"""Checks PNGs before OpenCV decodes them: libpng writes to stderr what it finds wrong, at each look."""

from __future__ import annotations

import zlib

from edged.cameras.jpeg import DamagedPicture

PNG_START = b"\x89PNG\r\n\x1a\n"
NEEDED = (b"IHDR", b"PLTE", b"IDAT", b"eXIf", b"IEND")  # the others do not change what OpenCV makes of the pixels


def needed_chunks(data: bytes) -> bytes:
    """The PNG without the chunks that its pixels do not need. Raises DamagedPicture if a needed one is damaged."""
    kept, begin, kind = bytearray(PNG_START), len(PNG_START), b""
    while kind != b"IEND":
        end = begin + 12 + int.from_bytes(data[begin : begin + 4], "big")
        if end > len(data):
            raise DamagedPicture("the PNG is truncated")
        chunk, begin = data[begin:end], end
        kind = chunk[4:8]
        if kind in NEEDED:
            if zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
                raise DamagedPicture("the PNG is damaged")
            kept += chunk
    return bytes(kept)
