"""A model's folder, file by file: what is missing or wrong in it, said before anything heavy is imported.

Standard library only, so that `edged check` and `edged doctor` can judge a folder too.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from edged.core import ModelFolderError

FAMILIES = ("qwen2_vl", "mobilint-qwen2_vl")
BLOCK = 1 << 20


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's config.json, of a Qwen2-VL. Raises ModelFolderError naming what is missing or wrong."""
    if not folder.is_dir():
        raise ModelFolderError(f"model: there is no folder {folder}")
    config = _json(folder / "config.json")
    family = config.get("model_type")
    if family not in FAMILIES:
        raise ModelFolderError(f"model: {folder} holds a {family or 'model of no type'}, not a Qwen2-VL (config.json)")
    for missing in _missing(folder):
        raise ModelFolderError(f"model: {folder} lacks {missing}")
    return config


def revision(folder: Path) -> str:
    """The first 12 hexadecimal digits of a SHA-256 over the names and bytes of all files of the folder."""
    whole = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        whole.update(path.name.encode() + b"\0" + _sha256(path))
    return whole.hexdigest()[:12]


def _sha256(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.digest()


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelFolderError(f"model: {path.parent} lacks {path.name}") from None
    except (OSError, ValueError) as error:
        raise ModelFolderError(f"model: {path} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise ModelFolderError(f"model: {path} does not hold a mapping")
    return found


def _missing(folder: Path) -> list[str]:
    found = [name for name in _wanted(folder) if not (folder / name).is_file()]
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        found.append("tokenizer.json (the processor's files belong into the same folder)")
    return found


def _wanted(folder: Path) -> list[str]:
    index = folder / "model.safetensors.index.json"
    weights = set(_json(index).get("weight_map", {}).values()) if index.is_file() else {"model.safetensors"}
    return [*sorted(weights), "preprocessor_config.json"]
