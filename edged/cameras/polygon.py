"""The pixels of a polygon. One that crosses itself contains what its sides go around twice."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edged.core.specs import Point


def inside(corners: Sequence[Point], width: int, height: int) -> NDArray[np.uint8]:
    """1 for each pixel whose middle is in the polygon, 0 for the others. Height x width. By non-zero winding.

    The corners are in pixels.
    """
    windings = np.zeros((height, width + 1), dtype=np.int16)
    middles = np.arange(height) + 0.5
    for (x1, y1), (x2, y2) in pairwise([*corners, corners[0]]):
        rows = np.flatnonzero((min(y1, y2) <= middles) & (middles < max(y1, y2)))
        if len(rows):
            x = x1 + (middles[rows] - y1) * (x2 - x1) / (y2 - y1)
            windings[rows, np.clip(np.ceil(x - 0.5), 0, width).astype(np.intp)] += 1 if y1 < y2 else -1
    return np.asarray(windings[:, :width].cumsum(axis=1, dtype=np.int16) != 0, np.uint8)
