"""Errors of the libraries while a model is loaded, as the owner of the box reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edged.core.errors import ModelError, ModelFolderError
from edged.vlm.load_errors import check_loaded, loading


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (MemoryError(), ModelError, "model: not enough memory for the weights"),
        (TypeError("a list\nsecond line"), ModelFolderError, "model: the weights cannot be loaded: a list [TypeError]"),
        (KeyError(), ModelFolderError, "model: the weights cannot be loaded: KeyError [KeyError]"),
    ],
)
def test_what_fails_while_loading_is_told_by_its_first_line(
    error: Exception, kind: type[ModelError], text: str
) -> None:
    with pytest.raises(ModelError) as caught, loading("the weights"):
        raise error
    assert (type(caught.value), str(caught.value)) == (kind, text)


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
