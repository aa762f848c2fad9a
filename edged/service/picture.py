"""What a look needs of a frame's pixels: whether they changed since an earlier frame, and a JPEG to publish."""

from __future__ import annotations

import io
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edged.core.types import Frame

Thumbnail: TypeAlias = NDArray[np.uint8]

THUMBNAIL_SIZE = (96, 54)  # width and height
CELL_LEVELS = 12  # of 255: less is noise, compression and the shimmer of light
CHANGED = 0.002  # of the cells: a person as high as a tenth of the picture


def thumbnail(frame: Frame) -> Thumbnail:
    """96 x 54 grey cells, 5 KB, for `change`: keep this of the frame last answered, not the frame."""
    grey = Image.fromarray(frame.rgb).convert("L")
    return np.asarray(grey.resize(THUMBNAIL_SIZE, Image.Resampling.BOX), dtype=np.uint8)


def change(previous: Thumbnail, current: Thumbnail) -> float:
    """The share of cells, 0 to 1, that differ between two thumbnails; from `CHANGED` on, the picture has changed.

    Light that gets slowly brighter or darker all over does not count. A burnt-in clock does: mask it.
    """
    before, after = previous.astype(np.float32) + 1, current.astype(np.float32) + 1
    before *= np.median(after / before)  # as the camera's exposure works: by a factor
    differs = np.abs(after - before) > CELL_LEVELS
    return float(np.count_nonzero(differs) / differs.size)


def jpeg(frame: Frame, max_width: int = 1280, quality: int = 80) -> bytes:
    """The frame as JPEG, scaled down to `max_width` pixels if it is wider. `quality` is 1 to 95."""
    image = Image.fromarray(frame.rgb)
    if image.width > max_width:
        height = max(1, round(image.height * max_width / image.width))
        image = image.resize((max_width, height), Image.Resampling.BOX)
    data = io.BytesIO()
    image.save(data, "JPEG", quality=quality)
    return data.getvalue()
