"""Weather over the synthetic yard: clouds, rain, snow, and wind in the leaves and at the camera."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from support.yard.drawing import HEIGHT, LEAVES, WIDTH, Floats, Picture


@dataclass(frozen=True, slots=True)
class Weather:
    """`cover` is how much of the sky is cloudy, 0 to 1; `rain` and `snow` are from and to, in hours.

    At the share `windy` of the looks, wind has moved the camera by about `wind` pixels, and leaves by five times that.
    """

    cover: float = 0.3
    rain: tuple[float, float] = (0.0, 0.0)
    snow: tuple[float, float] = (0.0, 0.0)
    wind: float = 0.2
    windy: float = 0.0

    def clear(self, clouds: Floats, hour: float) -> Floats:
        """How much of the sun comes through at each place, 0 to 1, at half the picture's size."""
        half = (WIDTH // 2, HEIGHT // 2)
        if self.cover in (0.0, 1.0):
            return np.full(half[::-1], 1 - self.cover, np.float32)
        column = int(hour * 160) % (clouds.shape[1] - 40)
        sky = cv2.resize(clouds[100:120, column : column + 32], half)
        return np.asarray(np.clip((sky + 1.6 * (0.5 - self.cover)) * 2.5 + 0.5, 0, 1), np.float32)


WEATHERS = {
    "sunny": Weather(cover=0.0),
    "broken clouds": Weather(cover=0.5, windy=0.3),
    "overcast": Weather(cover=1.0, wind=0.4, windy=0.5),
    "rain": Weather(cover=0.9, rain=(4.0, 15.0), wind=0.5, windy=0.5),
    "snow": Weather(cover=0.9, snow=(2.0, 10.0), windy=0.3),
}


def sway(picture: Picture, still: Picture, pixels: float, rng: np.random.Generator) -> None:
    """Moves the leaves of `picture`, of which `still` is the yard without anything in it."""
    for area in LEAVES:
        leaves, seen = still[area], picture[area]
        right, down = np.round(rng.normal(0, pixels, 2)).astype(int)
        is_green = (leaves[:, :, 1] > leaves[:, :, 2]) & (leaves[:, :, 1] < 150)
        is_free = (seen == leaves).all(axis=2)
        moves = is_green & is_free
        seen[moves] = np.roll(leaves, (down, right), (0, 1))[moves]


def add_rain(lit: Floats, drops: list[tuple[int, int, int]], rng: np.random.Generator) -> None:
    """Haze, streaks, and `drops` on the pane: x, y and radius."""
    lit *= 0.88
    lit += 13
    for x, y, radius in drops:
        spot = lit[max(0, y - radius) : y + radius, max(0, x - radius) : x + radius]
        spot[:] = 0.6 * spot + 0.4 * (spot.mean() + 12)
    for _ in range(160):
        x, y, length = int(rng.integers(WIDTH)), int(rng.integers(HEIGHT)), int(rng.integers(8, 30))
        lit[y : y + length, x : x + 1] += 14


def new_drops(rng: np.random.Generator) -> list[tuple[int, int, int]]:
    number = int(rng.integers(0, 4))
    return [(int(rng.integers(WIDTH)), int(rng.integers(HEIGHT)), int(rng.integers(6, 14))) for _ in range(number)]


def add_snow(lit: Floats, brightness: int, rng: np.random.Generator) -> None:
    """250 flakes. One in twenty is near the camera, and up to eight pixels large."""
    for _ in range(250):
        x, y = int(rng.integers(WIDTH)), int(rng.integers(HEIGHT))
        radius = 1 if rng.random() < 0.95 else int(rng.integers(2, 5))
        lit[y : y + 2 * radius, x : x + 2 * radius] += brightness


def shaken(lit: Floats, pixels: float, rng: np.random.Generator) -> Floats:
    """As a camera sees it that the wind has moved."""
    right, down = rng.normal(0, pixels, 2)
    move = np.array([[1, 0, right], [0, 1, down]], np.float32)
    moved = cv2.warpAffine(lit, move, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)
