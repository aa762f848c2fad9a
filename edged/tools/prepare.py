"""From what the compile tutorial leaves behind, and a processor, to one folder that needs no network.

Everything is judged before anything is written, and the folder appears whole or not at all. No torch: the weights are
passed on as bytes.
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
from edged.core.npu_cores import NPU_KEYS, Cores, of_config, parsed
from edged.vlm import folder as files

WEIGHTS = "model.safetensors"
PROCESSOR = (
    "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt",
    "added_tokens.json", "special_tokens_map.json", "chat_template.jinja", "chat_template.json",
    "generation_config.json",
)  # fmt: skip
MIXED = "these files are not of one model"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What came of it."""

    folder: Path
    name: str
    revision: str
    cores: dict[str, Cores]


def prepare(compiled: Path, processor: str, out: Path, words: Mapping[str, str]) -> Prepared:
    """Write the folder `out`. `words` are the cores of `text` and `vision`, where config.json's are not wanted.

    Raises ModelFolderError naming the file that is missing, or that does not belong to the others.
    """
    _check_place(out, compiled)
    config = files.read_json(compiled / "config.json")
    if config.get("model_type") != files.COMPILED:
        family = config.get("model_type") or "model of no type"
        raise ModelFolderError(f"prepare: {compiled} holds a {family}, not a compiled Qwen2-VL ({files.COMPILED})")
    parts = files.compiled_parts(config)
    mxq = _mxq_files(compiled, parts)
    cores = {name: _cores(name, part, words) for name, part in parts.items()}
    header = _weights(compiled, config)
    source = _processor(processor, config)

    for name, part in parts.items():
        for key in NPU_KEYS:
            part.pop(key, None)
        part |= {"mxq_path": mxq[name].name, **cores[name].settings()}
    config["torch_dtype"] = (
        "float32"  # what the vendor's code hands the NPU; transformers 5 would take the file's bfloat16
    )
    config.pop("dtype", None)

    try:
        with _replacing(out) as new:
            for path in [*mxq.values(), *source.values()]:
                shutil.copyfile(path, new / path.name)
            _write_weights(compiled / WEIGHTS, new / WEIGHTS, header)
            (new / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False), encoding="utf-8")
            manifest = _manifest(new, config.get("_name_or_path") or out.name)
            (new / files.MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")
            files.read_config(new)
    except OSError as error:
        raise ModelFolderError(f"prepare: {out} cannot be written: {error.strerror or error}") from None
    return Prepared(out, manifest["model"], files.manifest_revision(manifest), cores)


def _check_place(out: Path, compiled: Path) -> None:
    if out.resolve() == compiled.resolve():
        raise ModelFolderError("prepare: --out must be another folder than --compiled, whose files stay as they are")
    if not out.exists():
        return
    present = {path.name for path in out.iterdir()} if out.is_dir() else {""}
    own = _listed(out) if files.MANIFEST in present else set()
    if not own and present:
        raise ModelFolderError(f"prepare: {out} exists and was not made by edged prepare; choose another --out")
    for name in sorted(present - own):
        raise ModelFolderError(f"prepare: {out} also holds {name}, which would be deleted; move it to another folder")


def _listed(out: Path) -> set[str]:
    """The files of an earlier run, as its manifest names them; none if there is no telling."""
    try:
        return {files.MANIFEST, *files.read_json(out / files.MANIFEST)["files"]}
    except (ModelFolderError, KeyError, TypeError):
        return set()


@contextmanager
def _replacing(out: Path) -> Iterator[Path]:
    """An empty folder that takes the place of `out` at the end; after an error, `out` is as it was.

    Both it and the old `out` are kept in a new folder beside `out` meanwhile, so that renaming is enough and no name
    there can be another program's.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    room = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    new, old = room / "new", room / "old"
    try:
        new.mkdir()
        yield new
        _swap(out, new, old)
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _swap(out: Path, new: Path, old: Path) -> None:
    """Put `new` in the place of `out`, which becomes `old`."""
    if out.exists():
        out.rename(old)
    try:
        new.rename(out)
    except BaseException:
        if old.exists():
            old.rename(out)
        raise


def _mxq_files(compiled: Path, parts: dict[str, dict[str, Any]]) -> dict[str, Path]:
    found = {}
    for name, part in parts.items():
        path = part.get("mxq_path")
        if not isinstance(path, str) or not path:
            raise ModelFolderError(f"prepare: {compiled / 'config.json'} does not name the MXQ of {name} (mxq_path)")
        found[name] = compiled / Path(path).name
        if not found[name].is_file():
            raise ModelFolderError(f"prepare: {compiled} lacks {found[name].name}, the {name} model of its config.json")
    text, vision = found["text"].name, found["vision"].name
    if text == vision:
        raise ModelFolderError(f"prepare: config.json names {text} for both text and vision")
    first, second = text.partition("_text_model")[0], vision.partition("_vision_transformer")[0]
    if first != text and second != vision and first != second:
        raise ModelFolderError(f"prepare: {MIXED}: {text} and {vision}")
    for other in sorted(path.name for path in compiled.glob("*.mxq") if path.name not in (text, vision)):
        raise ModelFolderError(f"prepare: {MIXED}: config.json does not name {other}; keep one model in a folder")
    return found


def _cores(name: str, part: dict[str, Any], words: Mapping[str, str]) -> Cores:
    try:
        return parsed(words[name]) if name in words else of_config(part)
    except ValueError as error:
        word = f'"{words[name]}" ' if name in words else ""
        raise ModelFolderError(f"prepare: the cores of {name}: {word}{error}") from None


# the weights


def _weights(compiled: Path, config: dict[str, Any]) -> dict[str, Any]:
    """The header that the file is to get. The file holds the embeddings alone."""
    path = compiled / WEIGHTS
    try:
        with path.open("rb") as file:
            header: dict[str, Any] = json.loads(file.read(_header_length(file)))
    except FileNotFoundError:
        raise ModelFolderError(f"prepare: {compiled} lacks {WEIGHTS}") from None
    except (OSError, ValueError) as error:
        raise ModelFolderError(f"prepare: {path} is not a safetensors file: {error}") from None
    keys = [key for key in header if key != "__metadata__"]
    if len(keys) != 1 or keys[0] not in files.EMBEDDINGS_NAMES:
        raise ModelFolderError(f"prepare: {MIXED}: {path} holds {_some(keys)} and not the embeddings alone")
    shape, wanted = header[keys[0]]["shape"], [config.get("vocab_size"), config.get("hidden_size")]
    if shape != wanted:
        raise ModelFolderError(f"prepare: {MIXED}: {path} has embeddings of {shape}, config.json wants {wanted}")
    if (config.get("vision_config") or {}).get("hidden_size") != config.get("hidden_size"):
        raise ModelFolderError(f"prepare: {MIXED}: in config.json, vision and text differ in hidden_size")
    return {files.EMBEDDINGS if key == keys[0] else key: value for key, value in header.items()}


def _header_length(file: BinaryIO) -> int:
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= files.BLOCK:
        raise ValueError("its header has an impossible length")
    return length


def _write_weights(source: Path, target: Path, header: dict[str, Any]) -> None:
    """The same data under a new header, padded to 8 bytes as the format wants."""
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with source.open("rb") as read, target.open("wb") as write:
        read.seek(_header_length(read) + 8)
        write.write(len(text).to_bytes(8, "little") + text)
        shutil.copyfileobj(read, write, files.BLOCK)


# the processor


def _processor(named: str, config: dict[str, Any]) -> dict[str, Path]:
    """The processor's files by name, of a folder or of the Hub, judged to be of this model."""
    path = Path(named)
    if not path.is_dir():
        if path.is_absolute() or named.startswith(".") or named.count("/") != 1:
            raise ModelFolderError(f"prepare: there is no folder {named} (a model of the Hub is OWNER/NAME)")
        path = _fetched(named)
    found = {name: path / name for name in PROCESSOR if (path / name).is_file()}
    if "preprocessor_config.json" not in found:
        raise ModelFolderError(f"prepare: the processor in {named} lacks preprocessor_config.json")
    if "tokenizer.json" not in found and not {"vocab.json", "merges.txt"} <= found.keys():
        raise ModelFolderError(f"prepare: the processor in {named} lacks tokenizer.json")
    told = files.read_json(found["tokenizer_config.json"]) if "tokenizer_config.json" in found else {}
    if not {"chat_template.jinja", "chat_template.json"} & found.keys() and not told.get("chat_template"):
        raise ModelFolderError(f"prepare: the processor in {named} lacks chat_template.jinja (or chat_template.json)")
    _check_processor(named, found, config)
    return found


def _check_processor(named: str, found: dict[str, Path], config: dict[str, Any]) -> None:
    pictures, vision = files.read_json(found["preprocessor_config.json"]), config.get("vision_config") or {}
    for key, other in (
        ("patch_size", "patch_size"),
        ("temporal_patch_size", "temporal_patch_size"),
        ("merge_size", "spatial_merge_size"),
    ):
        if key in pictures and other in vision and pictures[key] != vision[other]:
            raise ModelFolderError(
                f"prepare: {MIXED}: the processor in {named} has {key} {pictures[key]}, config.json {vision[other]}"
            )
    if "tokenizer.json" not in found:
        return
    marks = {str(mark["content"]): int(mark["id"]) for mark in files.read_json(found["tokenizer.json"])["added_tokens"]}
    for mark, key in (("<|image_pad|>", "image_token_id"), ("<|vision_end|>", "vision_end_token_id")):
        if marks.get(mark) != config.get(key, marks.get(mark)):
            raise ModelFolderError(
                f"prepare: {MIXED}: in the tokenizer of {named}, {mark} is {marks.get(mark)}; "
                f"config.json has {config[key]}"
            )


def _fetched(name: str) -> Path:
    from httpx import HTTPError
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=list(PROCESSOR)))
    except GatedRepoError as error:
        why = "no access: it is gated; accept its terms on the Hub, then run hf auth login"
        raise ModelFolderError(f"prepare: the processor {name} could not be downloaded: {why}") from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        why = "the name: there is no such model on the Hub, or it is private and needs hf auth login"
        raise ModelFolderError(f"prepare: the processor {name} could not be downloaded: {why}") from error
    except (HTTPError, OSError, ValueError) as error:
        why = "the network: the Hub cannot be reached; download it on another machine and name its folder instead"
        raise ModelFolderError(
            f"prepare: the processor {name} could not be downloaded: {why} [{type(error).__name__}]"
        ) from error


# the manifest


def _manifest(folder: Path, name: str) -> dict[str, Any]:
    found = {
        path.name: {"bytes": path.stat().st_size, "sha256": files.sha256(path).hexdigest()}
        for path in sorted(folder.iterdir())
    }
    return {"schema": 1, "model": name, "files": found}


def _some(keys: list[str]) -> str:
    return f"{keys[0]} and {len(keys) - 1} more" if len(keys) > 1 else keys[0] if keys else "nothing"
