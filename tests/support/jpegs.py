"""JPEGs like those of cameras, and what happens to them on the way: the same for the same seed."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import cv2
import numpy as np

START, END = b"\xff\xd8", b"\xff\xd9"
SAMPLINGS = {
    "420": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    "422": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "444": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
}


def scene(seed: int, width: int = 640, height: int = 480) -> np.ndarray:
    """Surfaces, edges, small print and the noise of a sensor."""
    chance = np.random.default_rng(seed)
    picture = np.full((height, width, 3), 110, np.float32)
    for cells, depth in ((4, 60), (10, 35), (30, 20), (90, 12)):
        coarse = chance.normal(0, depth, (max(2, cells * height // width), cells, 3)).astype(np.float32)
        picture += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    drawn = np.clip(picture, 0, 255).astype(np.uint8)
    for row in range(4):
        cv2.putText(
            drawn, f"12:34:5{row} CAM", (20 + 90 * row, 60 + 90 * row), cv2.FONT_HERSHEY_SIMPLEX, 1.0, (250,) * 3
        )
    return np.clip(drawn + chance.normal(0, 4, drawn.shape), 0, 255).astype(np.uint8)


def encoded(picture: np.ndarray, quality: int = 80, sampling: str = "420", restart: int = 0, **more: int) -> bytes:
    """`restart` is in MCUs (0: no restart markers); `more` are OpenCV's other flags: `progressive`, `optimize`."""
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_RST_INTERVAL, restart]
    flags += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLINGS[sampling]]
    for name, value in more.items():
        flags += [getattr(cv2, f"IMWRITE_JPEG_{name.upper()}"), value]
    return cv2.imencode(".jpg", picture, flags)[1].tobytes()


def segments(jpeg: bytes) -> list[tuple[int, bytes]]:
    """Marker and bytes of each segment of the header; the last is the start of scan."""
    found: list[tuple[int, bytes]] = []
    at = 2
    while not found or found[-1][0] != 0xDA:
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        found.append((jpeg[at + 1], jpeg[at:end]))
        at = end
    return found


def scan(jpeg: bytes) -> tuple[int, int]:
    """Where the compressed data begins and ends."""
    return 2 + sum(len(segment) for _, segment in segments(jpeg)), jpeg.rindex(END)


# --- as some cameras send them ---


def with_segment(jpeg: bytes, marker: int, content: bytes) -> bytes:
    return START + bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content + jpeg[2:]


def without_huffman_tables(jpeg: bytes) -> bytes:
    """As in the MJPG of USB cameras: the standard tables are left out."""
    kept = b"".join(segment for marker, segment in segments(jpeg) if marker not in (0xC4, 0xE0))
    return with_segment(START + kept + jpeg[scan(jpeg)[0] :], 0xE0, b"AVI1\0" + bytes(26))


def with_filler(jpeg: bytes, chance: random.Random, share: float = 0.3, most: int = 10) -> bytes:
    """A few bytes too many before restart markers and the end mark, as from some webcams."""
    begin, end = scan(jpeg)

    def filled(marker: re.Match[bytes]) -> bytes:
        count = chance.randint(1, most) if chance.random() < share else 0
        return bytes(chance.randrange(255) for _ in range(count)) + marker[0]

    return jpeg[:begin] + re.sub(rb"\xff[\xd0-\xd7\xd9]", filled, jpeg[begin : end + 2])


# --- damage ---


def missing(jpeg: bytes, chance: random.Random, count: int) -> bytes:
    begin, end = scan(jpeg)
    at = chance.randrange(begin, end - count)
    return jpeg[:at] + jpeg[at + count :]


def flipped(jpeg: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(jpeg)
    damaged[chance.randrange(*scan(jpeg))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def cut(jpeg: bytes, chance: random.Random) -> bytes:
    """Cut short, with the end mark."""
    begin, end = scan(jpeg)
    return jpeg[: chance.randrange(begin + 100, end - 200)] + END


def zeroed(jpeg: bytes, chance: random.Random) -> bytes:
    begin, end = scan(jpeg)
    at = chance.randrange(begin, end - 1024)
    return jpeg[:at] + bytes(1024) + jpeg[at + 1024 :]


def spliced(jpeg: bytes, other: bytes, chance: random.Random) -> bytes:
    """The upper part of one picture and the lower part of the next."""
    share, (begin, end), (other_begin, other_end) = chance.uniform(0.1, 0.9), scan(jpeg), scan(other)
    upper, lower = int(share * (end - begin)), int(share * (other_end - other_begin))
    return jpeg[: begin + upper] + other[other_begin + lower :]


LOSSES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "a payload of 16 KB missing": lambda jpeg, chance: missing(jpeg, chance, 16384 - 12),
    "a payload of 3 KB missing": lambda jpeg, chance: missing(jpeg, chance, 3060),
    "a payload of 1 KB missing": lambda jpeg, chance: missing(jpeg, chance, 1012),
    "cut short, with an end mark": cut,
}
