"""The model's folder, and one question to it."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from edged.core.errors import EXIT_UNAVAILABLE, ModelError
from edged.core.specs import Config, ModelSpec
from edged.core.text import spoken
from edged.tools.doctor.check import Check, Machine, child, holders, last_line, spoken_size
from edged.vlm import folder as files

PROCESSOR_FILES = ("preprocessor_config.json",)


RED_SQUARE = ("What colour is this image?", "red", "[red, green, blue]")


def is_compiled(model: ModelSpec | None) -> bool | None:
    """Whether the model is compiled for an NPU; None where no folder says so."""
    if model:
        with suppress(ModelError):
            return bool(files.read_json(model.path / "config.json").get("model_type") == files.COMPILED)
    return None


def model_files(model: ModelSpec | None) -> list[Check]:
    if model is None:
        return [Check("model", None, "not checked: there is no valid config")]
    try:
        config = files.read_config(model.path)
    except ModelError as error:
        todo = "edged prepare makes a folder of a compiled model" if "no folder" in str(error) else None
        whole = Check("model", False, str(error).removeprefix("model: "), todo)
    else:
        kind = "compiled" if config["model_type"] == files.COMPILED else "not compiled"
        size = sum(path.stat().st_size for path in model.path.iterdir() if path.is_file())
        whole = Check("model", True, f"{model.path}: Qwen2-VL, {kind}, {spoken_size(size)}")
    sizes = _manifest_sizes(model.path)
    return [whole, *(_model_file(model.path, name, sizes.get(name)) for name in _expected(model.path, sizes))]


def _expected(folder: Path, sizes: dict[str, int]) -> list[str]:
    """The files that the folder has to hold, as far as its own files say."""
    if not folder.is_dir():
        return []
    names = ["config.json", *PROCESSOR_FILES, _either(folder, "tokenizer.json", "vocab.json")]
    index = folder / "model.safetensors.index.json"
    with suppress(ModelError, AttributeError):
        shards = files.read_json(index).get("weight_map", {}).values() if index.is_file() else ["model.safetensors"]
        names += sorted({str(shard) for shard in shards})
    with suppress(ModelError, AttributeError):
        config = files.read_json(folder / "config.json")
        if config.get("model_type") == files.COMPILED:
            parts = (part.get("mxq_path") for part in files.compiled_parts(config).values())
            names += [part for part in parts if isinstance(part, str)]
    return list(dict.fromkeys([*names, *sizes]))


def _manifest_sizes(folder: Path) -> dict[str, int]:
    try:
        listed = files.read_json(folder / files.MANIFEST)["files"]
        return {str(name): int(entry["bytes"]) for name, entry in listed.items()}
    except (ModelError, KeyError, TypeError, ValueError, AttributeError):
        return {}


def _model_file(folder: Path, name: str, wanted: int | None) -> Check:
    path = folder / name
    title = f"model/{name}"
    if not path.is_file():
        return Check(title, False, "is missing", "copy it into the folder, or run edged prepare again")
    if not os.access(path, os.R_OK):
        return Check(title, False, "cannot be read by this user", f"ls -l {path}")
    size = path.stat().st_size
    if wanted not in (None, size):
        return Check(title, False, f"{size} bytes; {files.MANIFEST} says {wanted}", "run edged prepare again")
    return Check(title, True, f"{spoken_size(size)}{', as in the manifest' if wanted is not None else ''}")


def _either(folder: Path, first: str, second: str) -> str:
    return second if (folder / second).is_file() and not (folder / first).is_file() else first


def question(path: Path, config: Config | None, compiled: bool | None, sound: bool, here: Machine) -> Check:
    """In a child of its own: a driver may hang, and a model may need more memory than there is."""
    if config is None:
        return Check("question", None, "not asked: there is no valid config")
    if not sound:
        return Check("question", None, "not asked: correct the model's folder first")
    if compiled and (by := holders(here.dev.glob("aries*"), here.proc)):
        busy = f"not asked, the NPU is busy: {', '.join(by)} holds it"
        return Check("question", None, busy, "stop it to run this check")
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "red.ppm"
        picture.write_bytes(b"P6 224 224 255\n" + b"\xd0\x10\x18" * (224 * 224))
        asked, _, choices = RED_SQUARE
        command = [sys.executable, "-m", "edged", "ask", "--config", str(path.absolute()), "--image", str(picture)]
        return _asked([*command, "--answer", choices, "--json", asked], here.question_s)


def _asked(command: list[str], limit_s: float) -> Check:
    begun = time.monotonic()
    done = child(command, limit_s)
    if done is None:
        return Check("question", False, f"no answer within {spoken(limit_s)}", f"try: {_spelt(command)}")
    reason = last_line(done.errors).removeprefix("model: ")
    if done.code == 0:
        return _answered(json.loads(done.out.splitlines()[-1]), time.monotonic() - begun)
    if done.code == EXIT_UNAVAILABLE and "held by another program" in reason:
        return Check("question", None, f"not asked, the NPU is busy: {reason}", "stop edged to run this check")
    if done.code < 0:
        ended = f"the model's process was ended by signal {-done.code}"
        return Check("question", False, ended, "see dmesg: is there enough memory?")
    todo = "see the lines of the packages" if "Error: " in reason else f"then: {_spelt(command)}"
    return Check("question", False, reason, todo)


def _answered(answer: dict[str, Any], took: float) -> Check:
    timing, (_, right, _) = answer["timing_ms"], RED_SQUARE
    times = f"encode {timing['encode']} ms, answer {timing['answer']} ms; {spoken(took)} with loading"
    if answer["value"] == right:
        return Check("question", True, f'a red picture was recognised as "{right}": {times}')
    hint = "an intact Qwen2-VL answers red: check how this model was compiled or copied"
    return Check("question", None, f'a red picture was recognised as "{answer["value"]}": {times}', hint)


def _spelt(command: list[str]) -> str:
    """The command as an owner would type it, with a picture of their own."""
    config = command[command.index("--config") + 1]
    return f"edged ask --config {config} --image PICTURE 'What is this?'"
