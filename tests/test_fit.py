"""A picture of any size and shape is fitted into what the model takes, and `edged look` can know it from the files."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.making import frame, picture

from edged.core.errors import ModelFolderError
from edged.core.types import Frame
from edged.vlm.fit import Fit, fitted, fixed_side
from edged.vlm.folder import read_config
from edged.vlm.processor import NoVideoProcessor, load_processor

DEMO = Path(__file__).parent.parent / "edged/demo/model"
SIZES = [(640, 360), (360, 640), (1, 1), (3, 2), (1920, 11), (7, 1080), (223, 225)]


def of_size(width: int, height: int) -> Frame:
    pixels = np.resize(picture(1), (height, width, 3)).astype(np.uint8)
    return replace(frame(), rgb=pixels)


@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
@pytest.mark.parametrize("size", SIZES)
def test_a_model_with_one_size_gets_it_whatever_the_region_is(fit: Fit, size: tuple[int, int]):
    assert fitted(of_size(*size), fit, 224).size == (224, 224)


@pytest.mark.parametrize(("width", "height"), [(400, 100), (100, 400)])
def test_letterbox_keeps_the_shape_and_adds_black(width: int, height: int):
    white = replace(frame(), rgb=np.full((height, width, 3), 255, np.uint8))
    boxed, stretched = (np.asarray(fitted(white, fit, 200)) for fit in ("letterbox", "stretch"))
    assert stretched.min() == 255
    lit = boxed[..., 0] > 127
    assert (lit.any(axis=0).sum(), lit.any(axis=1).sum()) == (width // 2, height // 2)


@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
def test_a_model_that_takes_any_size_gets_the_picture_as_it_is(fit: Fit):
    taken = of_size(640, 360)
    assert np.array_equal(np.asarray(fitted(taken, fit, None)), taken.rgb)


@pytest.mark.parametrize("size", [*SIZES, (4000, 10), (10, 4000)])
def test_the_processor_takes_a_region_of_any_shape(tiny_folder: Path, size: tuple[int, int]):
    processor = load_processor(NoVideoProcessor, tiny_folder).image_processor
    image = fitted(of_size(*size), "stretch", None)
    assert processor(images=[image], return_tensors="pt")["pixel_values"].numel() > 0
    if max(size) > 200 * min(size):
        with pytest.raises(ValueError, match="aspect ratio"):
            processor(images=[Image.fromarray(of_size(*size).rgb)], return_tensors="pt")


OLD_STYLE = {"min_pixels": 50176, "max_pixels": 50176}
NEW_STYLE = {"size": {"shortest_edge": 200704, "longest_edge": 200704}}
BOTH = {**OLD_STYLE, **NEW_STYLE}
ANY = {"min_pixels": 3136, "max_pixels": 12845056}


@pytest.mark.parametrize(
    ("plain", "nested", "side"),
    [
        (OLD_STYLE, None, 224),
        (NEW_STYLE, None, 448),
        (BOTH, None, 224),
        (ANY, None, None),
        ({}, None, None),
        (ANY, OLD_STYLE, 224),
        (OLD_STYLE, ANY, None),
    ],
)
def test_the_size_in_the_files_is_that_of_the_processor(
    tiny_folder: Path, tmp_path: Path, plain: dict[str, Any], nested: dict[str, Any] | None, side: int | None
):
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    common = {key: value for key, value in settings.items() if key not in ("size", "min_pixels", "max_pixels")}
    (folder / "preprocessor_config.json").write_text(json.dumps(common | plain))
    if nested is not None:
        (folder / "processor_config.json").write_text(json.dumps({"image_processor": common | nested}))
    assert fixed_side(folder, read_config(folder)) == side
    size = load_processor(NoVideoProcessor, folder).image_processor.size
    least, most = size["shortest_edge"], size["longest_edge"]
    assert (side is not None) == (least == most)
    assert side is None or side * side == most


def test_a_compiled_model_and_the_demos_have_one_size(compiled_folder: Path):
    for folder in (compiled_folder, DEMO):
        assert fixed_side(folder, read_config(folder)) == 224


def test_settings_that_cannot_be_read_are_an_error(tiny_folder: Path, tmp_path: Path):
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    (folder / "processor_config.json").write_text("[")
    with pytest.raises(ModelFolderError, match="is not valid JSON"):
        fixed_side(folder, {"model_type": "qwen2_vl"})
