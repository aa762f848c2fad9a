"""Could the sizes of a stream's packets tell that nothing has moved, before anything is decoded?

bench_packet_sizes.py [WINDOWS]: windows of ten seconds of the synthetic yard as H.264 at 25 fps, WINDOWS (default 4)
quiet ones in each kind of weather, and as many for each size of a person who walks through. A window's measure is the
bytes of P pictures in its busiest second, over those of the median second of quiet windows. For the thresholds that
find 95 % and all of the walks, prints the share of quiet windows that would be decoded as well.

They cannot: with constant quality they do in dry weather, with another threshold for each kind of weather (one for all
decodes 87 % of the quiet windows); in rain and snow hardly, with a constant bit rate never. So every look decodes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.yard.camera import Yard
from support.yard.day import CLOTHES, FAR, HORIZON, PERSON, TENTH, Colour, Moment, Person
from support.yard.drawing import HEIGHT, WIDTH, Floats, Picture, draw_person
from support.yard.h264 import FPS, packets
from support.yard.weather import WEATHERS, Weather

SECONDS = 10
HOURS = {"sunny": 13.0, "broken clouds": 13.0, "rain": 10.0, "snow": 9.0, "night": 1.0}
SIZES = {"1/14": FAR, "1/10": TENTH, "1/4": HORIZON + 1 / 4 / PERSON}  # height of the person: where the feet are
RATES = {
    "constant quality": {"crf": "29"},
    "constant bit rate": {"b": "1000000", "maxrate": "1000000", "bufsize": "1000000"},
}


@dataclass(frozen=True, slots=True)
class Walk:
    """Somebody crosses the picture with the feet at `y`."""

    y: float
    clothes: str

    def at(self, second: float) -> Person:
        return Person(0.2 + 0.06 * second, self.y, *CLOTHES[self.clothes])


def bytes_per_second(seed: int, weather: Weather, hour: float, walk: Walk | None, rate: dict[str, str]) -> NDArray:
    """Of P pictures, without the first second, in which the rate control settles."""
    made = packets(_pictures(Yard(seed, weather), hour, walk), rate)
    sizes = np.array([0 if packet.is_keyframe else packet.size for packet in made], float)
    return np.asarray(sizes.reshape(SECONDS, FPS).sum(axis=1)[1:])


def _pictures(yard: Yard, hour: float, walk: Walk | None) -> Iterator[Picture]:
    for _ in range(3):  # until the exposure has settled
        still = yard.still(Moment(), hour)
    for number in range(SECONDS * FPS):
        lit = still.copy()
        if walk:
            _draw(lit, walk.at(number / FPS), yard)
        yield yard.with_noise(yard.weathered(lit, hour))


def _draw(lit: Floats, person: Person, yard: Yard) -> None:
    """In the light of the place where the person stands."""
    x, y = int(person.x * WIDTH), int(person.y * HEIGHT)
    place = (slice(max(0, y - 6), y + 6), slice(max(0, x - 6), x + 6))
    light = float(lit[place].mean() / yard.ground[place].mean())
    clothes, legs = (_lit(colour, light, yard.colour) for colour in (person.clothes, person.legs))
    draw_person(lit, replace(person, clothes=clothes, legs=legs), yard.rng)


def _lit(colour: Colour, light: float, is_colour: bool) -> Colour:
    red, green, blue = colour if is_colour else (sum(colour) // 3,) * 3
    return min(255, round(red * light)), min(255, round(green * light)), min(255, round(blue * light))


def weather_of(name: str) -> Weather:
    """The wind moves the camera from picture to picture, but less than from look to look."""
    weather = WEATHERS["sunny" if name == "night" else name]
    return replace(weather, wind=weather.wind / 2)


def one_weather(name: str, rate: dict[str, str], windows: int) -> tuple[NDArray, NDArray]:
    """How busy the busiest second is: of quiet windows, and of walks (windows x sizes)."""

    def busiest(seed: int, walk: Walk | None) -> float:
        return float(bytes_per_second(seed, weather_of(name), HOURS[name], walk, rate).max())

    usual = np.median([bytes_per_second(seed, weather_of(name), HOURS[name], None, rate) for seed in range(windows)])
    quiet = np.array([busiest(seed + 100, None) for seed in range(windows)])
    clothes = [list(CLOTHES)[seed % len(CLOTHES)] for seed in range(windows)]
    walks = [[busiest(seed + 200, Walk(y, clothes[seed])) for y in SIZES.values()] for seed in range(windows)]
    return quiet / usual, np.array(walks) / usual


def row(control: str, name: str, quiet: NDArray, walks: NDArray) -> str:
    decoded = [f"{np.mean(quiet >= threshold):.0%}" for threshold in (np.quantile(walks, 0.05), walks.min())]
    sizes: Sequence[str] = [f"{value:.2f}" for value in np.median(walks, axis=0)]
    cells = [control, name, *decoded, f"{np.median(quiet):.2f} to {quiet.max():.2f}", *sizes]
    return f"| {' | '.join(cells)} |"


def main(windows: int) -> None:
    cells = ["rate control", "weather", "decoded to find 95 %", "to find all", "quiet, median to most", *SIZES]
    print(f"| {' | '.join(cells)} |\n{'|---' * len(cells)}|")
    for control, rate in RATES.items():
        results = []
        for name in HOURS:
            results.append(one_weather(name, rate, windows))
            print(row(control, name, *results[-1]), flush=True)
        quiet, walks = (np.concatenate(parts) for parts in zip(*results, strict=True))
        print(row(control, "all", quiet, walks), flush=True)


if __name__ == "__main__":
    cv2.setNumThreads(1)
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4)
