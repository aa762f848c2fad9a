"""What happens in the synthetic yard over a day: who and what stands where at each look, and so what is true."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

LOOK_S = 30.0
LOOKS = 2880
HORIZON = 0.22  # of the picture's height
PERSON = 0.51  # height of a person, per distance of the feet from the horizon
FAR = HORIZON + 1 / 14 / PERSON  # where the feet are of a person who is 1/14 of the picture's height tall
TENTH = HORIZON + 1 / 10 / PERSON
TREE = 0.8  # of the width; who is far away and right of it is behind the tree
PARKED = (250, 380)  # where the car stands: the middle of its wheels, in pixels
GATE_IS_OPEN = 0.3  # of its width

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Person:
    """Feet at `x`, `y`, in fractions of the picture. `clothes` and `legs` are RGB reflectances."""

    x: float
    y: float
    clothes: Colour
    legs: Colour

    @property
    def height(self) -> float:
        """As a fraction of the picture's."""
        return PERSON * (self.y - HORIZON)

    @property
    def is_visible(self) -> bool:
        return 0.0 <= self.x <= 1.0


@dataclass(frozen=True, slots=True)
class Moment:
    """What stands in the yard at one look."""

    people: tuple[Person, ...] = ()
    car: tuple[int, int] | None = None  # the middle of its wheels, pixels
    gate: float = 0.0  # 0 closed, 1 open

    @property
    def truth(self) -> tuple[int, bool, bool]:
        """The number of people, whether the gate is open, whether a car is there."""
        return sum(person.is_visible for person in self.people), self.gate >= GATE_IS_OPEN, self.car is not None


CLOTHES = {
    "dark": ((58, 58, 62), (50, 50, 54)),
    "grey": ((128, 126, 124), (60, 62, 70)),
    "light": ((215, 210, 200), (80, 85, 110)),
    "red": ((170, 50, 45), (45, 45, 50)),
    "blue": ((60, 80, 150), (55, 60, 90)),
}


def plan(rng: np.random.Generator) -> list[Moment]:
    """The day's events: about 40 changes of truth."""
    moments = [Moment() for _ in range(LOOKS)]
    _gate(moments, int(rng.integers(720, 780)), slow=False, stays=int(rng.integers(20, 60)))
    _gate(moments, int(rng.integers(1500, 1560)), slow=True, stays=int(rng.integers(30, 60)))
    _gate(moments, int(rng.integers(2000, 2040)), slow=False, stays=int(rng.integers(10, 30)))
    for begin in (800, 1250, 1900):
        _car(moments, begin + int(rng.integers(0, 60)), int(rng.integers(40, 200)))
    visits = rng.permutation(np.concatenate([np.linspace(700, 2450, 13), [80, 560, 2600]]))
    for begin, kind in zip(visits, [*CLOTHES, *CLOTHES, *["dark"] * 5, "grey"], strict=True):
        _visit(moments, rng, int(begin) + int(rng.integers(0, 40)), kind)
    return moments


def _gate(moments: list[Moment], begin: int, slow: bool, stays: int) -> None:
    steps = 20 if slow else 1
    opening = [step / steps for step in range(1, steps + 1)]
    for offset, share in enumerate([*opening, *[1.0] * stays, *(1 - share for share in opening)]):
        moments[begin + offset] = replace(moments[begin + offset], gate=share)


def _car(moments: list[Moment], begin: int, stays: int) -> None:
    for number in range(begin, begin + stays):
        moments[number] = replace(moments[number], car=PARKED)


def _visit(moments: list[Moment], rng: np.random.Generator, begin: int, kind: str) -> None:
    """Somebody comes into the picture at its edge or far away, perhaps moves, stands still for a while and leaves."""
    clothes, legs = CLOTHES[kind]
    side = float(rng.choice([0.012, 0.988]))
    entries = [
        (side, TENTH),
        (side, 0.55),
        (float(rng.uniform(0.3, TREE)), FAR),
        (float(rng.uniform(0.3, TREE)), TENTH),
    ]
    places = [entries[int(rng.integers(len(entries)))]]
    for _ in range(int(rng.integers(0, 3))):
        y = float(rng.choice([FAR, TENTH, 0.5, 0.7, 0.95]))
        places.append((float(rng.uniform(0.25, TREE if y < 0.5 else 0.95)), y))
    number = begin
    for place in places:
        person = Person(place[0], place[1], clothes, legs)
        for _ in range(int(rng.choice([1, 1, 2, 4, 10]))):
            seen = moments[number].people
            moments[number] = replace(moments[number], people=(*seen, person))
            number += 1
