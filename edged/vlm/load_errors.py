"""Errors while a model is loaded, as ModelFolderError or ModelError."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edged.core.errors import ModelError, ModelFolderError


@contextmanager
def loading(subject: str) -> Iterator[None]:
    """Turns any error of the libraries into a ModelFolderError: the files have to be changed.

    The libraries validate little: a list where they expect a mapping is a TypeError.
    """
    try:
        yield
    except MemoryError as error:
        raise ModelError(f"model: not enough memory for {subject}") from error
    except Exception as error:
        reason = f"{first_line(error)} [{type(error).__name__}]"
        raise ModelFolderError(f"model: {subject} cannot be loaded: {reason}") from error


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
