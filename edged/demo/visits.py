"""How people and cars move through the yard: in by an edge of the frame or by the door, and out again."""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from edged.demo.figures import STEPS, Appearance, Paint, Point, Sprites, height_at, random_paint
from edged.demo.moment import Car, Person
from edged.demo.yard import DOOR_X

LOOP_S = 1200.0


@dataclass(frozen=True, slots=True)
class Leg:
    """A straight part of a route, from one position at one time to another. Equal positions mean standing still."""

    start_s: float
    end_s: float
    start: Point
    end: Point
    indoors: bool = False


@dataclass(frozen=True, slots=True)
class Visit:
    """The route of one person or car through the yard."""

    who: Appearance | Paint
    legs: tuple[Leg, ...]
    facing: int = 1

    @property
    def end_s(self) -> float:
        return self.legs[-1].end_s

    def at(self, t_s: float) -> Person | Car | None:
        for leg in self.legs:
            if leg.start_s <= t_s < leg.end_s:
                return self._in(leg, t_s)
        return None

    def _in(self, leg: Leg, t_s: float) -> Person | Car:
        share = (t_s - leg.start_s) / (leg.end_s - leg.start_s)
        if isinstance(self.who, Paint):
            share = share * share * (3 - 2 * share)
        x = leg.start[0] + (leg.end[0] - leg.start[0]) * share
        y = leg.start[1] + (leg.end[1] - leg.start[1]) * share
        if isinstance(self.who, Paint):
            return Car(self.who, x, y, self.facing)
        if leg.start == leg.end:
            return Person(self.who, x, y, -1, 0, leg.indoors)
        stride = int((t_s - leg.start_s) * 1.1 * STEPS) % STEPS
        across = leg.end[0] - leg.start[0]
        return Person(self.who, x, y, stride, 0 if abs(across) < 0.02 else int(math.copysign(1, across)), leg.indoors)


def walk(rng: np.random.Generator, who: Appearance, start_s: float) -> Visit:
    """From out of sight by way of one to three places, where they may stop, and out of sight again."""
    inner = [(float(rng.uniform(0.1, 0.9)), float(rng.uniform(0.45, 0.96))) for _ in range(rng.integers(1, 4))]
    first, last = _gate(rng, inner[0][1]), _gate(rng, inner[-1][1])
    route = [*[(place, inside) for place, inside in first], *[(place, False) for place in inner], *reversed(last)]
    pace = float(rng.uniform(0.8, 1.25))
    legs: list[Leg] = []
    t_s = start_s
    for (start, start_in), (end, end_in) in pairwise(route):
        speed = 0.42 * height_at((start[1] + end[1]) / 2) * pace
        end_s = t_s + max(0.3, math.hypot(end[0] - start[0], (end[1] - start[1]) * 1.6) / speed)
        legs.append(Leg(t_s, end_s, start, end, start_in and end_in))
        t_s = end_s
        if end in inner and rng.random() < 0.6:
            legs.append(Leg(t_s, t_s + float(rng.uniform(2, 15)), end, end))
            t_s = legs[-1].end_s
    return Visit(who, tuple(legs))


def _gate(rng: np.random.Generator, y: float) -> list[tuple[Point, bool]]:
    """An entrance route from out of sight: positions, each with True if it is indoors."""
    chance = rng.random()
    if chance < 0.35:
        return [((DOOR_X + 0.13, 0.408), True), ((DOOR_X, 0.41), True), ((DOOR_X, 0.47), False)]
    beyond = 0.13
    height = float(np.clip(y + rng.normal(0, 0.06), 0.44, 0.96))
    return [((-beyond if chance < 0.675 else 1 + beyond, height), False)]


def car_visits(rng: np.random.Generator, sprites: Sprites, lane: float) -> list[Visit]:
    """All visits to one lane, one after the other: each car drives in, parks, and drives off."""
    visits: list[Visit] = []
    t_s = float(rng.uniform(3, 80))
    while True:
        facing = 1 if rng.random() < 0.5 else -1
        beyond = 0.3
        entry, park = (-beyond if facing > 0 else 1 + beyond, lane), (float(rng.uniform(0.2, 0.8)), lane)
        exit_ = (1 + beyond if (facing > 0) == (rng.random() < 0.7) else -beyond, lane)
        stop_s = t_s + 3.5 + abs(park[0] - entry[0]) * 3
        go_s = stop_s + float(rng.uniform(10, 90))
        end_s = go_s + 3.5 + abs(park[0] - exit_[0]) * 3
        if end_s > LOOP_S - 1:
            return visits
        legs = (Leg(t_s, stop_s, entry, park), Leg(stop_s, go_s, park, park), Leg(go_s, end_s, park, exit_))
        visits.append(Visit(random_paint(rng, sprites), legs, facing))
        t_s = end_s + float(rng.uniform(5, 90))
