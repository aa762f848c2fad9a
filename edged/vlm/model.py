"""From a model's folder to a loaded model, and the checks that need neither weights nor device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import transformers

from edged.core.errors import ModelError, ModelFolderError
from edged.core.specs import ModelSpec, QuestionSpec
from edged.vlm import folder as files
from edged.vlm.fit import fixed_side
from edged.vlm.grammar_tokenizer import GrammarTokenizer
from edged.vlm.mobilint import check_compiled
from edged.vlm.npu_parts import occupied_cores
from edged.vlm.parts import CheckedFolder
from edged.vlm.plain import best_device, check_plain
from edged.vlm.qwen2vl import Qwen2VL
from edged.vlm.weights import check_weights, float32_bytes

MEMINFO = Path("/proc/meminfo")
LOADING = Lock()  # loading changes settings of transformers and torch that apply to all threads


def load(spec: ModelSpec) -> Qwen2VL:
    """Load a model. Raises ModelFolderError if the folder cannot work, ModelError if the device cannot."""
    config, signature = files.read_config(spec.path), files.signature(spec.path)
    revision, side = files.revision(spec.path), fixed_side(spec.path, config)
    with LOADING:
        folder = _checked(spec, config)
        loaded = folder.load()
    try:
        if files.signature(spec.path) != signature:
            raise ModelError(f"model: {spec.path} was changed while it was loaded")
        return Qwen2VL(
            loaded,
            _grammar_tokenizer(folder, config),
            name=config.get("_name_or_path") or spec.path.name,
            revision=revision,
            fit=spec.fit,
            side=side,
        )
    except BaseException:
        loaded.dispose()
        raise


def check_folder(spec: ModelSpec, questions: Sequence[QuestionSpec]) -> None:
    """Raises what `load` and `Qwen2VL.check` would raise, as far as that needs neither weights nor device.

    Takes seconds with 150,000 tokens. Waits for a load in another thread; does not disturb a model that is in use.
    """
    config = files.read_config(spec.path)
    if config["model_type"] == files.COMPILED:
        _occupied_cores(spec, config)  # raises for the cores of any worker
    with LOADING:
        folder = _checked(spec.each_worker()[0], config)
    _grammar_tokenizer(folder, config).check(questions)


def fit_together(old: ModelSpec, new: ModelSpec, meminfo: Path = MEMINFO) -> bool:
    """True if the new model can be loaded while the old one still is; False if unsure."""
    try:
        old_config, new_config = files.read_config(old.path), files.read_config(new.path)
        if old_config["model_type"] == new_config["model_type"] == files.COMPILED:
            return not _occupied_cores(old, old_config) & _occupied_cores(new, new_config)
        if best_device().type != "cpu":
            return False
        return len(new.each_worker()) * float32_bytes(new.path) <= _available_bytes(meminfo) / 2
    except (ModelError, OSError, ValueError):
        return False


def _checked(spec: ModelSpec, config: dict[str, Any]) -> CheckedFolder:
    """All of loading except reading the weights and starting the device."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    files.vocabulary(config)
    check_weights(spec.path, config)
    if config["model_type"] == files.COMPILED:
        return check_compiled(spec.path, config, dict(spec.cores))
    return check_plain(spec.path)


def _grammar_tokenizer(folder: CheckedFolder, config: dict[str, Any]) -> GrammarTokenizer:
    try:
        return GrammarTokenizer(folder.processor.tokenizer, files.vocabulary(config))
    except ValueError as error:
        raise ModelFolderError(f"model: the tokenizer does not match vocab_size in config.json: {error}") from None


def _occupied_cores(spec: ModelSpec, config: dict[str, Any]) -> frozenset[str]:
    workers = spec.each_worker()
    return frozenset(core for worker in workers for core in occupied_cores(spec.path, config, dict(worker.cores)))


def _available_bytes(meminfo: Path) -> int:
    """Raises OSError or ValueError."""
    lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
    return int(lines.get("MemAvailable", "").removesuffix("kB")) * 1024
