"""The picture of one moment, drawn with Pillow and numpy, as a camera delivers it. RGB, side x side x 3, uint8."""

import io
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from edged.demo.moment import Moment, Person, placed_sprites, visible_alpha
from edged.demo.truth import SIDE
from edged.demo.yard import lit, yard

Picture = npt.NDArray[np.uint8]


@lru_cache(maxsize=64)
def _shadow(width: int, height: int, strength: int) -> Image.Image:
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return Image.fromarray((np.clip(1 - x**2 - y**2, 0, 1) * strength).astype(np.uint8))


def draw(moment: Moment, side: int = SIDE) -> Picture:
    """The yard at this moment in its light, without the camera's noise: side x side x 3, RGB, uint8."""
    canvas = yard(side, moment.door_open).copy()
    strength = int(60 + 50 * (1 - moment.light.dark))
    for subject, sprite, left, top in placed_sprites(moment, side):
        width, height = sprite.image.size
        if not (isinstance(subject, Person) and subject.indoors):
            flat = max(3, round(height * (0.09 if isinstance(subject, Person) else 0.22)))
            shadow = _shadow(round(width * 1.1), flat, strength)
            canvas.paste((16, 16, 20), (left - round(width * 0.02), top + height - round(flat * 0.6)), shadow)
        canvas.paste(sprite.image, (left, top), visible_alpha(sprite, subject, left, top, side))
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


def fitted(picture: Picture, size: tuple[int, int]) -> Picture:
    if picture.shape[:2] == (size[1], size[0]):
        return picture
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))
