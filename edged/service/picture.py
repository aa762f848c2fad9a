"""Pixels: a measure of change between two frames, and a frame as JPEG."""

from __future__ import annotations

import io
import math
from typing import TypeAlias

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, WebPImagePlugin  # noqa: F401  # see below

from edged.core.types import Frame

Image.preinit()  # Pillow imports formats when it first needs them, which may be when no file descriptor is left

Thumbnail: TypeAlias = NDArray[np.uint8]
Cells: TypeAlias = NDArray[np.float32]  # logarithms of brightness, height x width

CELLS = (192, 108)  # width and height
CHANNELS = (0, 2)  # red and blue: clothes as bright as what is behind them differ in one of these
ENOUGH_ROWS = 270  # two or three in each cell; all rows would cost twice the time
BLOCK = 12  # cells; within a block, light is taken to change by one factor
WINDOW = (2, 5)  # cells, width and height; a person a twentieth of the picture's height fills it
DARK = 24  # levels added to both pictures, because noise in the dark makes large ratios
STRONGEST = 0.17  # cells count up to this, so that one snowflake or drop is not enough
MOST_NOISE = 0.05  # what differs more in half of the cells is not noise but another scene
MOST_LIGHT = 0.8  # by what factor light may change, as its logarithm: 2.2
MOST_COLOUR = 0.4  # the same for red against blue
CHANGED = 0.08  # tests/bench/bench_yard.py measures what other thresholds cost

MAX_BYTES = 1_000_000  # of a picture that is published
QUALITY = 80
LEAST_SIDE = 16  # pixels; a picture is not scaled down further

LOG_LEVELS = np.log(np.arange(256, dtype=np.float32) + DARK)


def thumbnail(frame: Frame) -> Thumbnail:
    """The frame as 192 x 108 cells of red and of blue (41 KB) for `change`, to be kept instead of the frame.

    Channels x height x width, uint8.
    """
    rows = frame.rgb[:: max(1, frame.rgb.shape[0] // ENOUGH_ROWS)]
    channels = [Image.fromarray(np.ascontiguousarray(rows[:, :, channel])) for channel in CHANNELS]
    return np.stack([np.asarray(channel.resize(CELLS, Image.Resampling.BOX)) for channel in channels])


def change(previous: Thumbnail, current: Thumbnail) -> float:
    """How much two thumbnails differ where they differ most, 0 to 0.17. The picture has changed if it is >= `CHANGED`.

    The measure is a difference of the logarithms of brightness, averaged over the `WINDOW` where it is largest. Light
    that changes a whole `BLOCK` by one factor does not count, nor do noise and what moves by less than a cell, such as
    leaves. A shadow's edge that has moved farther counts, and so does a burnt-in clock: mask it. If most of the picture
    has another colour or brightness, that is more than light: a lamp or a door may fill a region.
    """
    before, after = LOG_LEVELS.take(previous), LOG_LEVELS.take(current)
    red, blue = np.median((after - before)[:, ::4, ::4], axis=(1, 2))
    if max(abs(red), abs(blue)) > MOST_LIGHT or abs(red - blue) > MOST_COLOUR:
        return STRONGEST
    return max(_difference(*channels) for channels in zip(before, after, strict=True))


def _difference(before: Cells, after: Cells) -> float:
    after = after - _light(after - before)
    typical = np.median(np.abs(after - before)[::2, ::2])  # a quarter of the cells says as much
    differs = np.maximum(_outside(after, before), _outside(before, after)) - min(typical, MOST_NOISE)
    return float(_window_sums(differs.clip(0, STRONGEST)).max()) / (WINDOW[0] * WINDOW[1])


def _light(ratios: Cells) -> Cells:
    """The part of the change that is light: the median of each block, interpolated between the blocks."""
    height, width = (side // BLOCK for side in ratios.shape)
    blocks = ratios.reshape(height, BLOCK, width, BLOCK).swapaxes(1, 2).reshape(height, width, BLOCK * BLOCK)
    medians = np.sort(blocks, axis=2)[:, :, BLOCK * BLOCK // 2]
    return np.asarray(Image.fromarray(medians).resize(CELLS, Image.Resampling.BILINEAR))


def _outside(cells: Cells, other: Cells) -> Cells:
    """How far each cell is outside the range of the same cell of `other` and its neighbours; negative if inside."""
    padded = np.pad(other, 1, mode="edge")
    lowest, highest = _over_neighbours(np.minimum, padded), _over_neighbours(np.maximum, padded)
    return np.asarray(np.maximum(lowest - cells, cells - highest))


def _over_neighbours(extreme: np.ufunc, padded: Cells) -> Cells:
    rows = extreme(extreme(padded[:-2], padded[1:-1]), padded[2:])
    return np.asarray(extreme(extreme(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:]))


def _window_sums(cells: Cells) -> Cells:
    columns, rows = WINDOW
    height, width = cells.shape
    across = sum((cells[:, x : width - columns + 1 + x] for x in range(1, columns)), cells[:, : width - columns + 1])
    sums: Cells = sum((across[y : height - rows + 1 + y] for y in range(1, rows)), across[: height - rows + 1])
    return sums


def jpeg(frame: Frame, max_side: int = 1280, quality: int = QUALITY, max_bytes: int = MAX_BYTES) -> bytes:
    """Encode the frame as JPEG. `quality` is 1 to 95.

    It is scaled down until no side is longer than `max_side` pixels, and it has at most `max_bytes`; but not to less
    than LEAST_SIDE pixels.
    """
    return _within(Image.fromarray(frame.rgb), max_side, quality, max_bytes)


def preview(frame: Frame, max_side: int = 1280) -> bytes:
    """Encode the frame as JPEG for people who watch, in a third of the time of `jpeg`.

    It is reduced by a whole factor until no side is longer than `max_side` pixels.
    """
    height, width = frame.rgb.shape[:2]
    factor = -(-max(height, width) // max_side)
    size = -(-width // factor), -(-height // factor)
    reduced = cv2.resize(frame.rgb, size, interpolation=cv2.INTER_AREA) if factor > 1 else frame.rgb
    return bytes(simplejpeg.encode_jpeg(reduced, QUALITY, "RGB", "420"))


def lossless(frame: Frame) -> bytes:
    """Encode the frame as WebP without loss: its pixels have the frame's digest again.

    A frame that is evaluated later must be the one that the model saw: JPEG of quality 95 changes pixels by 15 to 20
    levels where there are edges. Measured at 1920 x 1080 with a picture that a camera has compressed: 1.2 MB in 256 ms;
    the fastest PNG 1.7 MB in 232 ms, JPEG of quality 95 0.5 MB in 27 ms. With the noise of a sensor: 3.5 MB in 175 ms;
    PNG 3.9 MB in 456 ms, JPEG 0.9 MB in 22 ms. Other threads go on meanwhile.
    """
    data = io.BytesIO()
    Image.fromarray(frame.rgb).save(data, "WEBP", lossless=True, quality=0, method=0)
    return data.getvalue()


def scaled_down(jpeg_bytes: bytes, limit: int) -> bytes | None:
    """The JPEG with so few pixels that it has `limit` bytes at most; None if LEAST_SIDE pixels have more."""
    if len(jpeg_bytes) <= limit:
        return jpeg_bytes
    with Image.open(io.BytesIO(jpeg_bytes)) as opened:
        image = opened.convert("RGB")
    data = _within(image, max(image.size), QUALITY, limit)
    return data if len(data) <= limit else None


def _within(image: Image.Image, max_side: int, quality: int, max_bytes: int) -> bytes:
    side = min(max_side, max(image.size))
    data = _encoded(image, side, quality)
    while len(data) > max_bytes and side > LEAST_SIDE:
        side = max(LEAST_SIDE, int(side * min(0.9, math.sqrt(max_bytes / len(data)))))
        data = _encoded(image, side, quality)
    return data


def _encoded(image: Image.Image, side: int, quality: int) -> bytes:
    if side < max(image.size):
        scale = side / max(image.size)
        width, height = (max(1, round(length * scale)) for length in image.size)
        image = image.resize((width, height), Image.Resampling.BOX)
    data = io.BytesIO()
    image.save(data, "JPEG", quality=quality)
    return data.getvalue()
