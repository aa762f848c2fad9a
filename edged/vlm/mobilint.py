"""The compiled model on a Mobilint NPU: the vendor's own classes, their cache, and their errors in the owner's words.

The text part was compiled with the positions of one sample prompt, so the default system turn and then the picture have
to stand at its beginning, and there is one picture of one size. A model holds one KV cache: a second one on the same
model would overwrite it without a word.
"""

from __future__ import annotations

import re
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from edged.core.errors import ModelError, ModelFolderError, ModelLost
from edged.core.npu_cores import Cores, of_config, parsed
from edged.vlm import folder as files
from edged.vlm.chat import Chat
from edged.vlm.parts import ModelParts, NoVideo, Unloaded, check_loaded, first_line, load_processor

PACKAGES = ("transformers_mblt", "mblt_model_zoo.hf_transformers")
INSTALL = "pip install 'mblt-model-zoo>=2.10,<2.11'"
# the tutorial's file has the key of older transformers; unmapped, the embeddings would stay random without a word
EMBEDDING_KEY = {r"^model\.embed_tokens": "model.language_model.embed_tokens"}
BEGINNING = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|>"
PICTURE = "<|image_pad|><|vision_end|>"
CODE = re.compile(r"\b(?:Model|Acc|Driver)_\w+")


@dataclass(frozen=True, slots=True)
class Vendor:
    """The vendor's classes, from whichever of its packages is installed."""

    model: Any
    processor: Any
    cache: Any


@dataclass(frozen=True, slots=True)
class Part:
    """The text or the vision part: its MXQ file and where it runs."""

    mxq: Path
    cores: Cores

    def __str__(self) -> str:
        return f"{self.mxq} ({self.cores})"

    @property
    def devices(self) -> str:
        return " and ".join(f"/dev/aries{device}" for device in self.cores.devices)


class NpuCache:
    """The KV cache on the NPU. Rolling back moves a pointer only; `limit` is what the MXQ was compiled for."""

    def __init__(self, model: Any, kind: Any, parts: list[Part]) -> None:
        self._model = model
        self._parts = parts
        with _in_the_owners_words(parts):
            self._cache = kind(model.get_cache_mxq_model())
            self.limit = int(self._cache.layers[0].get_max_cache_shape())

    def begin(self, prefix: dict[str, Any]) -> Any:
        with _in_the_owners_words(self._parts, looking=True):
            return self._begin(prefix)

    def _begin(self, prefix: dict[str, Any]) -> Any:
        self._cache.reset()
        self._model.model.rope_deltas = None
        return self._model(**prefix, past_key_values=self._cache, use_cache=True, logits_to_keep=1)

    def roll_back(self, length: int) -> None:
        self._cache.set_seq_length(length)

    def run(self, ids: list[int], start: int) -> Any:
        # the compiled model has its positions built in; these only keep transformers from working out its own
        positions = torch.arange(start, start + len(ids)).view(1, 1, -1).expand(3, 1, -1)
        with _in_the_owners_words(self._parts, looking=True):
            return self._model(
                input_ids=torch.tensor([ids]),
                position_ids=positions,
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=1,  # the default would run one call a token
            )


def open_compiled(path: Path, config: dict[str, Any], words: Mapping[str, str]) -> Unloaded:
    """The compiled folder, for the cores of these words (`text`, `vision`), else for those of config.json.

    Raises ModelFolderError if its owner has to change something. Touches no device; `load` does, and raises ModelError
    if the NPU may work at another time.
    """
    parts = _parts(path, config, words)
    vendor = _vendor()
    processor = load_processor(type("CompiledProcessor", (NoVideo, vendor.processor), {}), path)
    _check_template(processor, path)
    return Unloaded(processor, lambda: _loaded(vendor, path, parts, processor))


def occupied(path: Path, config: dict[str, Any], words: Mapping[str, str]) -> frozenset[str]:
    """Every core that the model takes, as `device:cluster:core`. Raises ModelFolderError."""
    return frozenset(core for part in _parts(path, config, words).values() for core in part.cores.occupied())


def _loaded(vendor: Vendor, path: Path, parts: dict[str, Part], processor: Any) -> ModelParts:
    model = _launched(vendor, path, parts)
    try:
        if model.model.visual._uses_dynamic_vision:
            raise ModelFolderError(
                f"model: {parts['vision'].mxq} takes pictures of any size, which is not supported yet"
            )
        cache = NpuCache(model, vendor.cache, list(parts.values()))
        _try_out(processor, cache, parts)
    except BaseException:
        _dispose(model)
        raise
    return ModelParts(model, processor, cache, lambda: _dispose(model))


def _parts(path: Path, config: dict[str, Any], words: Mapping[str, str]) -> dict[str, Part]:
    found = {}
    for name, settings in files.compiled_parts(config).items():
        try:
            cores = parsed(words[name]) if name in words else of_config(settings)
        except ValueError as error:
            word = f'"{words[name]}" ' if name in words else ""
            raise ModelFolderError(f"model: the cores of {name}: {word}{error}") from None
        found[name] = Part(path / settings["mxq_path"], cores)
    return found


def _vendor() -> Vendor:
    broken: list[str] = []
    for package in PACKAGES:
        try:
            modeling = import_module(f"{package}.models.qwen2_vl.modeling_qwen2_vl")
            processing = import_module(f"{package}.models.qwen2_vl.processing_qwen2_vl")
            runtime = import_module("qbruntime")
        except ImportError as error:
            if not (isinstance(error, ModuleNotFoundError) and error.name and package.startswith(error.name)):
                broken.append(f"{package} cannot be imported: {first_line(error)} [{type(error).__name__}]")
            continue
        runtime.set_log_level(runtime.LogLevel.Off)  # what it logs is raised as an error too
        # of a folder straight from the tutorial, which names no core mode: it is given one below
        warnings.filterwarnings("ignore", "target_cores .* rounded up to whole cluster")
        return Vendor(
            modeling.MobilintQwen2VLForConditionalGeneration,
            processing.MobilintQwen2VLProcessor,
            modeling.MobilintCache,
        )
    if broken:
        raise ModelFolderError(f"model: {broken[0]}; install versions that fit each other: {INSTALL}")
    raise ModelFolderError(
        f"model: Mobilint's Python package is not installed, and a compiled model needs it: {INSTALL} "
        "[ModuleNotFoundError]"
    )


def _check_template(processor: Any, path: Path) -> None:
    if Chat(processor).prefix() != BEGINNING + PICTURE:
        raise ModelFolderError(
            f"model: the chat template in {path} does not begin with Qwen2-VL's default system turn and the picture, "
            "and the compiled model knows no other order; take the processor's files of Qwen2-VL-2B-Instruct"
        )


def _launched(vendor: Vendor, path: Path, parts: dict[str, Part]) -> Any:
    settings: dict[str, Any] = {}
    for name, part in parts.items():
        # whole paths: a bare name would be looked for in the working directory first
        own = {"mxq_path": str(part.mxq), **part.cores.settings()}
        settings |= {f"{name}_{key}": value for key, value in own.items()}
    try:
        with _in_the_owners_words(list(parts.values())):
            model, info = vendor.model.from_pretrained(
                path,
                key_mapping=EMBEDDING_KEY,
                dtype=torch.float32,
                local_files_only=True,
                output_loading_info=True,
                **settings,
            )
    except BaseException as error:
        _dispose_half(error.__cause__ if isinstance(error, ModelError) else error)
        raise
    try:
        check_loaded(path, info)
    except ModelFolderError:
        _dispose(model)
        raise
    return model


def _try_out(processor: Any, cache: NpuCache, parts: dict[str, Part]) -> None:
    """One picture through both parts, so that what cannot work is found at the start and not at the first look."""
    inputs = processor(images=[Image.new("RGB", (224, 224))], text=[BEGINNING + PICTURE], return_tensors="pt")
    try:
        with torch.inference_mode(), _in_the_owners_words(list(parts.values())):
            cache._begin(dict(inputs))
    except ModelFolderError as error:
        grid = "x".join(str(side) for side in inputs["image_grid_thw"][0].tolist()[1:])
        raise ModelFolderError(
            f"model: {parts['vision'].mxq} does not take the processor's pictures ({grid} patches): "
            f"{str(error).removeprefix('model: ')}"
        ) from error


def _dispose(model: Any) -> None:
    """Give back what is launched below this module, once: a second call finds nothing."""
    for part in model.modules():
        if "npu_backend" in vars(part):
            part.npu_backend.dispose()


def _dispose_half(error: BaseException | None) -> None:
    """Give back a part that was launched before the other one failed: only the frames of the error still know it."""
    for frame, _ in traceback.walk_tb(error.__traceback__ if error else None):
        for value in list(frame.f_locals.values()):
            if isinstance(value, torch.nn.Module) and "_modules" in vars(value):
                _dispose(value)


# their errors in the owner's words

LOST = ("Model_NotAlive", "Model_NotLaunched", "Model_TaskQueueClosed", "Model_TaskQueueTimeout")
_BY_CODES: list[tuple[tuple[str, ...], type[ModelError], str]] = [
    (
        ("Driver_NotInitialized",),
        ModelError,
        "the driver of the NPU does not answer for {device}; see whether the node is there and this user may open it "
        "(ls -l /dev/aries*), and whether the driver is loaded (lsmod)",
    ),
    (
        ("Acc_DeviceNotFound", "Acc_UnknownDevice", "Acc_AmbiguousDevice"),
        ModelError,
        "there is no NPU {device}; see which there are (ls /dev/aries*), and compare model.cores",
    ),
    (
        ("Acc_CoreAlreadyInUse", "Driver_FailedToClaimCores", "Driver_FailedToLockCore"),
        ModelError,
        "{cores} of {device} is held by another program or another worker; stop it, or choose other model.cores",
    ),
    (
        (
            "Model_FailedToLoadMXQ", "Model_BrokenMXQ", "Model_FailedToOpenModelDescFile",
            "Model_FailedToOpenSectionBinary",
        ),
        ModelFolderError,
        "{mxq} is not an MXQ that this runtime can read; copy it again, or compile it with the runtime's version",
    ),
    (
        (
            "Model_MXQAndModelConfigNotMatch", "Model_NoTargetCores", "Model_NoGlobalCoreWithGlobalMultiMode",
            "Model_NotSupported", "Model_IsNotSupportedHardware",
        ),
        ModelFolderError,
        "{mxq} was not compiled for {cores}; set model.cores to what it was compiled for",
    ),
    (
        (
            "BadAlloc", "Driver_FailedToAllocateModelMemory", "Driver_FailedToAllocateHostMemory",
            "Model_FailedToAllocMemory",
        ),
        ModelError,
        "there is not enough memory on {device} for {mxq}; stop what else uses this NPU, or ask for fewer workers",
    ),
    (
        ("Acc_NPUTimeout", "Driver_WaitDoneTimeout", "Driver_FailedToWaitDone", "Model_TaskQueueTimeout"),
        ModelError,
        "{device} has not answered within the driver's time ({cores}); if it stays so, power the box off and on",
    ),
    (
        ("Model_CacheOverflow",),
        ModelError,
        "the question and its answer do not fit the cache of {mxq}",
    ),
]  # fmt: skip
SENTENCES = {code: (kind, sentence) for codes, kind, sentence in _BY_CODES for code in codes}


@contextmanager
def _in_the_owners_words(parts: list[Part], looking: bool = False) -> Iterator[None]:
    """What the vendor's code raises, as a ModelError; while `looking`, a device that failed is a lost one."""
    try:
        yield
    except (AttributeError, TypeError, NameError):  # unexpected errors
        raise
    except Exception as error:  # one of theirs is a bare Exception
        raise _translated(error, _failed(error, parts), looking) from error


def _translated(error: Exception, part: Part, looking: bool) -> ModelError:
    match = CODE.search(str(error))
    code = match[0] if match else type(error).__name__
    if "badalloc" in str(error).lower().replace(" ", ""):  # how the vendor's own code knows it
        code = "BadAlloc"
    device_failed = code.startswith(("Driver_", "Acc_")) or code in LOST
    unknown = (ModelError if device_failed else ModelFolderError, "{part} cannot be used: {reason}")
    kind, sentence = SENTENCES.get(code, unknown)
    if looking:
        kind = ModelLost if device_failed else ModelError
    reason = first_line(error).removesuffix(" occurred.")
    text = sentence.format(part=part, mxq=part.mxq, cores=part.cores, device=part.devices, reason=reason)
    return kind(f"model: {text} [{code}]")


def _failed(error: BaseException, parts: list[Part]) -> Part:
    """The part whose loading or calling raised this."""
    found = parts[0]
    for frame, _ in traceback.walk_tb(error.__traceback__):
        owner = frame.f_locals.get("self")
        path = getattr(getattr(owner, "npu_backend", owner), "mxq_path", None)
        found = next((part for part in parts if str(part.mxq) == path), found)
    return found
