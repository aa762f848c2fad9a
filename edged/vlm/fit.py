"""Fits a picture into the input of a model. Needs no torch, so that `edged look` can show the result at once."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal, TypeAlias

from PIL import Image

from edged.core.types import Frame
from edged.vlm.folder import COMPILED, read_json

Fit: TypeAlias = Literal["stretch", "letterbox"]

COMPILED_SIDE = 224  # the vendor's processor makes every picture so large
MOST_ASPECT = 100  # Qwen2-VL's processor refuses pictures whose sides differ more than 200 times


def fitted(frame: Frame, fit: Fit, side: int | None) -> Image.Image:
    """The picture to give to the processor, for a model that takes only squares of this side, or (None) any size."""
    picture = Image.fromarray(frame.rgb)
    if side is None:
        return _padded(picture, max(picture.size) // MOST_ASPECT)
    if fit == "letterbox":
        picture = _padded(picture, max(picture.size))
    return picture.resize((side, side), Image.Resampling.BICUBIC)


def fixed_side(folder: Path, config: dict[str, Any]) -> int | None:
    """The side of the only pictures that the model in a folder takes, squares; None if it takes any size.

    `config` is its config.json. Raises ModelFolderError if the processor's settings cannot be read.
    """
    if config["model_type"] == COMPILED:
        return COMPILED_SIDE
    settings = _image_settings(folder)
    size = settings.get("size") or {}
    least, most = (
        settings.get(pixels) or size.get(edge)
        for pixels, edge in (("min_pixels", "shortest_edge"), ("max_pixels", "longest_edge"))
    )
    return math.isqrt(most) if isinstance(most, int) and least == most else None


def _image_settings(folder: Path) -> dict[str, Any]:
    """The settings of the image processor, from the file that transformers prefers."""
    nested = folder / "processor_config.json"
    settings = read_json(nested).get("image_processor") if nested.exists() else None
    return settings or read_json(folder / "preprocessor_config.json")


def _padded(picture: Image.Image, least: int) -> Image.Image:
    """The picture in the middle of a black one whose sides have at least so many pixels."""
    width, height = (max(length, least) for length in picture.size)
    if (width, height) == picture.size:
        return picture
    black = Image.new("RGB", (width, height))
    black.paste(picture, ((width - picture.width) // 2, (height - picture.height) // 2))
    return black
