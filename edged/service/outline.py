"""Draws a camera's masks and regions onto a frame, for people who set them up."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from edged.core.specs import CameraSpec, Point, RegionSpec
from edged.core.types import Frame

MASK_COLOUR, REGION_COLOUR = "#ff4060", "#40e060"


def outlined(frame: Frame, camera: CameraSpec) -> Image.Image:
    """The whole frame with the outline and the name of each mask and region. Masks are black in the frame already."""
    image = Image.fromarray(frame.rgb)  # a copy
    shapes = [(f"mask {number}", corners, MASK_COLOUR) for number, corners in enumerate(camera.mask, 1)]
    shapes += [(region.name, _corners(region), REGION_COLOUR) for region in camera.regions]
    for name, corners, colour in shapes:
        _draw(image, name, [(x * image.width, y * image.height) for x, y in corners], colour)
    return image


def _corners(region: RegionSpec) -> tuple[Point, ...]:
    left, top, right, bottom = region.box
    return region.polygon or ((left, top), (right, top), (right, bottom), (left, bottom))


def _draw(image: Image.Image, name: str, corners: Sequence[Point], colour: str) -> None:
    draw, unit = ImageDraw.Draw(image), max(1, max(image.size) // 640)
    font = ImageFont.load_default(12 * unit)
    shown = [(min(x, image.width - 1), min(y, image.height - 1)) for x, y in corners]
    draw.line([*shown, shown[0]], fill=colour, width=2 * unit)
    label = draw.textbbox((0, 0), name, font=font)
    left = min(min(x for x, _ in shown) + 4 * unit, image.width - label[2] - 2 * unit)
    top = min(min(y for _, y in shown) + 4 * unit, image.height - label[3] - 2 * unit)
    border = (left - 2 * unit, top, left + label[2] + 2 * unit, top + label[3] + 2 * unit)
    draw.rectangle(border, fill="black")
    draw.text((left, top), name, fill=colour, font=font)
