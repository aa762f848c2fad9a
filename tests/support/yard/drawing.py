"""The synthetic yard without light: the colour of each place, 960 x 540 pixels, and what stands there."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from support.yard.day import HORIZON, Colour, Moment, Person

WIDTH, HEIGHT = 960, 540
GATE = (560, 138, 740, 192)  # left, top, right, bottom in pixels
LEAVES = ((slice(60, 220), slice(800, 950)), (slice(85, 140), slice(400, 800)))  # the tree, a part of the hedge

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]


def smooth(rng: np.random.Generator, height: int, width: int, sigma: float) -> Floats:
    blurred = cv2.GaussianBlur(rng.normal(0, 1, (height, width)).astype(np.float32), (0, 0), sigma)
    return np.asarray(blurred / blurred.std(), np.float32)


def ground(rng: np.random.Generator) -> Picture:
    """The empty yard."""
    picture = _asphalt(rng)
    _horizon(picture, rng)
    _wall(picture)
    _tree(picture, rng)
    cv2.rectangle(picture, (905, 300), (945, 350), (60, 90, 70), -1)  # a bin
    return np.clip(picture, 5, 250).astype(np.uint8)


def _asphalt(rng: np.random.Generator) -> Floats:
    """With cracks, and the white lines of parking places."""
    grain = 6 * smooth(rng, HEIGHT, WIDTH, 1.0) + 4 * smooth(rng, HEIGHT, WIDTH, 8)
    picture = np.asarray((96, 96, 98) + grain[:, :, None], np.float32)
    for _ in range(12):
        x, y = int(rng.integers(WIDTH)), int(rng.integers(220, HEIGHT))
        cv2.line(picture, (x, y), (x + int(rng.integers(-90, 90)), y + int(rng.integers(-30, 30))), (70, 70, 70), 1)
    for x in (160, 340, 520):
        cv2.line(picture, (x, 330), (x - 60, 470), (190, 190, 185), 3, cv2.LINE_AA)
    return picture


def _horizon(picture: Floats, rng: np.random.Generator) -> None:
    """Sky, a hedge, and a fence before it."""
    top = int(HORIZON * HEIGHT)
    picture[:top] = (185, 195, 205)
    picture[top - 40 : top + 30] = (90, 105, 80) + 20 * smooth(rng, 70, WIDTH, 2.0)[:, :, None]
    for x in range(0, WIDTH, 24):
        cv2.line(picture, (x, top + 5), (x, 192), (130, 130, 130), 2)
    cv2.line(picture, (0, top + 8), (WIDTH, top + 8), (130, 130, 130), 2)


def _wall(picture: Floats) -> None:
    cv2.fillPoly(picture, [np.array([(0, 40), (180, 130), (180, 215), (0, 420)], np.int32)], (165, 155, 140))
    for x, y in ((30, 130), (80, 145), (130, 160)):
        cv2.rectangle(picture, (x, y), (x + 26, y + 40), (60, 70, 80), -1)


def _tree(picture: Floats, rng: np.random.Generator) -> None:
    crown = (62, 85, 50) + 26 * smooth(rng, 160, 150, 3.0)[:, :, None]
    is_crown = np.hypot(*np.mgrid[-1:1:160j, -1:1:150j]) < 0.95
    picture[LEAVES[0]][is_crown] = crown[is_crown]
    cv2.rectangle(picture, (868, 210), (880, 262), (70, 60, 50), -1)


def drawn(ground: Picture, moment: Moment, rng: np.random.Generator) -> Picture:
    """The yard with what stands in it."""
    picture = ground.copy()
    _gate(picture, moment.gate)
    if moment.car:
        _car(picture, *moment.car)
    for person in sorted(moment.people, key=lambda person: person.y):
        draw_person(picture, person, rng)
    return picture


def _gate(picture: Picture, opened: float) -> None:
    """Slides to the right. Behind it is the street."""
    left, top, right, bottom = GATE
    picture[top:bottom, left:right] = picture[top:bottom, left:right] // 2 + 85
    edge = left + round((right - left) * opened)
    picture[top:bottom, edge:right] = (88, 84, 82)
    for x in range(edge, right, 10):
        picture[top:bottom, x : min(right, x + 3)] = (120, 118, 116)


def _car(picture: Picture, x: int, y: int) -> None:
    cv2.rectangle(picture, (x - 95, y - 60), (x + 95, y - 14), (110, 112, 118), -1, cv2.LINE_AA)
    roof = np.array([(x - 60, y - 60), (x - 38, y - 92), (x + 40, y - 92), (x + 68, y - 60)], np.int32)
    cv2.fillPoly(picture, [roof], (50, 55, 60), cv2.LINE_AA)
    for wheel in (-58, 58):
        cv2.circle(picture, (x + wheel, y - 12), 16, (30, 30, 30), -1, cv2.LINE_AA)


def draw_person(picture: Picture | Floats, person: Person, rng: np.random.Generator) -> None:
    """Standing, but not as still as a statue: sways by a hundredth of the height, and moves the legs."""
    height = person.height * HEIGHT
    middle, foot = person.x * WIDTH + rng.normal(0, 0.01 * height), person.y * HEIGHT

    def blob(right: float, up: float, width: float, tall: float, colour: Colour) -> None:
        """In heights of the person. Drawn in eighths of a pixel."""
        at = round((middle + right * height) * 8), round((foot - up * height) * 8)
        size = max(4, round(width * height * 8)), max(4, round(tall * height * 8))
        cv2.ellipse(picture, at, size, 0, 0, 360, colour, -1, cv2.LINE_AA, 3)

    stride = float(rng.uniform(0.03, 0.07))
    for leg in (-stride, stride):
        blob(leg, 0.24, 0.055, 0.25, person.legs)
    blob(0, 0.63, 0.12, 0.22, person.clothes)
    for arm in (-0.13, 0.13):
        blob(arm, 0.62, 0.04, 0.18, person.clothes)
    blob(0, 0.92, 0.06, 0.075, (150, 115, 95))
