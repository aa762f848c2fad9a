"""The yard over time, with the truth of every frame."""

import math

import numpy as np

from edged.demo.drawing import Picture, draw, fitted, through_camera
from edged.demo.figures import Sprites, random_appearance
from edged.demo.moment import Car, Moment, Person
from edged.demo.truth import MAX_PEOPLE, SIDE, Truth, truth_of
from edged.demo.visits import LOOP_S, Visit, car_visits, walk
from edged.demo.yard import Light

LANES = (0.58, 0.93)


class Sequence:
    """The yard over time. People come in by the frame's edges and by the door, walk, stop and leave; cars come and
    go; day turns to night. It lasts LOOP_S seconds, begins and ends with an empty yard, and then begins again. The
    same seed and time give the same frame in any process.
    """

    def __init__(
        self, seed: int, *, sprites: Sprites = "train", size: tuple[int, int] = (SIDE, SIDE), jpeg: int | None = None
    ) -> None:
        self.seed, self.size, self.jpeg = seed, size, jpeg
        rng = np.random.default_rng([seed, 3 if sprites == "held_out" else 2])
        self._open_s: list[tuple[float, float]] = []
        self._visits = [visit for _ in range(MAX_PEOPLE) for visit in self._people(rng, sprites)]
        self._visits += [visit for lane in LANES for visit in car_visits(rng, sprites, lane)]
        for start_s in rng.uniform(0, LOOP_S, 8):
            self._open_s.append((float(start_s), float(start_s + rng.uniform(10, 50))))
        self._phases: list[float] = rng.uniform(0, 2 * math.pi, 6).tolist()
        self._dusk_s = float(rng.uniform(60, 240))

    def _people(self, rng: np.random.Generator, sprites: Sprites) -> list[Visit]:
        """All visits of one person, one after the other."""
        visits: list[Visit] = []
        t_s = float(rng.uniform(2, 50))
        while True:
            visit = walk(rng, random_appearance(rng, sprites), t_s)
            if visit.end_s > LOOP_S - 1:
                return visits
            visits.append(visit)
            for leg in visit.legs:
                if leg.indoors:
                    self._open_s.append((leg.start_s - 1.0, leg.end_s + float(rng.uniform(1, 6))))
            t_s = visit.end_s + float(rng.uniform(5, 60))

    def moment(self, t_s: float) -> Moment:
        t_s = float(t_s) % LOOP_S
        present = [subject for visit in self._visits if (subject := visit.at(t_s))]
        return Moment(
            people=tuple(subject for subject in present if isinstance(subject, Person)),
            cars=tuple(subject for subject in present if isinstance(subject, Car)),
            door_open=any(start_s <= t_s < end_s for start_s, end_s in self._open_s),
            light=self._light(t_s),
        )

    def _light(self, t_s: float) -> Light:
        """Night falls every 300 s and lasts about 110 s; clouds drift by in between."""
        since_s = (t_s - self._dusk_s) % 300
        dark = min(1.0, max(0.0, since_s / 8), max(0.0, (118 - since_s) / 8)) if since_s < 118 else 0.0
        drift = [
            math.sin(2 * math.pi * t_s / period_s + phase)
            for period_s, phase in zip((41, 67, 53, 79, 97, 13), self._phases, strict=True)
        ]
        gain = 0.97 + 0.08 * drift[0] + 0.02 * drift[5]
        noise = 4.5 + drift[4] if dark > 0.5 else 2.5 + drift[4]
        return Light(dark, gain, (0.09 * drift[1], 0.09 * drift[2]), (1 + 0.03 * drift[3], 1 - 0.03 * drift[3]), noise)

    def frame(self, t_s: float) -> tuple[Picture, Truth]:
        """The frame at `t_s` seconds, RGB, height x width x 3, uint8, and its truth."""
        moment = self.moment(t_s)
        rng = np.random.default_rng([self.seed, 4, round(t_s * 1000)])
        picture = through_camera(draw(moment, max(self.size)), moment.light.noise, rng, self.jpeg)
        return fitted(picture, self.size), truth_of(moment)
