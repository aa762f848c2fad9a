"""Errors while a model is loaded, as ModelFolderError or ModelError."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edged.core.errors import ModelError, ModelFolderError, is_shortage

OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")  # torch on Linux, elsewhere, CUDA


@contextmanager
def loading(subject: str) -> Iterator[None]:
    """Turns any error of the libraries into a ModelFolderError: the files have to be changed.

    The libraries validate little: a list where they expect a mapping is a TypeError. A ModelError if memory or
    descriptors have run out.
    """
    try:
        yield
    except Exception as error:
        reason = f"{first_line(error)} [{type(error).__name__}]"
        error_class = ModelError if has_run_out(error) else ModelFolderError
        raise error_class(f"model: {subject} cannot be loaded: {reason}") from error


def has_run_out(error: BaseException) -> bool:
    """True if memory or descriptors have: it may work at another time. torch has no class for that on a CPU."""
    if isinstance(error, MemoryError) or is_shortage(error):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)


def check_loaded(path: Path, info: dict[str, Any]) -> None:
    """Raises ModelFolderError if weights were missing: transformers only warns and leaves them random."""
    missing = sorted(str(key) for key in [*info["missing_keys"], *info.get("mismatched_keys", [])])
    if missing:
        raise missing_weights(path, missing)


def missing_weights(path: Path, names: list[str]) -> ModelFolderError:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return ModelFolderError(
        f"model: the weights in {path} do not contain {names[0]}{more}; they belong to another model"
    )


def first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
