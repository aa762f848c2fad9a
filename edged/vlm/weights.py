"""Checks safetensors files by their headers. Opening one reads no weights, and fails if the file is truncated."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors import safe_open

from edged.core.errors import ModelFolderError
from edged.vlm import folder as files
from edged.vlm.load_errors import loading, missing_weights

FLOAT32_BYTES = 4

Shapes = dict[str, list[int]]


def check_weights(folder: Path, config: dict[str, Any]) -> None:
    """Raises ModelFolderError if a file is damaged or its tensors do not match config.json."""
    shapes = tensor_shapes(folder)
    names = set(shapes)
    if missing := [*_missing_embeddings(names), *_missing_layers(names, config)]:
        raise missing_weights(folder, missing)
    embeddings = next(shapes[name] for name in files.EMBEDDINGS_NAMES if name in shapes)
    expected = [files.text_setting(config, "vocab_size"), files.text_setting(config, "hidden_size")]
    if embeddings != expected:
        raise ModelFolderError(
            f"model: the weights in {folder} have embeddings of shape {embeddings}, config.json has {expected}"
        )


def float32_bytes(folder: Path) -> int:
    """The memory that the weights need as float32. Raises ModelFolderError."""
    return FLOAT32_BYTES * sum(math.prod(shape) for shape in tensor_shapes(folder).values())


def tensor_shapes(folder: Path) -> Shapes:
    """The shape of each tensor in the folder's weights, by name. Raises what `loading` raises."""
    shapes: Shapes = {}
    for name in files.weight_files(folder):
        with loading(str(folder / name)), safe_open(folder / name, framework="np") as file:
            shapes |= {key: list(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118  # no mapping
    return shapes


def own_weights(model: Any) -> None:
    """Copy the weights that transformers has only mapped: a file that is written over would change the loaded model.

    One tensor after the other, so that no more memory is needed than for the largest.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()


def _missing_embeddings(names: set[str]) -> list[str]:
    return [] if names.intersection(files.EMBEDDINGS_NAMES) else [files.EMBEDDINGS]


def _missing_layers(names: set[str], config: dict[str, Any]) -> Iterable[str]:
    """The layers without weights, judged by one module of each. A compiled model has its layers in the MXQ."""
    if config["model_type"] == files.COMPILED:
        return []
    text = [f"layers.{layer}.mlp.down_proj" for layer in range(_count(files.text_setting(config, "num_hidden_layers")))]
    vision = config.get("vision_config") or {}
    blocks = [f"blocks.{layer}.mlp.fc2" for layer in range(_count(vision.get("depth")))]
    # the prefix differs between versions of transformers: model.layers, model.language_model.layers
    modules = {".".join(name.split(".")[-5:-1]) for name in names}
    return [module for module in [*text, *blocks] if module not in modules]


def _count(number: Any) -> int:
    return number if isinstance(number, int) else 0
