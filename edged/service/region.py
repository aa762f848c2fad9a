"""Cuts a region out of a frame. Positions in a config are fractions of the picture's width and height."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edged.core.specs import Point, RegionSpec
from edged.core.types import Frame


def cut(frame: Frame, region: RegionSpec | None) -> Frame:
    """The part of a frame that the model is shown for questions about this region; None: the frame itself.

    Keeps the digest and the times of the whole frame, whose pixels are not changed.
    """
    if region is None:
        return frame
    height, width = frame.rgb.shape[:2]
    left, top, right, bottom = region.box
    columns, rows = _span(left, right, width), _span(top, bottom, height)
    rgb = frame.rgb[rows, columns]
    if region.polygon:
        corners = [(x * width - columns.start, y * height - rows.start) for x, y in region.polygon]
        rgb = rgb * inside(corners, rgb.shape[1], rgb.shape[0])[..., np.newaxis]
    return replace(frame, rgb=np.ascontiguousarray(rgb))


def inside(corners: Sequence[Point], width: int, height: int) -> NDArray[np.uint8]:
    """1 for each pixel whose middle is in the polygon, 0 for the others. Height x width.

    The corners are in pixels. Where the polygon crosses itself, a part that is covered twice is outside.
    """
    crossings = np.zeros((height, width + 1), dtype=np.uint8)
    middles = np.arange(height) + 0.5
    for (x1, y1), (x2, y2) in pairwise([*corners, corners[0]]):
        rows = np.flatnonzero((min(y1, y2) <= middles) & (middles < max(y1, y2)))
        if len(rows):
            x = x1 + (middles[rows] - y1) * (x2 - x1) / (y2 - y1)
            crossings[rows, np.clip(np.ceil(x - 0.5), 0, width).astype(np.intp)] += 1
    return crossings[:, :width].cumsum(axis=1, dtype=np.uint8) & np.uint8(1)


def _span(first: float, last: float, size: int) -> slice:
    """These fractions as pixels, one at least."""
    begin = min(round(first * size), size - 1)
    return slice(begin, max(begin + 1, round(last * size)))
