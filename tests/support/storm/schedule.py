"""The schedule of a storm: which fault begins when, where, and for how long. The same for the same seed. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

FIRST_S = 0.5
RECOVERY_S = 2.5  # the next fault begins during this one, or at most this long after its end


@dataclass(frozen=True, slots=True)
class Range:
    """What a kind of fault disturbs and for how long. `places` are the alternatives, each one part or several.

    Faults of one part never overlap.
    """

    places: tuple[tuple[str, ...], ...]
    least_s: float
    most_s: float


@dataclass(frozen=True, slots=True)
class Fault:
    """`at_s` is counted from the beginning of the storm. `seed` is for what the fault itself leaves to chance."""

    at_s: float
    seconds: float
    kind: str
    parts: tuple[str, ...]
    seed: int

    @property
    def end_s(self) -> float:
        return self.at_s + self.seconds


def has_tls(seed: int) -> bool:
    """In every second storm, edged connects to the broker with TLS."""
    return seed % 2 == 1


def draw(seed: int, seconds: float, kinds: Mapping[str, Range]) -> list[Fault]:
    """The faults of a storm of about this length, in order of their beginnings. Every kind comes equally often."""
    chance, busy, faults, bag = Random(seed), dict[str, float](), list[Fault](), list[str]()
    at_s = FIRST_S
    while at_s < seconds:
        if not bag:
            bag = chance.sample(sorted(kinds), len(kinds))
        fault = _next(chance, at_s, kinds, bag, busy)
        if fault is None:
            at_s = min(until for until in busy.values() if until > at_s)
            continue
        faults.append(fault)
        busy |= dict.fromkeys(fault.parts, fault.end_s + 0.1)
        at_s = round(at_s + chance.uniform(0.2, fault.seconds + RECOVERY_S), 2)
    return faults


def _next(
    chance: Random, at_s: float, kinds: Mapping[str, Range], bag: list[str], busy: Mapping[str, float]
) -> Fault | None:
    """The first kind in the bag that has a free place; None if there is none."""
    for kind in bag:
        where = [place for place in kinds[kind].places if all(busy.get(part, 0.0) <= at_s for part in place)]
        if where:
            bag.remove(kind)
            seconds = round(chance.uniform(kinds[kind].least_s, kinds[kind].most_s), 2)
            return Fault(at_s, seconds, kind, chance.choice(where), chance.randrange(2**31))
    return None


def overlaps(fault: Fault, faults: Sequence[Fault]) -> int:
    """How many other faults were on at the same time."""
    return sum(other != fault and other.at_s < fault.end_s and fault.at_s < other.end_s for other in faults)


def save(path: Path, seed: int, faults: Sequence[Fault]) -> None:
    path.write_text(json.dumps({"seed": seed, "faults": [asdict(fault) for fault in faults]}, indent=1) + "\n")


def read(path: Path) -> tuple[int, list[Fault]]:
    """What `save` wrote: the seed and the faults."""
    content = json.loads(path.read_text())
    return content["seed"], [Fault(**{**each, "parts": tuple(each["parts"])}) for each in content["faults"]]
