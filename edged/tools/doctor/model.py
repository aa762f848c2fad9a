"""Checks the model's folder, file by file."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from pathlib import Path

from edged.core.errors import ModelError
from edged.core.specs import ModelSpec
from edged.core.text import system_text
from edged.tools.doctor.check import Check, spoken_size
from edged.tools.doctor.config import NO_CONFIG
from edged.tools.invocation import command_line
from edged.tools.load_model import DOWNLOAD
from edged.vlm import folder as files


def is_compiled(model: ModelSpec | None) -> bool | None:
    """True if the model is compiled for an NPU; None if that cannot be read from its folder."""
    if model:
        with suppress(ModelError):
            return bool(files.read_json(model.path / "config.json").get("model_type") == files.COMPILED)
    return None


def model_files(model: ModelSpec | None) -> list[Check]:
    if model is None:
        return [Check("model", None, NO_CONFIG)]
    try:
        config = files.read_config(model.path)
    except ModelError as error:
        make = f"{command_line('prepare')} makes one from a compiled model; {DOWNLOAD}"
        step = make if error.kind == "no_folder" else None
        folder = Check("model", False, str(error).removeprefix("model: "), step)
    else:
        kind = "compiled" if config["model_type"] == files.COMPILED else "not compiled"
        size = sum(path.stat().st_size for path in model.path.iterdir() if path.is_file())
        folder = Check("model", True, f"{model.path}: Qwen2-VL, {kind}, {spoken_size(size)}")
    sizes = _manifest_sizes(model.path)
    return [folder, *(_model_file(model.path, name, sizes.get(name)) for name in _expected(model.path, sizes))]


def _expected(folder: Path, sizes: dict[str, int]) -> list[str]:
    """The names of the files that the folder needs, as far as its own files tell; none if this user cannot see them."""
    with suppress(OSError):
        return list(dict.fromkeys([*_named(folder), *sizes])) if folder.is_dir() else []
    return []


def _named(folder: Path) -> list[str]:
    names = ["config.json", "preprocessor_config.json", _either(folder, "tokenizer.json", "vocab.json")]
    with suppress(ModelError):
        names += files.weight_files(folder)
    with suppress(ModelError, AttributeError):
        config = files.read_json(folder / "config.json")
        if config.get("model_type") == files.COMPILED:
            parts = (part.get("mxq_path") for part in files.compiled_parts(config).values())
            names += [part for part in parts if isinstance(part, str)]
    return names


def _manifest_sizes(folder: Path) -> dict[str, int]:
    try:
        entries = files.read_json(folder / files.MANIFEST)["files"]
        return {str(name): int(entry["bytes"]) for name, entry in entries.items()}
    except (ModelError, KeyError, TypeError, ValueError, AttributeError):
        return {}


def _model_file(folder: Path, name: str, expected: int | None) -> Check:
    path = folder / name
    title, again = f"model/{name}", f"run {command_line('prepare')} again"
    try:
        regular, size = path.is_file(), path.stat().st_size
    except FileNotFoundError:
        regular, size = False, 0
    except OSError as error:
        return Check(title, False, f"cannot be read: {system_text(error)}")
    if not regular:
        return Check(title, False, "is missing", f"copy it into the folder, or {again}")
    if not os.access(path, os.R_OK):
        return Check(title, False, "cannot be read by this user", f"ls -l {shlex.quote(str(path))}")
    if expected not in (None, size):
        return Check(title, False, f"{size} bytes; {files.MANIFEST} says {expected}", again)
    return Check(title, True, f"{spoken_size(size)}{', as in the manifest' if expected is not None else ''}")


def _either(folder: Path, first: str, second: str) -> str:
    return second if (folder / second).is_file() and not (folder / first).is_file() else first
