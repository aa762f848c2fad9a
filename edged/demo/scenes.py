"""A yard as one fixed camera sees it, drawn with Pillow and numpy, and the truth of every picture.

Who counts: a person whose head's centre is inside the frame and not covered; a car whose middle is inside the frame
and of which at least a third can be seen. The door is open or shut, nothing between; it is night while the yard's lamp
is lit. Positions are shares of the frame's side: (0, 0) is the upper left corner, (1, 1) the lower right one; y is
where the feet or the wheels are. The truth is computed on a grid of 224 x 224 for any size of picture.
"""

import io
import math
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from PIL import Image

from edged.demo.figures import (
    STEPS,
    Appearance,
    Paint,
    Point,
    Sprite,
    Sprites,
    car_sprite,
    height_at,
    length_at,
    person_sprite,
    random_appearance,
    random_paint,
)
from edged.demo.yard import DOOR_X, DOORWAY, Light, lit, yard

Picture = npt.NDArray[np.uint8]

SIDE = 224
MAX_PEOPLE = 6
MAX_CARS = 2
LOOP_S = 1200.0
CLEAR = 1 / 3
LANES = (0.58, 0.93)

NUMBER_WORDS = ("no", "one", "two", "three", "four", "five", "six")


@dataclass(frozen=True, slots=True)
class Truth:
    """The right answers for one frame. `most_hidden` is the hidden share (0 to 1) of the most hidden person or car,
    covered or outside the frame; it is 1 for a person who is visible but whose head's centre is not.
    """

    people: int
    cars: int
    door_open: bool
    night: bool
    most_hidden: float = 0.0

    @property
    def clear(self) -> bool:
        return self.most_hidden <= CLEAR

    @property
    def description(self) -> str:
        people = "person" if self.people == 1 else "people"
        cars = "car" if self.cars == 1 else "cars"
        verb = "is" if self.people == 1 else "are"
        door = "open" if self.door_open else "shut"
        return (
            f"There {verb} {NUMBER_WORDS[self.people]} {people} and {NUMBER_WORDS[self.cars]} {cars} in the yard, "
            f"the door is {door} and it is {'night' if self.night else 'day'}."
        )

    @property
    def description_ko(self) -> str:
        door, time = "열려" if self.door_open else "닫혀", "밤" if self.night else "낮"
        return f"마당에 사람 {self.people}명과 차 {self.cars}대가 있고, 문은 {door} 있으며 {time}입니다."


@dataclass(frozen=True, slots=True)
class Person:
    """One person at one moment. `stride` is the phase of the walk in 0 to STEPS - 1, or -1 for standing."""

    appearance: Appearance
    x: float
    y: float
    stride: int = -1
    facing: int = 1
    indoors: bool = False


@dataclass(frozen=True, slots=True)
class Car:
    paint: Paint
    x: float
    y: float
    facing: int = 1


@dataclass(frozen=True, slots=True)
class Moment:
    """Everything in the yard at one time."""

    people: tuple[Person, ...] = ()
    cars: tuple[Car, ...] = ()
    door_open: bool = False
    light: Light = field(default_factory=Light)


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the frame shows of one person or car. `anchor` is the head's centre or the car's middle, as shares of the
    side.
    """

    subject: Person | Car
    anchor: Point
    hidden: float
    counts: bool


@lru_cache(maxsize=64)
def _shadow(width: int, height: int, strength: int) -> Image.Image:
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return Image.fromarray((np.clip(1 - x**2 - y**2, 0, 1) * strength).astype(np.uint8))


# -- one moment: what is visible, and the picture ------------------------------------------------------


def _placed(moment: Moment, side: int) -> list[tuple[Person | Car, Sprite, int, int]]:
    """Every person and car with its sprite and the sprite's upper left pixel, far to near."""
    subjects: list[Person | Car] = sorted((*moment.cars, *moment.people), key=lambda subject: subject.y)
    placed = []
    for subject in subjects:
        if isinstance(subject, Person):
            height = round(height_at(subject.y) * subject.appearance.stature * side)
            sprite = person_sprite(subject.appearance, height, subject.stride, subject.facing)
        else:
            sprite = car_sprite(
                subject.paint, round(length_at(subject.y) * subject.paint.length * side), subject.facing
            )
        left = round(subject.x * side - sprite.anchor[0])
        placed.append((subject, sprite, left, round(subject.y * side) - sprite.image.height))
    return placed


def _solid(sprite: Sprite, subject: Person | Car, left: int, top: int, side: int) -> Image.Image:
    """The sprite's alpha; for a person indoors, only the part visible in the doorway."""
    alpha = sprite.image.getchannel("A")
    if not (isinstance(subject, Person) and subject.indoors):
        return alpha
    box = [round(share * side) for share in DOORWAY]
    doorway = Image.new("L", alpha.size)
    doorway.paste(255, (box[0] - left, box[1] - top, box[2] - left, box[3] - top + side))
    return Image.composite(alpha, Image.new("L", alpha.size), doorway)


@dataclass(frozen=True, slots=True)
class Visibility:
    """What is visible in a frame, far to near. `owner` holds for each of SIDE x SIDE pixels the number of the person
    or car that it shows (1 for the first sighting, 0 for none).
    """

    owner: npt.NDArray[np.uint8]
    sightings: tuple[Sighting, ...]


def visibility(moment: Moment) -> Visibility:
    """How much of each person and car a frame of this moment shows. One that is not visible has `hidden` 1."""
    placed = _placed(moment, SIDE)
    owners = Image.new("L", (SIDE, SIDE))
    for number, (subject, sprite, left, top) in enumerate(placed, 1):
        owners.paste(number, (left, top), _solid(sprite, subject, left, top, SIDE).point(_hard))
    owner = np.asarray(owners)
    visible_pixels = np.bincount(owner.ravel(), minlength=len(placed) + 1)
    sightings = []
    for number, (subject, sprite, left, top) in enumerate(placed, 1):
        sprite_pixels = sum(sprite.image.getchannel("A").histogram()[128:])
        hidden = 1 - int(visible_pixels[number]) / max(1, sprite_pixels)
        x, y = left + sprite.anchor[0], top + sprite.anchor[1]
        counts = 0 <= x < SIDE and 0 <= y < SIDE and hidden < 1
        if counts:
            counts = bool(owner[int(y), int(x)] == number) if isinstance(subject, Person) else hidden <= 2 / 3
        sightings.append(Sighting(subject, (x / SIDE, y / SIDE), hidden, counts))
    return Visibility(owner, tuple(sightings))


def _hard(alpha: int) -> int:
    return 255 if alpha > 127 else 0


def truth_of(moment: Moment) -> Truth:
    sightings = visibility(moment).sightings
    hidden_shares = [sighting.hidden if sighting.counts else 1.0 for sighting in sightings if sighting.hidden < 1]
    return Truth(
        people=sum(sighting.counts for sighting in sightings if isinstance(sighting.subject, Person)),
        cars=sum(sighting.counts for sighting in sightings if isinstance(sighting.subject, Car)),
        door_open=moment.door_open,
        night=moment.light.night,
        most_hidden=max(hidden_shares, default=0.0),
    )


def draw(moment: Moment, side: int = SIDE) -> Picture:
    """The yard at this moment in its light, without the camera's noise: side x side x 3, RGB, uint8."""
    canvas = yard(side, moment.door_open).copy()
    strength = int(60 + 50 * (1 - moment.light.dark))
    for subject, sprite, left, top in _placed(moment, side):
        width, height = sprite.image.size
        if not (isinstance(subject, Person) and subject.indoors):
            flat = max(3, round(height * (0.09 if isinstance(subject, Person) else 0.22)))
            shadow = _shadow(round(width * 1.1), flat, strength)
            canvas.paste((16, 16, 20), (left - round(width * 0.02), top + height - round(flat * 0.6)), shadow)
        canvas.paste(sprite.image, (left, top), _solid(sprite, subject, left, top, side))
    return np.clip(lit(np.asarray(canvas, np.float32), moment.light), 0, 255).astype(np.uint8)


@lru_cache(maxsize=4)
def _grain(side: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(11).standard_normal((side * 2, side * 2, 3), np.float32)


def through_camera(picture: Picture, noise: float, rng: np.random.Generator, jpeg: int | None = None) -> Picture:
    """The picture with noise (standard deviation on a scale of 0 to 255), JPEG-compressed if `jpeg` is a quality
    (1 to 95).
    """
    side = picture.shape[0]
    x, y = rng.integers(0, side, 2)
    noisy = np.clip(picture + noise * _grain(side)[y : y + side, x : x + side], 0, 255).astype(np.uint8)
    return noisy if jpeg is None else compressed(noisy, jpeg)


def compressed(picture: Picture, quality: int) -> Picture:
    with io.BytesIO() as file:
        Image.fromarray(picture).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file))


# -- stills ----------------------------------------------------------------------------------------


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
    return _fitted(through_camera(draw(moment, max(size)), moment.light.noise, rng, jpeg), size), truth_of(moment)


def _fitted(picture: Picture, size: tuple[int, int]) -> Picture:
    if picture.shape[:2] == (size[1], size[0]):
        return picture
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


# -- a moving sequence -----------------------------------------------------------------------------


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
        self._visits += [visit for lane in LANES for visit in _cars(rng, sprites, lane)]
        for start_s in rng.uniform(0, LOOP_S, 8):
            self._open_s.append((float(start_s), float(start_s + rng.uniform(10, 50))))
        self._phases: list[float] = rng.uniform(0, 2 * math.pi, 6).tolist()
        self._dusk_s = float(rng.uniform(60, 240))

    def _people(self, rng: np.random.Generator, sprites: Sprites) -> list[Visit]:
        """All visits of one person, one after the other."""
        visits: list[Visit] = []
        t_s = float(rng.uniform(2, 50))
        while True:
            visit = _walk(rng, random_appearance(rng, sprites), t_s)
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
        return _fitted(picture, self.size), truth_of(moment)


def _walk(rng: np.random.Generator, who: Appearance, start_s: float) -> Visit:
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


def _cars(rng: np.random.Generator, sprites: Sprites, lane: float) -> list[Visit]:
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
