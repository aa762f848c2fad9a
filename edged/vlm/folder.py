"""Checks a model's folder file by file. Standard library only, so that no command has to import torch for it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from edged.core.errors import ModelError, ModelFolderError
from edged.core.text import system_text

COMPILED = "mobilint-qwen2_vl"
FAMILIES = ("qwen2_vl", COMPILED)
MANIFEST = "manifest.json"
SETTINGS = ("preprocessor_config.json", "tokenizer_config.json", "generation_config.json")
EMBEDDINGS = "model.language_model.embed_tokens.weight"
EMBEDDINGS_NAMES = (EMBEDDINGS, "model.embed_tokens.weight")  # the second: transformers 4 and the compile tutorial
BLOCK = 1 << 20


def read_config(folder: Path) -> dict[str, Any]:
    """The config.json of a Qwen2-VL folder. Raises ModelFolderError naming the file that is missing or wrong."""
    try:
        return _read_config(folder)
    except OSError as error:  # for instance no permission to search the folder
        raise ModelFolderError(f"model: {folder} cannot be read: {system_text(error)}") from None


def _read_config(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise ModelFolderError(f"model: there is no folder {folder}", "no_folder")
    config = read_json(folder / "config.json")
    family = config.get("model_type")
    if family not in FAMILIES:
        raise ModelFolderError(f"model: {folder} is not a Qwen2-VL: config.json has model_type {json.dumps(family)}")
    for problem in _missing_files(folder, config):
        raise ModelFolderError(f"model: {folder}: {problem}")
    for name in SETTINGS:
        if (folder / name).exists():
            read_json(folder / name)
    _check_manifest(folder)
    return config


def compiled_parts(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The settings of the two compiled parts, `text` and `vision`, in config.json: `mxq_path` and cores."""
    text = config.get("text_config")
    nested = isinstance(text, dict) and "mxq_path" in text
    return {"text": text if nested else config, "vision": config.get("vision_config") or {}}  # type: ignore[dict-item]  # nested: text is a dict


def text_setting(config: dict[str, Any], key: str) -> Any:
    """A setting of the text part. Older folders have it at the top level of config.json."""
    text = config.get("text_config")
    return text[key] if isinstance(text, dict) and key in text else config.get(key)


def vocabulary(config: dict[str, Any]) -> int:
    """The number of logits. Raises ModelFolderError."""
    size = text_setting(config, "vocab_size")
    if not isinstance(size, int) or size <= 0:
        raise ModelFolderError(f"model: vocab_size in config.json must be a positive integer, not {json.dumps(size)}")
    return size


def weight_files(folder: Path) -> list[str]:
    """The names of the safetensors files. Raises ModelFolderError if the index cannot be read."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return ["model.safetensors"]
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise ModelFolderError(f"model: {index} names no weight files (weight_map)")
    return sorted({str(name) for name in names.values()})


def revision(folder: Path) -> str:
    """Twelve hexadecimal digits that change with the name or content of any file, hidden ones excepted.

    Computed from the manifest if there is one, else from the files.
    """
    if (folder / MANIFEST).is_file():
        return manifest_revision(read_json(folder / MANIFEST))
    digest = hashlib.sha256()
    for path in _files(folder):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + sha256(path).digest())
    return digest.hexdigest()[:12]


def signature(folder: Path) -> list[tuple[str, int, int, int]]:
    """Of each file its name, inode, size and time: another one if the folder was changed. Raises ModelError."""
    try:
        found = [(path, path.stat()) for path in _files(folder)]
    except OSError as error:
        raise ModelError(f"model: {folder} cannot be read: {error.strerror}") from None
    return [(str(path), status.st_ino, status.st_size, status.st_mtime_ns) for path, status in found]


def _files(folder: Path) -> list[Path]:
    """Also those of subfolders; not hidden ones, such as what a download leaves."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def manifest_revision(manifest: dict[str, Any]) -> str:
    digests = sorted((name, entry["sha256"]) for name, entry in manifest["files"].items())
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest()[:12]


def sha256(path: Path) -> hashlib._Hash:
    """Raises ModelFolderError if the file cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    except OSError as error:
        raise ModelFolderError(f"model: {path} cannot be read: {system_text(error)}") from None
    return digest


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in this file. Raises ModelFolderError."""
    try:
        if path.exists() and not path.is_file():  # reading a FIFO would block until somebody writes to it
            raise ModelFolderError(f"model: {path} is not a regular file")
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelFolderError(f"model: {path.parent}: {path.name} is missing") from None
    except OSError as error:
        raise ModelFolderError(f"model: {path} cannot be read: {system_text(error)}") from None
    except ValueError as error:
        raise ModelFolderError(f"model: {path} is not valid JSON: {error}") from None
    except RecursionError:
        raise ModelFolderError(f"model: {path} is not valid JSON: nested too deeply") from None
    if not isinstance(content, dict):
        raise ModelFolderError(f"model: {path} is not a JSON object")
    return content


def _missing_files(folder: Path, config: dict[str, Any]) -> list[str]:
    """A sentence for each required file that is missing, without the folder."""
    required = [*weight_files(folder), "preprocessor_config.json"]
    problems = [f"{name} is missing" for name in required if not (folder / name).is_file()]
    if config["model_type"] == COMPILED:
        problems += _missing_mxq(folder, config)
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        problems.append("tokenizer.json is missing (copy the processor's files into this folder)")
    return problems


def _missing_mxq(folder: Path, config: dict[str, Any]) -> list[str]:
    problems = []
    for part, settings in compiled_parts(config).items():
        name = settings.get("mxq_path")
        if not isinstance(name, str) or not name:
            problems.append(f"config.json does not name the {part} model (mxq_path)")
        elif not (folder / name).is_file():
            problems.append(f"{name} is missing (the {part} model)")
    return problems


def _check_manifest(folder: Path) -> None:
    """Raises ModelFolderError if the size of a file differs from the manifest.

    The content is not compared: that would mean reading gigabytes.
    """
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
            raise ModelFolderError(
                f"model: {file} does not have the size recorded in {MANIFEST}; run edged prepare again"
            )
