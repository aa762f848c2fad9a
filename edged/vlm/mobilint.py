"""Loads a compiled model on a Mobilint NPU with the vendor's own classes.

The text part was compiled with the positions of one sample prompt. So a prompt must begin with the default system turn
and the picture, and there is one picture of one size.
"""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from edged.core.errors import ModelError, ModelFolderError
from edged.core.pip import pip_install
from edged.vlm.chat import VISION_END, Chat
from edged.vlm.load_errors import check_loaded, first_line
from edged.vlm.npu_cache import NpuCache
from edged.vlm.npu_errors import npu_errors
from edged.vlm.npu_parts import NpuPart, npu_parts
from edged.vlm.parts import CheckedFolder, LoadedModel
from edged.vlm.processor import NoVideo, load_processor
from edged.vlm.weights import own_weights

PACKAGES = ("transformers_mblt", "mblt_model_zoo.hf_transformers")
VENDOR_PACKAGE = "mblt-model-zoo>=2.10,<2.11"
# the compile tutorial's file has the key of older transformers; unmapped, the embeddings silently stay random
EMBEDDING_KEY = {r"^model\.embed_tokens": "model.language_model.embed_tokens"}
COMPILED_PREFIX = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
    f"<|vision_start|><|image_pad|>{VISION_END}"
)


@dataclass(frozen=True, slots=True)
class VendorClasses:
    """The vendor's classes, from the first of its packages that is installed."""

    model: Any
    processor: Any
    cache: Any


def check_compiled(path: Path, config: dict[str, Any], cores: Mapping[str, str]) -> CheckedFolder:
    """Check a compiled folder. `cores` overrides the cores of `text` and `vision` in config.json.

    Raises ModelFolderError if something has to be changed. Opens no device; `load` does, and raises ModelError if the
    NPU may work at another time.
    """
    parts = npu_parts(path, config, cores)
    vendor = import_vendor_classes()
    processor = load_processor(type("CompiledProcessor", (NoVideo, vendor.processor), {}), path)
    _check_template(processor, path)
    return CheckedFolder(processor, lambda: _loaded(vendor, path, parts, processor))


def import_vendor_classes() -> VendorClasses:
    """Raises ModelFolderError if neither package is installed, or one of them cannot be imported."""
    broken: list[str] = []
    for package in PACKAGES:
        try:
            modeling = import_module(f"{package}.models.qwen2_vl.modeling_qwen2_vl")
            processing = import_module(f"{package}.models.qwen2_vl.processing_qwen2_vl")
            runtime = import_module("qbruntime")
        except ImportError as error:
            if not _not_installed(package, error):
                broken.append(f"{package} cannot be imported: {first_line(error)} [{type(error).__name__}]")
            continue
        runtime.set_log_level(runtime.LogLevel.Off)  # everything that it logs is raised as an error too
        # a folder straight from the tutorial has no core mode; check_compiled supplies one
        warnings.filterwarnings("ignore", "target_cores .* rounded up to whole cluster")
        return VendorClasses(
            modeling.MobilintQwen2VLForConditionalGeneration,
            processing.MobilintQwen2VLProcessor,
            modeling.MobilintCache,
        )
    if broken:
        raise ModelFolderError(
            f"model: {broken[0]}; install compatible versions: {pip_install(VENDOR_PACKAGE)}", "package"
        )
    raise ModelFolderError(
        f"model: Mobilint's Python package is not installed; a compiled model needs it: {pip_install(VENDOR_PACKAGE)} "
        "[ModuleNotFoundError]",
        "package",
    )


def _not_installed(package: str, error: ImportError) -> bool:
    """True if the package itself is missing, not one of its dependencies."""
    return isinstance(error, ModuleNotFoundError) and bool(error.name) and package.startswith(error.name or "")


def _check_template(processor: Any, path: Path) -> None:
    if Chat(processor).prefix() != COMPILED_PREFIX:
        raise ModelFolderError(
            f"model: the chat template in {path} does not begin with Qwen2-VL's default system turn and the picture, "
            "the only order that the compiled model supports; use the processor's files of Qwen2-VL-2B-Instruct"
        )


def _loaded(vendor: VendorClasses, path: Path, parts: dict[str, NpuPart], processor: Any) -> LoadedModel:
    model = _launched(vendor, path, parts)
    try:
        if model.config.dynamic_vision:  # set by the vendor's code from the inputs of the MXQ
            raise ModelFolderError(f"model: {parts['vision'].mxq} takes pictures of any size: not supported yet")
        cache = NpuCache(model, vendor.cache, list(parts.values()))
        _run_once(processor, cache, parts)
    except BaseException:
        _dispose(model)
        raise
    return LoadedModel(model, processor, cache, "npu", lambda: _dispose(model))


def _launched(vendor: VendorClasses, path: Path, parts: dict[str, NpuPart]) -> Any:
    settings: dict[str, Any] = {}
    for name, part in parts.items():
        # absolute paths: a bare name would be looked up in the working directory first
        part_settings = {"mxq_path": str(part.mxq), **part.cores.settings()}
        settings |= {f"{name}_{key}": value for key, value in part_settings.items()}
    try:
        with npu_errors(list(parts.values())):
            model, info = vendor.model.from_pretrained(
                path,
                key_mapping=EMBEDDING_KEY,
                dtype=torch.float32,
                local_files_only=True,
                output_loading_info=True,
                **settings,
            )
    except BaseException as error:
        _dispose_partly_loaded(error.__cause__ if isinstance(error, ModelError) else error)
        raise
    try:
        check_loaded(path, info)
        with npu_errors(list(parts.values())):
            own_weights(model)
    except ModelError:
        _dispose(model)
        raise
    return model


def _run_once(processor: Any, cache: NpuCache, parts: dict[str, NpuPart]) -> None:
    """Run one picture through both parts, so that a model that cannot work fails at the start."""
    inputs = processor(images=[Image.new("RGB", (224, 224))], text=[COMPILED_PREFIX], return_tensors="pt")
    try:
        with torch.inference_mode():
            cache.try_prefill(dict(inputs))
    except ModelFolderError as error:
        grid = "x".join(str(side) for side in inputs["image_grid_thw"][0].tolist()[1:])
        raise ModelFolderError(
            f"model: {parts['vision'].mxq} does not accept the processor's pictures ({grid} patches): "
            f"{str(error).removeprefix('model: ')}"
        ) from error


def _dispose(model: Any) -> None:
    """Release the parts that are launched below this module. Disposing twice does nothing."""
    for part in model.modules():
        if "npu_backend" in vars(part):
            part.npu_backend.dispose()


def _dispose_partly_loaded(error: BaseException | None) -> None:
    """Release a part that was launched before the other one failed. Only the error's frames still refer to it."""
    for frame, _ in traceback.walk_tb(error.__traceback__ if error else None):
        for value in list(frame.f_locals.values()):
            if isinstance(value, torch.nn.Module) and "_modules" in vars(value):
                _dispose(value)
