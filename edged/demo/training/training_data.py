"""Pictures for training the demo's model, rendered once to disk with what the vision tower is to find in each part of
them.

A tool, not part of the daemon. A shard is NAME.npy (pictures, n x 224 x 224 x 3, uint8) and NAME.npz (the targets).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from edged.demo.drawing import Picture, compressed, draw, through_camera
from edged.demo.figures import Sprites
from edged.demo.moment import Car, Moment, Person
from edged.demo.sequence import Sequence
from edged.demo.stills import still_moment
from edged.demo.truth import SIDE, truth_of, visibility
from edged.demo.visits import LOOP_S

CELLS, PATCHES = 8, 16  # the model's image tokens and its patches, a side
FRAMES_PER_SEQUENCE = 12
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Mix:
    """The shares of clear stills and of stills that may be crowded or cut; the rest is out of moving sequences. With
    `overlapping`, those frames of them in which something is more than a third hidden.
    """

    clear: float = 0.45
    crowded: float = 0.20
    overlapping: bool = False


def moments(seed: int, count: int, sprites: Sprites, mix: Mix) -> list[Moment]:
    """What the mix says, about; never all of one kind together."""
    rng = np.random.default_rng([seed, 7])
    still = mix.clear + mix.crowded
    found: list[Moment] = []
    while len(found) < count:
        chance = rng.random() * (still + (1 - still) / FRAMES_PER_SEQUENCE)
        if chance < still:
            found.append(still_moment(rng, sprites, clear=chance < mix.clear))
        else:
            sequence = Sequence(int(rng.integers(1 << 30)), sprites=sprites)
            found += _frames(sequence, rng, mix.overlapping)
    return [found[number] for number in rng.permutation(len(found))[:count]]


def _frames(sequence: Sequence, rng: np.random.Generator, overlapping: bool) -> list[Moment]:
    """About FRAMES_PER_SEQUENCE; something overlaps in a third of all."""
    some = (sequence.moment(t_s) for t_s in rng.uniform(0, LOOP_S, FRAMES_PER_SEQUENCE * (3 if overlapping else 1)))
    return [moment for moment in some if not (overlapping and truth_of(moment).clear)]


def photograph(moment: Moment, rng: np.random.Generator) -> Picture:
    """The moment as some camera might give it to the model: noise, scaling and JPEG of qualities 10 to 95. 224 x 224
    x 3.
    """
    side = int(rng.choice((SIDE, 288, 448), p=(0.7, 0.1, 0.2)))
    quality = int(rng.integers(10, 96)) if rng.random() < 0.85 else None
    before = side > SIDE and rng.random() < 0.5
    picture = through_camera(draw(moment, side), moment.light.noise, rng, quality if before else None)
    if side > SIDE or rng.random() < 0.1:
        between = SIDE if side > SIDE else int(rng.integers(168, SIDE))
        filters = (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.BOX)
        image = Image.fromarray(picture).resize((between, between), filters[rng.integers(3)])
        picture = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    return picture if before or quality is None else compressed(picture, quality)


def _membership(at: float, parts: int, softness: float) -> Floats:
    """How much a place (0 to 1) belongs to each of so many parts of a side; at their borders it belongs to two."""
    borders = np.arange(1, parts) / parts
    beyond = np.concatenate([[1.0], np.clip((at - borders) / (2 * softness) + 0.5, 0, 1), [0.0]])
    return np.asarray(beyond[:-1] - beyond[1:], np.float32)


def _mass(places: list[tuple[float, float]], parts: int, softness_px: float) -> Floats:
    grid = np.zeros((parts, parts), np.float32)
    for x, y in places:
        grid += np.outer(_membership(y, parts, softness_px / SIDE), _membership(x, parts, softness_px / SIDE))
    return grid


def targets(moment: Moment) -> tuple[Floats, Floats]:
    """Per image token the mass of heads and of car middles (8 x 8 x 2); per patch that of heads, and the share that
    people and cars cover (16 x 16 x 3).
    """
    seen = visibility(moment)
    heads = [one.anchor for one in seen.sightings if one.counts and isinstance(one.subject, Person)]
    middles = [one.anchor for one in seen.sightings if one.counts and isinstance(one.subject, Car)]
    kinds = np.array([0] + [1 if isinstance(one.subject, Person) else 2 for one in seen.sightings])[seen.owner]
    cover = [(kinds == kind).reshape(PATCHES, 14, PATCHES, 14).mean((1, 3)) for kind in (1, 2)]
    cells = np.stack([_mass(heads, CELLS, 5), _mass(middles, CELLS, 10)], -1)
    return cells, np.stack([_mass(heads, PATCHES, 4), *cover], -1).astype(np.float32)


def render(name: Path, seed: int, count: int, sprites: Sprites = "train", mix: Mix = Mix()) -> None:
    """Write one shard; about 9 ms of CPU a picture. One that is already there is left alone."""
    if name.with_suffix(".npz").exists():
        return
    rng = np.random.default_rng([seed, 8])
    pictures = np.lib.format.open_memmap(name.with_suffix(".npy"), "w+", np.uint8, (count, SIDE, SIDE, 3))
    cells, patches = np.zeros((count, CELLS, CELLS, 2), np.float16), np.zeros((count, PATCHES, PATCHES, 3), np.float16)
    facts = np.zeros((count, 4), np.int8)
    for number, moment in enumerate(moments(seed, count, sprites, mix)):
        pictures[number] = photograph(moment, rng)
        cells[number], patches[number] = targets(moment)
        truth = truth_of(moment)
        facts[number] = truth.people, truth.cars, truth.door_open, truth.night
    pictures.flush()
    np.savez(name.with_suffix(".npz"), cells=cells, patches=patches, facts=facts)
