"""Shapes in a picture, as fractions of its width and height."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from edged.config.keys import Form, key
from edged.config.problems import wrong
from edged.config.values import Share
from edged.core.json_values import is_number


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
    elif is_number(value):
        yield value


def _corners(value: Any) -> Any:
    if isinstance(value, list) and not all(isinstance(corner, list) for corner in value):
        raise wrong("must be a list of corners such as [[0, 0.6], [0.3, 0.6], [0.3, 1]]")
    return _shares(value)


Point = Annotated[tuple[Share, Share], Field(strict=False)]
Polygon = Annotated[list[Point], Field(min_length=3), BeforeValidator(_corners)]
Box = Annotated[tuple[Share, Share, Share, Share], Field(strict=False), BeforeValidator(_shares)]


class ShapeForm(Form):
    """A box or a polygon."""

    polygon: Polygon | None = key(
        "Corners `[x, y]`, as fractions of the picture's width and height. Default: none; give a polygon or a box.",
        sample=[[0, 0.6], [0.3, 0.6], [0.3, 1]],
    )
    box: Box | None = key(
        "`[left, top, right, bottom]`, as fractions of the picture's width and height. "
        "Default: none; give a polygon or a box.",
        sample=[0, 0.6, 0.3, 1],
    )

    @model_validator(mode="before")
    @classmethod
    def _mapping(cls, value: Any) -> Any:
        if isinstance(value, list):
            raise wrong("must be {polygon: [[x, y], …]} or {box: [left, top, right, bottom]}")
        return value

    @model_validator(mode="after")
    def _one_shape(self) -> Self:
        if (self.polygon is None) == (self.box is None):
            raise wrong("must be either {polygon: [[x, y], …]} or {box: [left, top, right, bottom]}")
        if self.box and not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise wrong("a box is [left, top, right, bottom], with left < right and top < bottom", "box")
        return self


def area(corners: Sequence[tuple[float, float]]) -> float:
    """The area of a polygon; negative if its corners go counterclockwise. Parts of one that crosses itself cancel."""
    return sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairwise([*corners, corners[0]])) / 2
