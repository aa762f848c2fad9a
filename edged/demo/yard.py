"""The empty yard of the demo, and its light. Positions are shares of the frame's side."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from edged.demo.figures import Point

HORIZON = 0.385
DOORWAY = (0.612, 0.125, 0.737, 0.40)  # left, top, right, bottom
DOOR_X = 0.675
LAMP = (0.565, 0.10)
WINDOWS = (0.07, 0.28, 0.815)


@dataclass(frozen=True, slots=True)
class Light:
    """`dark` is 0 by day and 1 at night; the lamp is lit above 0.5. `slope` is the change of the gain across the frame,
    to the right and down.
    """

    dark: float = 0.0
    gain: float = 1.0
    slope: Point = (0.0, 0.0)
    tint: Point = (1.0, 1.0)
    noise: float = 2.0

    @property
    def night(self) -> bool:
        return self.dark > 0.5


@lru_cache(maxsize=8)
def yard(side: int, door_open: bool) -> Image.Image:
    """The empty yard in full daylight, side x side pixels, RGB."""
    rng = np.random.default_rng(5)
    wide = 1024
    image = Image.new("RGB", (wide, wide), (128, 126, 122))
    draw = ImageDraw.Draw(image)
    _draw_ground(draw, rng, wide)
    _draw_wall(draw, rng, wide)
    _draw_door(draw, wide, door_open)
    _draw_greenery(draw, rng, wide)
    return image.resize((side, side), Image.Resampling.BOX if wide % side == 0 else Image.Resampling.LANCZOS)


def _scaled(wide: int, *shares: float) -> list[float]:
    return [share * wide for share in shares]


def _draw_ground(draw: ImageDraw.ImageDraw, rng: np.random.Generator, wide: int) -> None:
    for row in range(int(HORIZON * wide), wide):
        depth = (row / wide - HORIZON) / (1 - HORIZON)
        grey = int(112 + 26 * depth)
        draw.line([(0, row), (wide, row)], fill=(grey, grey - 1, grey - 5))
    for _ in range(2600):
        left, top = int(rng.integers(0, wide)), int(rng.integers(int(HORIZON * wide), wide))
        grey = int(rng.integers(100, 150))
        draw.ellipse((left, top, left + 4, top + 2), fill=(grey, grey, grey - 4))
    draw.polygon(
        [tuple(_scaled(wide, *p)) for p in ((0.585, HORIZON), (0.765, HORIZON), (0.90, 1), (0.47, 1))],
        fill=(166, 160, 149),
    )
    for step in range(1, 9):
        y = HORIZON + (1 - HORIZON) * (step / 9) ** 1.5
        depth = (y - HORIZON) / (1 - HORIZON)
        ends = [_scaled(wide, 0.585 - 0.115 * depth, y), _scaled(wide, 0.765 + 0.135 * depth, y)]
        draw.line([tuple(ends[0]), tuple(ends[1])], fill=(148, 142, 132), width=4)
    draw.polygon([tuple(_scaled(wide, *p)) for p in ((0, HORIZON), (0.2, HORIZON), (0.0, 0.74))], fill=(104, 138, 78))
    for _ in range(700):
        x, y = rng.uniform(0, 0.2), rng.uniform(HORIZON, 0.74)
        if x / 0.2 + (y - HORIZON) / 0.355 < 0.97:
            green = int(rng.integers(110, 158))
            draw.line(
                [tuple(_scaled(wide, x, y)), tuple(_scaled(wide, x + 0.002, y - 0.008))],
                fill=(green - 40, green, green - 60),
                width=2,
            )
    for x in (0.13, 0.33):
        draw.line([tuple(_scaled(wide, x + 0.13, 0.53)), tuple(_scaled(wide, x, 1.0))], fill=(212, 210, 202), width=9)


def _draw_wall(draw: ImageDraw.ImageDraw, rng: np.random.Generator, wide: int) -> None:
    foot = int((HORIZON - 0.02) * wide)
    draw.rectangle((0, 0, wide, foot), fill=(186, 172, 156))
    for number, row in enumerate(range(26, foot, 22)):
        for column in range(-60 + number % 2 * 30, wide, 60):
            tone = int(rng.integers(-8, 9))
            draw.rounded_rectangle((column, row, column + 57, row + 19), 3, fill=(172 + tone, 122 + tone, 100 + tone))
    draw.rectangle((0, 0, wide, 24), fill=(88, 78, 76))
    draw.rectangle((0, 24, wide, 31), fill=(70, 62, 60))
    draw.rectangle((0, foot, wide, int(HORIZON * wide)), fill=(108, 102, 96))
    for x in WINDOWS:
        left, top, right, bottom = _scaled(wide, x, 0.10, x + 0.115, 0.225)
        draw.rectangle((left - 6, bottom, right + 6, bottom + 10), fill=(206, 200, 190))
        draw.rectangle((left, top, right, bottom), fill=(236, 232, 224))
        draw.rectangle((left + 10, top + 10, right - 10, bottom - 8), fill=(88, 112, 134))
        draw.polygon(
            [(left + 10, bottom - 8), (left + 10, top + 50), (left + 60, top + 10), (left + 84, top + 10)],
            fill=(108, 132, 152),
        )
        draw.line([((left + right) / 2, top), ((left + right) / 2, bottom)], fill=(236, 232, 224), width=8)
    x, y = _scaled(wide, *LAMP)
    draw.rectangle((x - 5, y - 22, x + 5, y), fill=(50, 50, 54))
    draw.rounded_rectangle((x - 14, y - 6, x + 14, y + 26), 6, fill=(214, 206, 180), outline=(50, 50, 54), width=4)


def _draw_door(draw: ImageDraw.ImageDraw, wide: int, door_open: bool) -> None:
    left, top, right, bottom = _scaled(wide, *DOORWAY)
    draw.rectangle((left - 14, top - 14, right + 14, bottom), fill=(232, 228, 218))
    if door_open:
        draw.rectangle((left, top, right, bottom), fill=(34, 30, 34))
        draw.rectangle((left + 30, top + 34, right, bottom), fill=(48, 40, 40))
        draw.polygon([(left, top), (left + 34, top + 16), (left + 34, bottom + 26), (left, bottom)], fill=(38, 94, 74))
        draw.polygon(
            [(left + 7, top + 24), (left + 27, top + 34), (left + 27, bottom - 6), (left + 7, bottom - 22)],
            fill=(50, 116, 92),
        )
    else:
        draw.rectangle((left, top, right, bottom), fill=(46, 116, 90))
        for row in (0.17, 0.275):
            draw.rectangle(
                (left + 18, row * wide, right - 18, (row + 0.085) * wide),
                fill=(62, 144, 112),
                outline=(38, 98, 76),
                width=4,
            )
        draw.ellipse((right - 22, 0.258 * wide, right - 8, 0.258 * wide + 14), fill=(240, 212, 110))
    draw.rectangle((left - 22, bottom, right + 22, bottom + 10), fill=(178, 172, 162))


def _draw_greenery(draw: ImageDraw.ImageDraw, rng: np.random.Generator, wide: int) -> None:
    for middle_x, middle_y, reach in ((0.03, 0.37, 0.07), (0.13, 0.375, 0.05), (0.965, 0.375, 0.06)):
        for _ in range(150):
            x, y = rng.normal(middle_x, reach * 0.45), rng.normal(middle_y, reach * 0.28)
            size, green = rng.uniform(0.006, 0.014), int(rng.integers(86, 150))
            draw.ellipse(_scaled(wide, x - size, y - size, x + size, y + size), fill=(green - 44, green, green - 52))
    for x in (0.565, 0.782):
        draw.polygon(
            [
                tuple(_scaled(wide, *p))
                for p in ((x - 0.016, 0.375), (x + 0.016, 0.375), (x + 0.011, 0.41), (x - 0.011, 0.41))
            ],
            fill=(176, 92, 62),
        )
        for _ in range(26):
            fx, fy = rng.normal(x, 0.010), rng.normal(0.362, 0.009)
            colour = ((208, 74, 96), (240, 196, 84), (84, 132, 72), (72, 118, 66))[rng.integers(4)]
            draw.ellipse(_scaled(wide, fx - 0.005, fy - 0.005, fx + 0.005, fy + 0.005), fill=colour)


@lru_cache(maxsize=4)
def _glow(side: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Where the lamp's light falls (side x side x 1, 0 to 1), and the glow of lamp and windows (side x side x 3)."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    pool = np.exp(-(((x - LAMP[0] - 0.04) / 0.34) ** 2) - ((y - 0.46) / 0.40) ** 2)[..., None]
    shine = Image.new("RGB", (side, side))
    draw = ImageDraw.Draw(shine)
    for left in WINDOWS[:2]:
        draw.rectangle(_scaled(side, left + 0.01, 0.11, left + 0.105, 0.215), fill=(120, 92, 40))
    draw.ellipse(
        _scaled(side, LAMP[0] - 0.014, LAMP[1] - 0.006, LAMP[0] + 0.014, LAMP[1] + 0.026), fill=(255, 244, 200)
    )
    halo = np.asarray(shine.filter(ImageFilter.GaussianBlur(side * 0.02)), np.float32)
    return pool.astype(np.float32), 0.75 * np.asarray(shine, np.float32) + 0.9 * halo


def lit(pixels: npt.NDArray[np.float32], light: Light) -> npt.NDArray[np.float32]:
    """The pixels in this light, not clipped to 0..255."""
    side = pixels.shape[0]
    pool, shine = _glow(side)
    ramp = np.linspace(-0.5, 0.5, side, dtype=np.float32)
    gain = light.gain * (1 + light.slope[0] * ramp[None, :] + light.slope[1] * ramp[:, None])[..., None]
    lamp = 0.62 * pool if light.night else np.float32(0)
    level = (gain * (1 - 0.64 * light.dark) + lamp).astype(np.float32)
    tint = np.array([light.tint[0] - 0.07 * light.dark, 1.0, light.tint[1] + 0.09 * light.dark], np.float32)
    shown = pixels * level * tint
    return shown + shine if light.night else shown
