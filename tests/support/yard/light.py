"""The light in the synthetic yard at half the picture's size: sun and shadows, lamps, headlights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from support.yard.day import HORIZON, Moment
from support.yard.drawing import HEIGHT, WIDTH, Floats


@dataclass(frozen=True, slots=True)
class Sun:
    """`height` is the sine of the elevation; `along` is how a shadow runs, in pixels per pixel of height."""

    height: float
    twilight: float
    along: tuple[float, float]

    @classmethod
    def at(cls, hour: float) -> Sun:
        angle = (hour - 12) / 12 * math.pi
        height = 0.75 * math.cos(angle)  # noon: 49 degrees; sunrise at six
        twilight = min(1.0, max(0.0, 0.5 + height * 5))
        length = min(6.0, math.sqrt(max(0.0, 1 - height**2)) / max(0.05, height))
        azimuth = angle  # 15 degrees an hour
        return cls(height, twilight, (length * math.sin(azimuth), -0.35 * length * math.cos(azimuth)))


def shadows(moment: Moment, sun: Sun) -> Floats:
    """0 in the sun, 1 in the shade."""
    shade = np.zeros((HEIGHT // 2, WIDTH // 2), np.float32)
    right, down = sun.along
    wall = [(180, 215), (0, 420), (380 * right, 420 + 380 * down), (180 + 85 * right, 215 + 85 * down)]
    _fill(shade, wall)
    crown = (round(4 * (874 + 90 * right)), round(4 * (262 + 90 * down)))
    cv2.ellipse(shade, crown, (280, 130), 0, 0, 360, 0.85, -1, cv2.LINE_AA, 3)
    _cast(shade, (300, 520), 330, 7, sun)  # a lamp post
    for person in moment.people:
        tall = person.height * HEIGHT
        _cast(shade, (person.x * WIDTH, person.y * HEIGHT), tall, 0.25 * tall, sun)
    if moment.car:
        _cast(shade, moment.car, 70, 190, sun)
    return np.asarray(cv2.GaussianBlur(shade, (0, 0), 1.0), np.float32)


def lamp() -> Floats:
    return _spot((200, 190), (120, 60))


def infrared() -> Floats:
    """The camera's own light: strong in the middle, weak far away."""
    return 0.08 + 0.35 * _spot((240, 180), (200, 110))


def headlights(rng: np.random.Generator) -> Floats:
    """Of a car on the street, which sweep over a part of the yard."""
    return _spot((rng.uniform(0, WIDTH // 2), HEIGHT), (60, HEIGHT)) * (_ROWS > HORIZON * HEIGHT / 2)


_ROWS, _COLUMNS = (np.asarray(axis, np.float32) for axis in np.mgrid[0 : HEIGHT // 2, 0 : WIDTH // 2])


def _spot(middle: tuple[float, float], size: tuple[float, float]) -> Floats:
    x, y = (_COLUMNS - middle[0]) / size[0], (_ROWS - middle[1]) / size[1]
    return np.asarray(np.exp(-(x**2 + y**2)), np.float32)


def _cast(shade: Floats, base: tuple[float, float], tall: float, wide: float, sun: Sun) -> None:
    """The shadow of something upright."""
    left, right, y = base[0] - wide / 2, base[0] + wide / 2, base[1]
    dx, dy = sun.along[0] * tall, sun.along[1] * tall
    _fill(shade, [(left, y), (right, y), (right + dx, y + dy), (left + dx, y + dy)])


def _fill(shade: Floats, corners: Sequence[tuple[float, float]]) -> None:
    points = np.round(np.clip(np.array(corners), -4000, 4000) * 4).astype(np.int32)  # halved, in eighths of a pixel
    cv2.fillPoly(shade, [points], (1.0,), cv2.LINE_AA, 3)
