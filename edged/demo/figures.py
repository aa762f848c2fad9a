"""The people and cars of the demo's yard: how they look, and their drawings.

Heights, lengths and places are shares of the frame's side; sprites are in pixels.
"""

import colorsys
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

Sprites = Literal["train", "held_out"]
Colour = tuple[int, int, int]
Point = tuple[float, float]

FINE = 4  # sprites are drawn this many times larger, then scaled down
STEPS = 8  # drawn phases of one stride


@dataclass(frozen=True, slots=True)
class Appearance:
    """What one person looks like in any pose."""

    skin: Colour
    hair: Colour
    top: Colour
    bottom: Colour
    bag: Colour | None
    cut: Literal["shirt", "coat", "dress"]
    head: Literal["short", "long", "hat"]
    build: float
    stature: float


@dataclass(frozen=True, slots=True)
class Paint:
    """What one car looks like."""

    body: Colour
    shape: Literal["saloon", "van", "hatchback"]
    length: float


@dataclass(frozen=True, slots=True)
class Sprite:
    """A drawn person or car: picture with alpha, and the point (in pixels) that decides whether it counts."""

    image: Image.Image
    anchor: Point


# in degrees, each +/- HUE_WIDTH; not used in the training pictures
HELD_OUT_HUES = (15, 40, 90, 145, 188, 225, 262, 308)
HUE_WIDTH = 4
SKINS = {
    "train": ((241, 201, 170), (214, 164, 130), (160, 110, 80), (98, 66, 50)),
    "held_out": ((228, 184, 150), (188, 138, 104), (126, 86, 64)),
}
HAIRS = {
    "train": ((30, 22, 18), (90, 60, 35), (184, 144, 84), (120, 116, 112)),
    "held_out": ((56, 40, 28), (140, 56, 34), (206, 176, 116)),
}


# where a car's cabin and roof begin and end, from the back to the front
ROOFS = {
    "saloon": (0.20, 0.34, 0.68, 0.83),
    "van": (0.03, 0.07, 0.74, 0.88),
    "hatchback": (0.08, 0.16, 0.64, 0.80),
}


def shifted(colour: Colour, by: float) -> Colour:
    red, green, blue = (int(min(255, max(0, channel * by))) for channel in colour)
    return red, green, blue


def _cloth(rng: np.random.Generator, sprites: Sprites) -> Colour:
    if rng.random() < 0.3:
        grey = int(rng.choice((40, 75, 130, 190, 235))) + int(rng.integers(-10, 11))
        return grey, grey, min(255, grey + int(rng.integers(0, 9)))
    hue = _hue(rng, sprites) / 360
    red, green, blue = colorsys.hsv_to_rgb(hue, rng.uniform(0.4, 0.8), rng.uniform(0.35, 0.9))
    return int(red * 255), int(green * 255), int(blue * 255)


def _hue(rng: np.random.Generator, sprites: Sprites) -> float:
    if sprites == "held_out":
        return float((float(rng.choice(HELD_OUT_HUES)) + rng.uniform(-HUE_WIDTH, HUE_WIDTH)) % 360)
    while True:
        hue = float(rng.uniform(0, 360))
        if all(abs((hue - held_out + 180) % 360 - 180) > HUE_WIDTH + 3 for held_out in HELD_OUT_HUES):
            return hue


def random_appearance(rng: np.random.Generator, sprites: Sprites = "train") -> Appearance:
    skins, hairs = SKINS[sprites], HAIRS[sprites]
    dark_cloth = shifted(_cloth(rng, sprites), 0.55)
    return Appearance(
        skin=shifted(skins[rng.integers(len(skins))], rng.uniform(0.93, 1.05)),
        hair=shifted(hairs[rng.integers(len(hairs))], rng.uniform(0.85, 1.15)),
        top=_cloth(rng, sprites),
        bottom=dark_cloth if rng.random() < 0.8 else (150, 130, 100),
        bag=_cloth(rng, sprites) if rng.random() < 0.3 else None,
        cut=("shirt", "shirt", "coat", "dress")[rng.integers(4)],
        head=("short", "long", "hat")[rng.integers(3)],
        build=float(rng.uniform(0.9, 1.15)),
        stature=float(rng.uniform(0.86, 1.12)),
    )


def random_paint(rng: np.random.Generator, sprites: Sprites = "train") -> Paint:
    shapes: tuple[Literal["saloon", "van", "hatchback"], ...] = ("saloon", "van", "hatchback")
    return Paint(_cloth(rng, sprites), shapes[rng.integers(3)], float(rng.uniform(0.92, 1.08)))


def height_at(y: float) -> float:
    """Height of an adult whose feet are at y, as a share of the side."""
    return 0.205 + (y - 0.42) * 0.29


def length_at(y: float) -> float:
    """Length of a car whose wheels are at y, as a share of the side."""
    return 0.30 + (y - 0.53) * 0.26


def _small(image: Image.Image, width: int, height: int) -> Image.Image:
    return image.resize((max(1, width), max(1, height)), Image.Resampling.BOX)


@lru_cache(maxsize=192)
def person_sprite(who: Appearance, height: int, stride: int, facing: int) -> Sprite:
    """`height` in pixels from crown to sole."""
    tall, wide = height * FINE, int(height * 0.62) * FINE
    image = Image.new("RGBA", (wide, tall), (*who.top, 0))
    draw = ImageDraw.Draw(image)
    middle, radius = wide / 2, tall * 0.098
    swing = math.sin(2 * math.pi * stride / STEPS) if stride >= 0 else 0.15
    half = tall * 0.125 * who.build
    _draw_legs(draw, who, middle, tall, swing)
    if who.head == "long":
        draw.rounded_rectangle((middle - radius, radius, middle + radius, radius * 2.7), radius * 0.5, fill=who.hair)
    _draw_arm(draw, who, middle - half * 0.85, tall, -swing)
    if who.bag and who.head != "hat":
        _draw_rucksack(draw, who.bag, middle - facing * half * 1.25, tall, half)
    _draw_body(draw, who, middle, tall, half)
    _draw_arm(draw, who, middle + half * 0.85, tall, swing)
    if who.bag and who.head == "hat":
        _draw_handbag(draw, who.bag, middle + facing * tall * 0.19, tall, half)
    top = radius * 1.06
    _draw_head(draw, who, middle, top, radius, facing)
    return Sprite(_small(image, wide // FINE, height), (middle / FINE, top / FINE))


def _draw_rucksack(draw: ImageDraw.ImageDraw, colour: Colour, x: float, tall: int, half: float) -> None:
    draw.rounded_rectangle((x - half * 0.45, tall * 0.24, x + half * 0.45, tall * 0.46), half * 0.3, fill=colour)


def _draw_handbag(draw: ImageDraw.ImageDraw, colour: Colour, x: float, tall: int, half: float) -> None:
    draw.rounded_rectangle((x - half * 0.4, tall * 0.5, x + half * 0.4, tall * 0.62), half * 0.2, fill=colour)


def _draw_legs(draw: ImageDraw.ImageDraw, who: Appearance, middle: float, tall: int, swing: float) -> None:
    bare = who.cut == "dress"
    for side in (-1, 1):
        shade = 0.82 if side < 0 else 1.0
        colour = shifted(who.skin if bare else who.bottom, shade)
        hip, foot = middle + side * tall * 0.045, middle + side * (tall * 0.055 + tall * 0.10 * swing)
        knee = (hip + foot) / 2 + tall * 0.015 * side
        sole = tall * (0.955 - 0.02 * max(0.0, side * swing))
        width = int(tall * 0.085 * who.build)
        draw.line([(hip, tall * 0.52), (knee, tall * 0.74), (foot, sole)], fill=colour, width=width, joint="curve")
        draw.ellipse(
            (foot - width * 0.6, sole - tall * 0.02, foot + width * 0.85, sole + tall * 0.035), fill=(30, 26, 26)
        )


def _draw_body(draw: ImageDraw.ImageDraw, who: Appearance, middle: float, tall: int, half: float) -> None:
    hem = {"shirt": 0.57, "coat": 0.70, "dress": 0.66}[who.cut]
    draw.rectangle((middle - half * 0.3, tall * 0.17, middle + half * 0.3, tall * 0.24), fill=shifted(who.skin, 0.9))
    draw.rounded_rectangle((middle - half, tall * 0.205, middle + half, tall * 0.56), half * 0.5, fill=who.top)
    flare = half * (1.3 if who.cut == "dress" else 1.02)
    corners = [
        (middle - half, tall * 0.42),
        (middle + half, tall * 0.42),
        (middle + flare, tall * hem),
        (middle - flare, tall * hem),
    ]
    draw.polygon(corners, fill=who.top)
    if who.cut == "coat":
        draw.line(
            [(middle, tall * 0.24), (middle, tall * hem)], fill=shifted(who.top, 0.7), width=max(2, int(tall * 0.012))
        )


def _draw_arm(draw: ImageDraw.ImageDraw, who: Appearance, shoulder: float, tall: int, swing: float) -> None:
    side = 1 if swing >= 0 else -1
    hand = shoulder + side * (abs(swing) * 0.10 + 0.01) * tall
    colour = shifted(who.top, 0.84)
    width = int(tall * 0.065 * who.build)
    draw.line(
        [(shoulder, tall * 0.24), ((shoulder + hand) / 2, tall * 0.39), (hand, tall * 0.51)],
        fill=colour,
        width=width,
        joint="curve",
    )
    draw.ellipse((hand - width * 0.5, tall * 0.49, hand + width * 0.5, tall * 0.49 + width), fill=who.skin)


def _draw_head(
    draw: ImageDraw.ImageDraw, who: Appearance, middle: float, top: float, radius: float, facing: int
) -> None:
    box = (middle - radius, top - radius, middle + radius, top + radius)
    draw.ellipse(box, fill=who.skin)
    if facing:
        draw.chord(box, 150 if facing > 0 else 210, 330 if facing > 0 else 390, fill=who.hair)
        eye = middle + facing * radius * 0.5
        draw.ellipse(
            (eye - radius * 0.1, top - radius * 0.05, eye + radius * 0.1, top + radius * 0.2), fill=(30, 26, 26)
        )
    else:
        draw.chord(box, 190, 350, fill=who.hair)
    if who.head == "hat":
        draw.chord((middle - radius, top - radius, middle + radius, top + radius * 0.9), 180, 360, fill=who.bottom)
        draw.line(
            [(middle - radius * 1.1, top), (middle + radius * 1.1, top)],
            fill=shifted(who.bottom, 0.8),
            width=max(2, int(radius * 0.25)),
        )


@lru_cache(maxsize=32)
def car_sprite(paint: Paint, length: int, facing: int) -> Sprite:
    """`length` in pixels from bumper to bumper."""
    height = int(length * (0.50 if paint.shape == "van" else 0.43))
    image = Image.new("RGBA", (length * FINE, height * FINE), (*paint.body, 0))
    draw = ImageDraw.Draw(image)
    back, roof_back, roof_front, front = (share * image.width for share in ROOFS[paint.shape])
    pillar = (roof_back + roof_front) / 2
    _draw_cabin(draw, paint, image.height, (back, roof_back, pillar, roof_front, front))
    _draw_chassis(draw, paint, image.size, pillar)
    _draw_wheels(draw, image.size)
    small = _small(image, length, height)
    if facing < 0:
        small = small.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return Sprite(small, (length / 2, height * 0.5))


def _draw_cabin(
    draw: ImageDraw.ImageDraw, paint: Paint, tall: int, places: tuple[float, float, float, float, float]
) -> None:
    """The roof and two windows. `places` are those of the cabin's back, roof's back, pillar, roof's front and front."""
    back, roof_back, pillar, roof_front, front = places
    belt, top, inset, glass = tall * 0.47, tall * 0.03, tall * 0.07, shifted((96, 128, 150), 0.85)
    roof = [(back, belt), (roof_back, top), (roof_front, top), (front, belt)]
    draw.polygon(roof, fill=shifted(paint.body, 0.72))
    upper = inset + tall * 0.03
    rear = [(back + inset * 1.6, belt), (roof_back + inset, upper)]
    draw.polygon([*rear, (pillar - inset / 2, upper), (pillar - inset / 2, belt)], fill=glass)
    windscreen = [(roof_front - inset * 0.6, upper), (front - inset * 1.6, belt)]
    draw.polygon([(pillar + inset / 2, belt), (pillar + inset / 2, upper), *windscreen], fill=glass)


def _draw_chassis(draw: ImageDraw.ImageDraw, paint: Paint, size: tuple[int, int], pillar: float) -> None:
    wide, tall = size
    belt, handle, line = tall * 0.47, pillar + tall * 0.07, shifted(paint.body, 0.62)
    draw.rounded_rectangle((wide * 0.01, belt - 2, wide * 0.99, tall * 0.86), tall * 0.13, fill=paint.body)
    draw.rectangle((wide * 0.02, tall * 0.70, wide * 0.98, tall * 0.75), fill=line)
    draw.line([(pillar, belt), (pillar, tall * 0.82)], fill=line, width=FINE)
    handle_box = (handle, tall * 0.56, pillar + tall * 0.07 * 2.4, tall * 0.59)
    draw.rounded_rectangle(handle_box, 2, fill=shifted(paint.body, 0.5))
    draw.ellipse((wide * 0.93, tall * 0.52, wide * 0.985, tall * 0.63), fill=(252, 242, 196))
    draw.rounded_rectangle((wide * 0.012, tall * 0.52, wide * 0.035, tall * 0.64), 2, fill=(200, 34, 34))


def _draw_wheels(draw: ImageDraw.ImageDraw, size: tuple[int, int]) -> None:
    wide, tall = size
    for hub in (0.20, 0.79):
        for share, colour in ((0.20, (24, 24, 26)), (0.115, (164, 166, 170)), (0.04, (70, 70, 74))):
            x, y, radius = wide * hub, tall * 0.80, tall * share
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
