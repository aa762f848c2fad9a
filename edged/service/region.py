"""Cuts a region out of a frame. Positions in a config are fractions of the picture's width and height."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edged.cameras.polygon import inside
from edged.core.specs import RegionSpec
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


def _span(first: float, last: float, size: int) -> slice:
    """These fractions as pixels, one at least."""
    begin = min(round(first * size), size - 1)
    return slice(begin, max(begin + 1, round(last * size)))
