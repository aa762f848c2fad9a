"""Errors of the libraries while a model is loaded, as the owner of the box reads them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edged.core.errors import ModelError, ModelFolderError
from edged.vlm.load_errors import check_loaded, loading

NO_MEMORY = "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory"


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (MemoryError(), ModelError, "model: the weights cannot be loaded: MemoryError [MemoryError]"),
        (OSError(24, "Too many open files"), ModelError, "model: the weights cannot be loaded: {reason}"),
        (RuntimeError(NO_MEMORY), ModelError, "model: the weights cannot be loaded: {reason}"),
        (RuntimeError("CUDA out of memory."), ModelError, "model: the weights cannot be loaded: {reason}"),
        (RuntimeError("shapes do not match"), ModelFolderError, "model: the weights cannot be loaded: {reason}"),
        (TypeError("a list\nsecond line"), ModelFolderError, "model: the weights cannot be loaded: a list [TypeError]"),
        (KeyError(), ModelFolderError, "model: the weights cannot be loaded: KeyError [KeyError]"),
    ],
)
def test_what_fails_while_loading_is_told_by_its_first_line(
    error: Exception, kind: type[ModelError], text: str
) -> None:
    with pytest.raises(ModelError) as caught, loading("the weights"):
        raise error
    reason = f"{error} [{type(error).__name__}]"
    assert (type(caught.value), str(caught.value)) == (kind, text.format(reason=reason))


def test_torch_tells_in_these_words_that_there_is_not_enough_memory() -> None:
    with pytest.raises(ModelError) as caught, loading("the weights"):
        torch.empty(10**15)
    assert caught.value.code == 75


@pytest.mark.parametrize(
    ("info", "named"),
    [
        ({"missing_keys": ["b", "c", "a"], "mismatched_keys": []}, "a and 2 more"),
        ({"missing_keys": ["lm_head.weight"]}, "lm_head.weight"),
    ],
)
def test_missing_weights_are_named(tmp_path: Path, info: dict[str, list[object]], named: str) -> None:
    with pytest.raises(ModelFolderError) as caught:
        check_loaded(tmp_path, info)
    assert str(caught.value) == (
        f"model: the weights in {tmp_path} do not contain {named}; they belong to another model"
    )
    check_loaded(tmp_path, {"missing_keys": [], "mismatched_keys": []})
