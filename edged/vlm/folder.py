"""A model's folder, file by file: what is missing or wrong in it, said before anything heavy is imported.

Standard library only, so that `edged check` and `edged doctor` can judge a folder too.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from edged.core.errors import ModelFolderError

COMPILED = "mobilint-qwen2_vl"
FAMILIES = ("qwen2_vl", COMPILED)
MANIFEST = "manifest.json"
SETTINGS = ("preprocessor_config.json", "tokenizer_config.json", "generation_config.json")
EMBEDDINGS = "model.language_model.embed_tokens.weight"
EMBEDDINGS_NAMES = (EMBEDDINGS, "model.embed_tokens.weight")  # of transformers 4, and of what the tutorial writes
BLOCK = 1 << 20


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's config.json, of a Qwen2-VL. Raises ModelFolderError naming what is missing or wrong."""
    try:
        return _read_config(folder)
    except OSError as error:  # it may not be looked into
        raise ModelFolderError(f"model: {folder} cannot be read: {error.strerror}") from None


def _read_config(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise ModelFolderError(f"model: there is no folder {folder}")
    config = read_json(folder / "config.json")
    family = config.get("model_type")
    if family not in FAMILIES:
        raise ModelFolderError(f"model: {folder} holds a {family or 'model of no type'}, not a Qwen2-VL (config.json)")
    for missing in _missing(folder, config):
        raise ModelFolderError(f"model: {folder} lacks {missing}")
    for name in SETTINGS:
        if (folder / name).exists():
            read_json(folder / name)
    _check_manifest(folder)
    return config


def compiled_parts(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What config.json says of the two compiled parts, `text` and `vision`: `mxq_path`, cores."""
    text = config.get("text_config")
    own = isinstance(text, dict) and "mxq_path" in text
    return {"text": text if own else config, "vision": config.get("vision_config") or {}}  # type: ignore[dict-item]  # own says it


def text_setting(config: dict[str, Any], key: str) -> Any:
    """A setting of the text part. Older folders have it at the top of config.json."""
    text = config.get("text_config")
    return text[key] if isinstance(text, dict) and key in text else config.get(key)


def vocabulary(config: dict[str, Any]) -> int:
    """The number of logits. Raises ModelFolderError."""
    size = text_setting(config, "vocab_size")
    if not isinstance(size, int) or size <= 0:
        raise ModelFolderError(f"model: vocab_size in config.json is {size}, not a number of tokens")
    return size


def weight_files(folder: Path) -> list[str]:
    """The names of the safetensors files. Raises ModelFolderError if the index cannot be read."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return ["model.safetensors"]
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise ModelFolderError(f"model: {index} names no files (weight_map)")
    return sorted({str(name) for name in names.values()})


def revision(folder: Path) -> str:
    """Twelve hexadecimal digits that change with any file's name or bytes: of the manifest, where there is one."""
    if (folder / MANIFEST).is_file():
        return manifest_revision(read_json(folder / MANIFEST))
    whole = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        whole.update(path.name.encode() + b"\0" + sha256(path).digest())
    return whole.hexdigest()[:12]


def manifest_revision(manifest: dict[str, Any]) -> str:
    files = sorted((name, entry["sha256"]) for name, entry in manifest["files"].items())
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()[:12]


def sha256(path: Path) -> hashlib._Hash:
    """Raises ModelFolderError if the file cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    except OSError as error:
        raise ModelFolderError(f"model: {path} cannot be read: {error.strerror}") from None
    return digest


def read_json(path: Path) -> dict[str, Any]:
    """What the file holds, a mapping. Raises ModelFolderError."""
    if path.exists() and not path.is_file():  # reading a FIFO would wait for a writer
        raise ModelFolderError(f"model: {path} is not a regular file")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelFolderError(f"model: {path.parent} lacks {path.name}") from None
    except OSError as error:
        raise ModelFolderError(f"model: {path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ModelFolderError(f"model: {path} cannot be read: {error}") from None
    except RecursionError:
        raise ModelFolderError(f"model: {path} cannot be read: it is nested too deeply") from None
    if not isinstance(found, dict):
        raise ModelFolderError(f"model: {path} does not hold a mapping")
    return found


def _missing(folder: Path, config: dict[str, Any]) -> list[str]:
    found = [name for name in _wanted(folder) if not (folder / name).is_file()]
    if config["model_type"] == COMPILED:
        found += _missing_mxq(folder, config)
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        found.append("tokenizer.json (the processor's files belong into the same folder)")
    return found


def _missing_mxq(folder: Path, config: dict[str, Any]) -> list[str]:
    found = []
    for part, settings in compiled_parts(config).items():
        name = settings.get("mxq_path")
        if not isinstance(name, str) or not name:
            found.append(f"the name of its {part} model (mxq_path in config.json)")
        elif not (folder / name).is_file():
            found.append(f"{name}, its {part} model")
    return found


def _check_manifest(folder: Path) -> None:
    """Raises ModelFolderError if a file has another size than the manifest says. Its bytes are not read: gigabytes."""
    path = folder / MANIFEST
    if not path.is_file():
        return
    manifest = read_json(path)
    try:
        manifest_revision(manifest)
        sizes = {folder / name: int(entry["bytes"]) for name, entry in manifest["files"].items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ModelFolderError(f"model: {path} was not written by edged prepare; run it again") from None
    for file, size in sizes.items():
        if not file.is_file() or file.stat().st_size != size:
            raise ModelFolderError(f"model: {file} is not of the size that {MANIFEST} says; run edged prepare again")


def _wanted(folder: Path) -> list[str]:
    return [*weight_files(folder), "preprocessor_config.json"]
