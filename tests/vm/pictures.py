"""The pictures of the simulated cameras: JPEGs whose bars tell when they were sent, as a sensor with a clock in view.

Picture `number` is sent at `number / RATE` seconds of the monotonic clock, modulo COUNT.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

BITS, RATE = 10, 10
COUNT = 1 << BITS
WIDTH, HEIGHT = 320, 240
BAR = WIDTH // (2 * BITS)
STRIP = 32  # the height of the bars
BLACK, DARK, BRIGHT = 0, 24, 232
MCU_ROW = WIDTH // 16  # restart markers after each row of blocks, as many cameras send them
RESTARTS = 128  # pictures with restart markers


def write(folder: Path) -> None:
    """Two files of JPEGs, without and with restart markers, each with the length of each picture in front."""
    _write(folder / "plain", [encode(number) for number in range(COUNT)])
    _write(folder / "restarts", [encode(number, MCU_ROW) for number in range(RESTARTS)])


def read(path: Path) -> list[bytes]:
    data = path.read_bytes()
    count = int.from_bytes(data[:4], "little")
    ends = np.cumsum(np.frombuffer(data, "<u4", count, 4)).tolist()
    body = data[4 + 4 * count :]
    return [body[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


def draw(number: int) -> NDArray[np.uint8]:
    """Bars for the bits of `number` and their inverse, above a scene of about 14 KB as JPEG."""
    picture = _scene().copy()
    for place in range(BITS):
        bit = number >> place & 1
        _bar(picture, place, bit)
        _bar(picture, BITS + place, 1 - bit)
    return picture


def encode(number: int, restart_interval: int = 0) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, 80, cv2.IMWRITE_JPEG_RST_INTERVAL, restart_interval]
    return cv2.imencode(".jpg", draw(number), options)[1].tobytes()


def exposed(share: float) -> bytes:
    """The scene with this share of its light."""
    return cv2.imencode(".jpg", (draw(0) * share).astype(np.uint8))[1].tobytes()


def scene(width: int, height: int) -> bytes:
    """The scene without bars, in another size."""
    return cv2.imencode(".jpg", cv2.resize(_scene(), (width, height)))[1].tobytes()


def number_in(rgb: NDArray[np.uint8]) -> int | None:
    """The number that the bars show; None if they are not readable."""
    if rgb.shape != (HEIGHT, WIDTH, 3):
        return None
    row = rgb[STRIP // 4 : 3 * STRIP // 4].mean(axis=(0, 2)).reshape(2 * BITS, BAR).mean(axis=1) > 128
    bits, inverse = row[:BITS], row[BITS:]
    if (bits == inverse).any():
        return None
    return sum(1 << place for place, bit in enumerate(bits.tolist()) if bit)


def age_s(number: int, now: float) -> float:
    """How long before `now` (monotonic) the picture was sent: up to COUNT / RATE, about 100 s."""
    # A camera that repeats its pictures sends some up to one period early.
    early_s = 2 / RATE
    return float((now - number / RATE + early_s) % (COUNT / RATE)) - early_s


def _write(path: Path, pictures: list[bytes]) -> None:
    lengths = np.array([len(pictures), *map(len, pictures)], "<u4")
    path.write_bytes(lengths.tobytes() + b"".join(pictures))


def _bar(picture: NDArray[np.uint8], place: int, bit: int) -> None:
    picture[:STRIP, place * BAR : (place + 1) * BAR] = BRIGHT if bit else DARK


@cache
def _scene() -> NDArray[np.uint8]:
    random = np.random.default_rng(1)
    coarse = random.integers(40, 216, (HEIGHT // 10, WIDTH // 10, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
