"""One moment in the yard: its people, cars, door and light, and the sprites that draw them.

Positions are shares of the frame's side: (0, 0) is the upper left corner, (1, 1) the lower right one; y is where the
feet or the wheels are.
"""

from dataclasses import dataclass, field

from PIL import Image

from edged.demo.figures import Appearance, Paint, Sprite, car_sprite, height_at, length_at, person_sprite
from edged.demo.yard import DOORWAY, Light


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


def placed_sprites(moment: Moment, side: int) -> list[tuple[Person | Car, Sprite, int, int]]:
    """Every person and car with its sprite and the sprite's upper left pixel, far to near."""
    subjects: list[Person | Car] = sorted((*moment.cars, *moment.people), key=lambda subject: subject.y)
    placed = []
    for subject in subjects:
        sprite = _sprite(subject, side)
        left = round(subject.x * side - sprite.anchor[0])
        placed.append((subject, sprite, left, round(subject.y * side) - sprite.image.height))
    return placed


def visible_alpha(sprite: Sprite, subject: Person | Car, left: int, top: int, side: int) -> Image.Image:
    """The sprite's alpha; for a person indoors, only the part visible in the doorway."""
    alpha = sprite.image.getchannel("A")
    if not (isinstance(subject, Person) and subject.indoors):
        return alpha
    box = [round(share * side) for share in DOORWAY]
    doorway = Image.new("L", alpha.size)
    doorway.paste(255, (box[0] - left, box[1] - top, box[2] - left, box[3] - top + side))
    return Image.composite(alpha, Image.new("L", alpha.size), doorway)


def _sprite(subject: Person | Car, side: int) -> Sprite:
    if isinstance(subject, Person):
        height = round(height_at(subject.y) * subject.appearance.stature * side)
        return person_sprite(subject.appearance, height, subject.stride, subject.facing)
    length = round(length_at(subject.y) * subject.paint.length * side)
    return car_sprite(subject.paint, length, subject.facing)
