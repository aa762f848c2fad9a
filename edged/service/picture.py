"""Pixels: a measure of change between two frames, and a frame as JPEG."""

from __future__ import annotations

import io
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edged.core.types import Frame

Thumbnail: TypeAlias = NDArray[np.uint8]

THUMBNAIL_SIZE = (96, 54)  # width and height
ENOUGH_ROWS = 540  # ten in each cell; more cost time and change nothing
CELL_LEVELS = 12  # of 255: smaller differences are noise, compression and flicker
CHANGED = 0.002  # share of the cells: a person whose height is a tenth of the picture


def thumbnail(frame: Frame) -> Thumbnail:
    """The frame as 96 x 54 grey cells (5 KB) for `change`, to be kept instead of the frame. Height x width, uint8."""
    rows = frame.rgb[:: max(1, frame.rgb.shape[0] // ENOUGH_ROWS)]
    grey = Image.fromarray(np.ascontiguousarray(rows)).convert("L")
    return np.asarray(grey.resize(THUMBNAIL_SIZE, Image.Resampling.BOX), dtype=np.uint8)


def change(previous: Thumbnail, current: Thumbnail) -> float:
    """The share of cells, 0 to 1, that differ between two thumbnails. The picture has changed if it is >= `CHANGED`.

    A change of brightness of the whole picture does not count. A burnt-in clock does: mask it.
    """
    before, after = previous.astype(np.float32) + 1, current.astype(np.float32) + 1
    before *= np.median(after / before)  # a camera's exposure changes brightness by a factor
    differs = np.abs(after - before) > CELL_LEVELS
    return float(np.count_nonzero(differs) / differs.size)


def jpeg(frame: Frame, max_width: int = 1280, quality: int = 80) -> bytes:
    """Encode the frame as JPEG, scaled down to `max_width` pixels if it is wider. `quality` is 1 to 95."""
    image = Image.fromarray(frame.rgb)
    if image.width > max_width:
        height = max(1, round(image.height * max_width / image.width))
        image = image.resize((max_width, height), Image.Resampling.BOX)
    data = io.BytesIO()
    image.save(data, "JPEG", quality=quality)
    return data.getvalue()
