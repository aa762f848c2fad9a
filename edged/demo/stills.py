"""Single pictures of the yard with random people, cars, door and light, and their truth."""

import numpy as np

from edged.demo.drawing import Picture, draw, fitted, through_camera
from edged.demo.figures import STEPS, Sprites, random_appearance, random_paint
from edged.demo.moment import Car, Moment, Person
from edged.demo.truth import MAX_CARS, MAX_PEOPLE, SIDE, Truth, truth_of
from edged.demo.yard import Light


def random_light(rng: np.random.Generator, dark: float | None = None) -> Light:
    if dark is None:
        dark = float(rng.choice((0.0, rng.uniform(0, 0.45), rng.uniform(0.55, 1), 1.0), p=(0.45, 0.15, 0.1, 0.3)))
    slope = (float(rng.normal(0, 0.08)), float(rng.normal(0, 0.08)))
    tint = (float(rng.normal(1, 0.025)), float(rng.normal(1, 0.03)))
    noise = float(rng.uniform(3, 7) if dark > 0.5 else rng.uniform(1, 4))
    return Light(dark, float(rng.uniform(0.8, 1.12)), slope, tint, noise)


def random_person(rng: np.random.Generator, sprites: Sprites, margin: float) -> Person:
    """A person anywhere in the yard, up to `margin` beyond the frame's left and right edges."""
    stride = int(rng.integers(-3, STEPS))
    y = float(0.435 + 0.535 * rng.random() ** 0.9)
    return Person(
        random_appearance(rng, sprites),
        float(rng.uniform(-margin, 1 + margin)),
        y,
        max(-1, stride),
        int(rng.integers(-1, 2)),
    )


def random_car(rng: np.random.Generator, sprites: Sprites, margin: float) -> Car:
    facing = 1 if rng.random() < 0.5 else -1
    return Car(
        random_paint(rng, sprites), float(rng.uniform(-margin, 1 + margin)), float(rng.uniform(0.53, 0.97)), facing
    )


def still_moment(rng: np.random.Generator, sprites: Sprites, clear: bool) -> Moment:
    """0 to 6 people and 0 to 2 cars, each number equally likely; where `clear`, nobody and no car more than a third
    hidden.
    """
    people, cars = int(rng.integers(MAX_PEOPLE + 1)), int(rng.integers(MAX_CARS + 1))
    door_open, light = bool(rng.random() < 0.5), random_light(rng)
    if not clear:
        crowd = tuple(random_person(rng, sprites, 0.08) for _ in range(people))
        return Moment(crowd, tuple(random_car(rng, sprites, 0.1) for _ in range(cars)), door_open, light)
    while True:
        moment = _grown(rng, sprites, Moment((), (), door_open, light), people, cars)
        if moment:
            return moment


def _grown(rng: np.random.Generator, sprites: Sprites, moment: Moment, people: int, cars: int) -> Moment | None:
    """The moment with `cars` and `people` added one by one, all clear; None if there is no room for them."""
    for number in range(cars + people):
        for _ in range(25):
            if number < cars:
                more = Moment(
                    moment.people, (*moment.cars, random_car(rng, sprites, 0.0)), moment.door_open, moment.light
                )
            else:
                more = Moment(
                    (*moment.people, random_person(rng, sprites, 0.0)), moment.cars, moment.door_open, moment.light
                )
            truth = truth_of(more)
            if truth.clear and truth.people + truth.cars == number + 1:
                moment = more
                break
        else:
            return None
    return moment


def still(
    seed: int,
    *,
    sprites: Sprites = "train",
    clear: bool = True,
    size: tuple[int, int] = (SIDE, SIDE),
    jpeg: int | None = None,
) -> tuple[Picture, Truth]:
    """One picture of the yard and its truth. RGB, height x width x 3, uint8; `size` is (width, height). `jpeg` is a
    quality.
    """
    rng = np.random.default_rng([seed, 1 if sprites == "held_out" else 0])
    moment = still_moment(rng, sprites, clear)
    return fitted(through_camera(draw(moment, max(size)), moment.light.noise, rng, jpeg), size), truth_of(moment)
