"""Shapes in a picture, as fractions of its width and height."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from edged.config.problems import wrong
from edged.config.values import Share


def _shares(value: Any) -> Any:
    """Refuses pixels, once for the whole shape."""
    outside = next((number for number in _numbers(value) if not 0 <= number <= 1), None)
    if outside is not None:
        raise wrong(f"contains {outside:g}; use fractions of the picture's width and height, from 0 to 1, not pixels")
    return value


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, list):
        for part in value:
            yield from _numbers(part)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def _corners(value: Any) -> Any:
    if isinstance(value, list) and not all(isinstance(corner, list) for corner in value):
        raise wrong("must be a list of corners such as [[0, 0.6], [0.3, 0.6], [0.3, 1]]")
    return _shares(value)


Point = Annotated[tuple[Share, Share], Field(strict=False)]
Polygon = Annotated[list[Point], Field(min_length=3), BeforeValidator(_corners)]
Box = Annotated[tuple[Share, Share, Share, Share], Field(strict=False), BeforeValidator(_shares)]
