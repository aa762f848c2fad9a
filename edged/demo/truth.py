"""The truth of a frame: who and what counts in it.

A person counts whose head's centre is inside the frame and not covered; a car whose middle is inside the frame and of
which at least a third can be seen. The door is open or shut, nothing between; it is night while the yard's lamp is
lit. The truth is computed on a grid of 224 x 224 for any size of picture.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from edged.demo.figures import Point
from edged.demo.moment import Car, Moment, Person, placed_sprites, visible_alpha

SIDE = 224
MAX_PEOPLE = 6
MAX_CARS = 2
CLEAR = 1 / 3

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
class Sighting:
    """What the frame shows of one person or car. `anchor` is the head's centre or the car's middle, as shares of the
    side.
    """

    subject: Person | Car
    anchor: Point
    hidden: float
    counts: bool


@dataclass(frozen=True, slots=True)
class Visibility:
    """What is visible in a frame, far to near. `owner` holds for each of SIDE x SIDE pixels the number of the person
    or car that it shows (1 for the first sighting, 0 for none).
    """

    owner: npt.NDArray[np.uint8]
    sightings: tuple[Sighting, ...]


def visibility(moment: Moment) -> Visibility:
    """How much of each person and car a frame of this moment shows. One that is not visible has `hidden` 1."""
    placed = placed_sprites(moment, SIDE)
    owners = Image.new("L", (SIDE, SIDE))
    for number, (subject, sprite, left, top) in enumerate(placed, 1):
        owners.paste(number, (left, top), visible_alpha(sprite, subject, left, top, SIDE).point(_hard))
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
