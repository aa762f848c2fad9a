"""Combines the compile tutorial's output and a processor into one folder that needs no network.

Everything is checked before anything is written, and the folder appears complete or not at all. No torch: the weights
are copied as bytes.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from edged.core.errors import ModelFolderError
from edged.core.npu_cores import NPU_KEYS, Cores
from edged.core.text import system_text
from edged.tools.signals import interrupting, uninterrupted
from edged.vlm import folder as files
from edged.vlm.npu_parts import part_cores

WEIGHTS = "model.safetensors"
PROCESSOR = (
    "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt",
    "added_tokens.json", "special_tokens_map.json", "chat_template.jinja", "chat_template.json",
    "generation_config.json",
)  # fmt: skip
MIXED = "these files do not belong to the same model"


@dataclass(frozen=True, slots=True)
class PreparedFolder:
    """The folder that was written."""

    folder: Path
    name: str
    revision: str
    cores: dict[str, Cores]


def prepare(compiled: Path, processor: str, out: Path, cores: Mapping[str, str]) -> PreparedFolder:
    """Write the folder `out`. `cores` overrides the cores of `text` and `vision` in config.json.

    Main thread only: an ending signal raises KeyboardInterrupt while files are copied, and has no effect while `out` is
    replaced. Raises ModelFolderError naming the file that is missing, cannot be read or does not belong to the others.
    """
    try:
        return _prepare(compiled, processor, out, cores)
    except OSError as error:  # for instance no permission to search a folder
        raise ModelFolderError(f"prepare: {error.filename or out} cannot be read: {system_text(error)}") from None


def _prepare(compiled: Path, processor: str, out: Path, cores: Mapping[str, str]) -> PreparedFolder:
    if not compiled.is_dir():
        raise ModelFolderError(f"prepare: --compiled: there is no folder {compiled}")
    _check_target(out, compiled)
    config = files.read_json(compiled / "config.json")
    if config.get("model_type") != files.COMPILED:
        family = json.dumps(config.get("model_type"))
        raise ModelFolderError(
            f"prepare: {compiled} is not a compiled Qwen2-VL: model_type in config.json is {family}, not "
            f'"{files.COMPILED}"'
        )
    parts = files.compiled_parts(config)
    mxq = _mxq_files(compiled, parts)
    chosen_cores = {name: part_cores(name, part, cores, "prepare") for name, part in parts.items()}
    header = _weights_header(compiled, config)
    processor_files = _processor_files(processor, config)

    for name, part in parts.items():
        for key in NPU_KEYS:
            part.pop(key, None)
        part |= {"mxq_path": mxq[name].name, **chosen_cores[name].settings()}
    # the vendor's code passes float32 to the NPU; transformers 5 would use the file's bfloat16
    config["torch_dtype"] = "float32"
    config.pop("dtype", None)

    try:
        with _replacing(out) as new:
            for path in [*mxq.values(), *processor_files.values()]:
                shutil.copyfile(path, new / path.name)
            _write_weights(compiled / WEIGHTS, new / WEIGHTS, header)
            (new / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False), encoding="utf-8")
            manifest = _manifest(new, config.get("_name_or_path") or out.name)
            (new / files.MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")
            files.read_config(new)
    except OSError as error:
        raise ModelFolderError(f"prepare: {out} cannot be written: {system_text(error)}") from None
    return PreparedFolder(out, manifest["model"], files.manifest_revision(manifest), chosen_cores)


def _check_target(out: Path, compiled: Path) -> None:
    if out.resolve() == compiled.resolve():
        raise ModelFolderError("prepare: --out and --compiled must be different folders")
    if not out.exists():
        return
    present = {path.name for path in out.iterdir()} if out.is_dir() else {""}
    prepared = _manifest_files(out) if files.MANIFEST in present else set()
    if not prepared and present:
        raise ModelFolderError(f"prepare: {out} exists and was not written by edged prepare; choose another --out")
    for name in sorted(present - prepared):
        raise ModelFolderError(f"prepare: {out} contains {name}, which would be deleted; move it to another folder")


def _manifest_files(out: Path) -> set[str]:
    """The files that an earlier run listed in its manifest; empty if the manifest cannot be read."""
    try:
        return {files.MANIFEST, *files.read_json(out / files.MANIFEST)["files"]}
    except (ModelFolderError, KeyError, TypeError):
        return set()


@contextmanager
def _replacing(out: Path) -> Iterator[Path]:
    """An empty folder that replaces `out` at the end. After an error or an ending signal, `out` is unchanged.

    Until then it and the old `out` are in a new folder next to `out`: on the same file system, so that they can be
    renamed, and under names that no other program uses.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with uninterrupted():
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        new, old = work / "new", work / "old"
        try:
            with interrupting():
                new.mkdir()
                yield new
            swap(out, new, old)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def swap(out: Path, new: Path, old: Path) -> None:
    """Rename `out` to `old` and `new` to `out`; if that fails, `out` is restored."""
    try:
        if out.exists():
            out.rename(old)
        new.rename(out)
    except BaseException:
        if old.exists() and not out.exists():
            old.rename(out)
        raise


def _mxq_files(compiled: Path, parts: dict[str, dict[str, Any]]) -> dict[str, Path]:
    """The MXQ files of `text` and `vision`. Raises ModelFolderError if they do not belong together."""
    paths = {name: _mxq_file(compiled, name, part) for name, part in parts.items()}
    text, vision = paths["text"].name, paths["vision"].name
    if text == vision:
        raise ModelFolderError(f"prepare: config.json names {text} for both text and vision")
    text_model, vision_model = text.partition("_text_model")[0], vision.partition("_vision_transformer")[0]
    if text_model != text and vision_model != vision and text_model != vision_model:
        raise ModelFolderError(f"prepare: {MIXED}: {text} and {vision}")
    for other in sorted(path.name for path in compiled.glob("*.mxq") if path.name not in (text, vision)):
        raise ModelFolderError(f"prepare: {MIXED}: config.json does not name {other}; keep one model per folder")
    return paths


def _mxq_file(compiled: Path, name: str, part: dict[str, Any]) -> Path:
    mxq_path = part.get("mxq_path")
    if not isinstance(mxq_path, str) or not mxq_path:
        raise ModelFolderError(f"prepare: {compiled / 'config.json'} does not name the MXQ of {name} (mxq_path)")
    path = compiled / Path(mxq_path).name
    if not path.is_file():
        raise ModelFolderError(f"prepare: {compiled}: {path.name} is missing (the {name} model in config.json)")
    return path


# the weights


def _weights_header(compiled: Path, config: dict[str, Any]) -> dict[str, Any]:
    """The new header of the weights, which are the embeddings only. Raises ModelFolderError if they are not."""
    path = compiled / WEIGHTS
    try:
        with path.open("rb") as file:
            header: dict[str, Any] = json.loads(file.read(_header_length(file)))
    except FileNotFoundError:
        raise ModelFolderError(f"prepare: {compiled}: {WEIGHTS} is missing") from None
    except ValueError as error:
        raise ModelFolderError(f"prepare: {path} is not a safetensors file: {error}") from None
    keys = [key for key in header if key != "__metadata__"]
    if len(keys) != 1 or keys[0] not in files.EMBEDDINGS_NAMES:
        raise ModelFolderError(f"prepare: {MIXED}: {path} contains {_summary(keys)} instead of the embeddings only")
    shape, expected = header[keys[0]]["shape"], [config.get("vocab_size"), config.get("hidden_size")]
    if shape != expected:
        raise ModelFolderError(f"prepare: {MIXED}: {path} has embeddings of shape {shape}, config.json has {expected}")
    if (config.get("vision_config") or {}).get("hidden_size") != config.get("hidden_size"):
        raise ModelFolderError(f"prepare: {MIXED}: in config.json, vision and text differ in hidden_size")
    return {files.EMBEDDINGS if key == keys[0] else key: value for key, value in header.items()}


def _header_length(file: BinaryIO) -> int:
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= files.BLOCK:
        raise ValueError("invalid header length")
    return length


def _write_weights(source: Path, target: Path, header: dict[str, Any]) -> None:
    """Copy the data under a new header, padded to 8 bytes as the format requires."""
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with source.open("rb") as read, target.open("wb") as write:
        read.seek(_header_length(read) + 8)
        write.write(len(text).to_bytes(8, "little") + text)
        shutil.copyfileobj(read, write, files.BLOCK)


# the processor


def _processor_files(named: str, config: dict[str, Any]) -> dict[str, Path]:
    """The processor's files by name, from a folder or the Hub. Raises ModelFolderError if they do not fit the model."""
    folder = Path(named)
    if not folder.is_dir():
        if folder.is_absolute() or named.startswith(".") or named.count("/") != 1:
            raise ModelFolderError(f"prepare: there is no folder {named} (a model on the Hub is OWNER/NAME)")
        from edged.tools.hub import download  # only for a processor on the Hub: its import takes a second

        folder = download(named, PROCESSOR)
    paths = {name: folder / name for name in PROCESSOR if (folder / name).is_file()}
    missing = _missing_processor_file(paths)
    if missing:
        raise ModelFolderError(f"prepare: the processor in {named}: {missing} is missing")
    _check_preprocessor(named, paths, config)
    _check_tokenizer(named, paths, config)
    return paths


def _missing_processor_file(paths: dict[str, Path]) -> str | None:
    if "preprocessor_config.json" not in paths:
        return "preprocessor_config.json"
    if "tokenizer.json" not in paths and not {"vocab.json", "merges.txt"} <= paths.keys():
        return "tokenizer.json"
    tokenizer_config = files.read_json(paths["tokenizer_config.json"]) if "tokenizer_config.json" in paths else {}
    if not {"chat_template.jinja", "chat_template.json"} & paths.keys() and not tokenizer_config.get("chat_template"):
        return "chat_template.jinja (or chat_template.json)"
    return None


def _check_preprocessor(named: str, paths: dict[str, Path], config: dict[str, Any]) -> None:
    settings, vision = files.read_json(paths["preprocessor_config.json"]), config.get("vision_config") or {}
    for key, vision_key in (
        ("patch_size", "patch_size"),
        ("temporal_patch_size", "temporal_patch_size"),
        ("merge_size", "spatial_merge_size"),
    ):
        if key in settings and vision_key in vision and settings[key] != vision[vision_key]:
            raise ModelFolderError(
                f"prepare: {MIXED}: the processor in {named} has {key} {settings[key]}, "
                f"config.json has {vision[vision_key]}"
            )


def _check_tokenizer(named: str, paths: dict[str, Path], config: dict[str, Any]) -> None:
    if "tokenizer.json" not in paths:
        return
    added = files.read_json(paths["tokenizer.json"])["added_tokens"]
    ids = {str(token["content"]): int(token["id"]) for token in added}
    for token, key in (("<|image_pad|>", "image_token_id"), ("<|vision_end|>", "vision_end_token_id")):
        if ids.get(token) != config.get(key, ids.get(token)):
            raise ModelFolderError(
                f"prepare: {MIXED}: in the tokenizer of {named}, {token} is {ids.get(token)}; "
                f"config.json has {config[key]}"
            )


# the manifest


def _manifest(folder: Path, name: str) -> dict[str, Any]:
    entries = {
        path.name: {"bytes": path.stat().st_size, "sha256": files.sha256(path).hexdigest()}
        for path in sorted(folder.iterdir())
    }
    return {"schema": 1, "model": name, "files": entries}


def _summary(keys: list[str]) -> str:
    if not keys:
        return "nothing"
    return f"{keys[0]} and {len(keys) - 1} more" if len(keys) > 1 else keys[0]
