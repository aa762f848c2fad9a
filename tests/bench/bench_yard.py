"""What `when_changed` saves and misses in a synthetic yard: a day of looks every 30 s in each kind of weather.

bench_yard.py [SEED [WEATHER...]]: for several thresholds, the share of looks that ask the model, the changes of truth
that were not asked at their next look, and the looks that repeated an answer that was no longer true. Then the share of
people who are not noticed, by place, and the time that the measure takes. About two minutes of CPU for each day.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.results.figures import Figure, Table
from support.results.record import Recording
from support.yard.camera import Yard
from support.yard.day import CLOTHES, FAR, LOOK_S, LOOKS, PARKED, TENTH, TREE, Moment, Person
from support.yard.drawing import Picture
from support.yard.weather import WEATHERS

from edged.core.types import Frame
from edged.service import picture
from edged.service.picture import Thumbnail, change, thumbnail

AT_LEAST_EVERY_S = 3600.0
THRESHOLDS = (0.06, 0.07, 0.08, 0.09, 0.10, 0.12)
FORMER_THRESHOLDS = (0.0005, 0.001, 0.002)
PROBES = 160  # a day
TENTH_PLACE, FOURTEENTH_PLACE = "1/10 of the height", "1/14 of the height"
INFRARED = ", infrared"
APPEARED = {
    "tenth": [TENTH_PLACE, TENTH_PLACE + INFRARED],
    "fourteenth": [FOURTEENTH_PLACE],
    "fourteenth-infrared": [FOURTEENTH_PLACE + INFRARED],
}
Change = Callable[[Thumbnail, Thumbnail], float]


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one day with one threshold. Counts of looks."""

    asked: int
    changes: int
    missed: int
    untrue: int


def gated(day: Sequence[Moment], thumbnails: Sequence[Thumbnail], measure: Change, threshold: float) -> Figures:
    """As the gate does: each look is compared with the one that the question was last answered on."""
    asked, missed, untrue, last = 1, 0, 0, 0
    for number in range(1, len(day)):
        changed = day[number].truth != day[number - 1].truth
        overdue = (number - last) * LOOK_S >= AT_LEAST_EVERY_S
        if overdue or measure(thumbnails[last], thumbnails[number]) >= threshold:
            asked, last = asked + 1, number
        else:
            missed += changed
            untrue += day[number].truth != day[last].truth
    changes = sum(now.truth != before.truth for before, now in pairwise(day))
    return Figures(asked, changes, missed, untrue)


def former_thumbnail(rgb: Picture) -> Thumbnail:
    """Of the measure until 0.1: 96 x 54 grey cells, of which a share differs by more than 12 levels."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, (96, 54), interpolation=cv2.INTER_AREA), np.uint8)


def former_change(previous: Thumbnail, current: Thumbnail) -> float:
    before, after = previous.astype(np.float32) + 1, current.astype(np.float32) + 1
    before *= np.median(after / before)
    return float((np.abs(after - before) > 12).mean())


def framed(rgb: Picture) -> Frame:
    return Frame(rgb, "", datetime.now(UTC), time.monotonic())


def one_day(weather: str, seed: int) -> tuple[list[Figures], list[Figures]]:
    """With each threshold, of the former measure and of the current one."""
    cv2.setNumThreads(1)
    day, former, current = [], [], []
    for moment, rgb in Yard(seed, WEATHERS[weather]).looks():
        day.append(moment)
        former.append(former_thumbnail(rgb))
        current.append(thumbnail(framed(rgb)))
    return (
        [gated(day, former, former_change, threshold) for threshold in FORMER_THRESHOLDS],
        [gated(day, current, change, threshold) for threshold in THRESHOLDS],
    )


def probes(weather: str, seed: int) -> dict[str, list[float]]:
    """By how much the picture differs from one to twenty looks ago if somebody has appeared, by place, or nobody."""
    cv2.setNumThreads(1)
    yard, rng = Yard(seed, WEATHERS[weather]), np.random.default_rng(seed)
    measured = defaultdict(list)
    for number in np.linspace(30, LOOKS - 1, PROBES).astype(int):
        ago = number - int(rng.choice([1, 2, 5, 10, 20]))
        for look in (ago - 1, ago):
            before = thumbnail(framed(yard.look(Moment(), look)))
        yard.look(Moment(), number - 1)
        night = "" if yard.colour else INFRARED
        for place, moment in _appearances(rng).items():
            after = thumbnail(framed(yard.look(moment, int(number))))
            measured[place + night].append(change(before, after))
    return measured


def _appearances(rng: np.random.Generator) -> dict[str, Moment]:
    clothes, legs = CLOTHES[str(rng.choice(list(CLOTHES)))]

    def person(x: float, y: float) -> Moment:
        return Moment((Person(x, y, clothes, legs),))

    return {
        "nothing": Moment(),
        FOURTEENTH_PLACE: person(rng.uniform(0.3, TREE), FAR),
        TENTH_PLACE: person(rng.uniform(0.25, TREE), TENTH),
        "half out of the picture": person(float(rng.choice([0.012, 0.988])), float(rng.choice([TENTH, 0.55]))),
        "near": person(rng.uniform(0.2, 0.9), float(rng.choice([0.6, 0.8, 1.0]))),
        "car": Moment(car=PARKED),
        "gate": Moment(gate=1.0),
        "gate, 5 %": Moment(gate=0.05),
    }


def milliseconds() -> tuple[float, float]:
    """CPU time of a thumbnail of a 1080p frame, and of a comparison: the median of 50."""
    frame = framed(np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), dtype=np.uint8))
    small = thumbnail(frame)
    other = np.roll(small, 1)
    return _median_ms(lambda: thumbnail(frame)), _median_ms(lambda: change(small, other))


def _median_ms(call: Callable[[], object]) -> float:
    spent = []
    for _ in range(50):
        began = time.thread_time()
        call()
        spent.append(time.thread_time() - began)
    return 1000 * float(np.median(spent))


def print_day_table(weathers: Sequence[str], days: Sequence[tuple[list[Figures], list[Figures]]]) -> None:
    print("| measure | threshold |", " | ".join(weathers), "| missed | untrue looks |")
    print("|---|---|" + "---|" * (len(weathers) + 2))
    for name, index, thresholds in (("former", 0, FORMER_THRESHOLDS), ("current", 1, THRESHOLDS)):
        for number, threshold in enumerate(thresholds):
            figures = [day[index][number] for day in days]
            asked = " | ".join(f"{one.asked / LOOKS:.1%}" for one in figures)
            missed, changes = sum(one.missed for one in figures), sum(one.changes for one in figures)
            print(f"| {name} | {threshold} | {asked} | {missed} of {changes} | {sum(one.untrue for one in figures)} |")


def print_probe_table(measured: Sequence[dict[str, list[float]]]) -> None:
    print("| appeared | number |", " | ".join(f"not noticed at {threshold}" for threshold in THRESHOLDS), "|")
    print("|---|---|" + "---|" * len(THRESHOLDS))
    for place in sorted({place for one in measured for place in one}):
        values = np.concatenate([one.get(place, []) for one in measured])
        missed = " | ".join(f"{np.mean(values < threshold):.1%}" for threshold in THRESHOLDS)
        print(f"| {place} | {len(values)} | {missed} |")


def day_figures(days: Sequence[tuple[list[Figures], list[Figures]]]) -> list[Figure]:
    changes = sum(current[0].changes for _, current in days)
    return [
        Figure(
            f"missed-{threshold}", f"changes not asked at their next look, threshold {threshold}", missed, of(changes)
        )
        for threshold, missed in zip(THRESHOLDS, missed_by_threshold(days), strict=True)
    ]


def day_table(weathers: Sequence[str], days: Sequence[tuple[list[Figures], list[Figures]]]) -> Table:
    """Of the current measure, as in the README."""
    missed = missed_by_threshold(days)
    rows: list[list[str | float]] = [
        [str(threshold), *(f"{current[number].asked / LOOKS:.1%}" for _, current in days), missed[number]]
        for number, threshold in enumerate(THRESHOLDS)
    ]
    return Table("Share of looks that ask the model", ["threshold", *weathers, "changes not asked"], rows)


def missed_by_threshold(days: Sequence[tuple[list[Figures], list[Figures]]]) -> list[int]:
    return [sum(current[number].missed for _, current in days) for number in range(len(THRESHOLDS))]


def probe_figures(measured: Sequence[dict[str, list[float]]]) -> list[Figure]:
    """People who are noticed with the threshold in use."""
    figures = []
    for name, places in APPEARED.items():
        values = np.concatenate([one.get(place, []) for one in measured for place in places])
        noticed = int((values >= picture.CHANGED).sum())
        figures.append(Figure(name, f"noticed: a person of {' and '.join(places)}", noticed, of(len(values))))
    return figures


def of(count: int) -> str:
    return f"of {count}"


def main(seed: int, weathers: Sequence[str]) -> tuple[list[Figure], list[Table]]:
    with ProcessPoolExecutor(2) as pool:
        days = list(pool.map(one_day, weathers, [seed + number for number in range(len(weathers))]))
        print_day_table(weathers, days)
        print(flush=True)
        measured = list(pool.map(probes, weathers, [seed + 100] * len(weathers)))
        print_probe_table(measured)
    taken = milliseconds()
    print(f"\n1080p: thumbnail {taken[0]:.2f} ms, comparison {taken[1]:.2f} ms; threshold in use: {picture.CHANGED}")
    return [*day_figures(days), *probe_figures(measured)], [day_table(weathers, days)]


if __name__ == "__main__":
    recording = Recording(__file__, __doc__)
    seed, *weathers = recording.words or ["31"]
    recording.finish(*main(int(seed), weathers or list(WEATHERS)))
