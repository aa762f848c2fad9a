"""A failed call of torch is survived, unless the GPU has failed for the rest of the process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support.making import frame

from edged.core.errors import ModelError, ModelLost
from edged.vlm.cached_prompt import CachedPrompt
from edged.vlm.grammar_tokenizer import GrammarTokenizer
from edged.vlm.plain import check_plain
from edged.vlm.qwen2vl import Qwen2VL

ILLEGAL = "CUDA error: an illegal memory access was encountered"


class Gpu:
    """What torch says of a GPU, while `broken` to each call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, initialized: bool = True, broken: bool = False) -> None:
        self.broken = broken
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: initialized)
        monkeypatch.setattr(torch.cuda, "synchronize", self.wait)

    def wait(self) -> None:
        if self.broken:
            raise RuntimeError(f"{ILLEGAL}\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1")


class Cache:
    """A KV cache whose calls raise `error`, or whose logits do once they are waited for."""

    limit = 100

    def __init__(self, error: Exception, late: bool = False) -> None:
        self.error, self.late = error, late

    def prefill(self, inputs: dict[str, Any]) -> None:
        if not self.late:
            raise self.error

    def run(self, tokens: list[int], position: int) -> Any:
        if not self.late:
            raise self.error
        return SimpleNamespace(logits=self)

    def __getitem__(self, _: object) -> None:
        raise self.error


def prefill(prompt: CachedPrompt) -> None:
    prompt.prefill_prefix({"input_ids": torch.tensor([[1, 2]])})


def run(prompt: CachedPrompt) -> None:
    prompt.run([1])


def failure(cache: Any, call: Callable[[CachedPrompt], None] = prefill) -> ModelError:
    with pytest.raises(ModelError) as caught:
        call(CachedPrompt(cache))
    return caught.value


@pytest.mark.parametrize(("call", "late"), [(prefill, False), (run, False), (run, True)])
def test_a_gpu_that_fails_at_everything_is_lost(
    monkeypatch: pytest.MonkeyPatch, call: Callable[[CachedPrompt], None], late: bool
) -> None:
    gpu = Gpu(monkeypatch, broken=True)
    error = failure(Cache(RuntimeError(f"{ILLEGAL}\nMore"), late), call)
    assert (type(error), str(error)) == (ModelLost, f"model: {ILLEGAL}")
    gpu.broken = False
    assert type(failure(Cache(RuntimeError("CUDA error: invalid argument"), late), call)) is ModelError


def test_an_error_without_a_gpu_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    Gpu(monkeypatch, initialized=False, broken=True)
    error = failure(Cache(RuntimeError("shapes differ")))
    assert (type(error), str(error)) == (ModelError, "model: shapes differ")


def test_a_gpu_without_memory_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    Gpu(monkeypatch)
    error = failure(Cache(torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")))
    assert type(error) is ModelError
    assert str(error) == "model: out of memory; use smaller pictures or a lower max_new_tokens"


class Unmovable:
    """A processor whose pictures cannot be copied to the GPU."""

    def __init__(self, processor: Any) -> None:
        self._processor = processor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._processor, name)

    def __call__(self, **_: object) -> Any:
        return self

    def to(self, _: object) -> None:
        raise RuntimeError(ILLEGAL)


def test_a_gpu_that_takes_no_more_pictures_is_lost(monkeypatch: pytest.MonkeyPatch, tiny_folder: Path) -> None:
    loaded = check_plain(tiny_folder).load()
    tokenizer = loaded.processor.tokenizer
    loaded = replace(loaded, processor=Unmovable(loaded.processor))
    model = Qwen2VL(loaded, GrammarTokenizer(tokenizer, len(tokenizer)), "tiny", "r1")
    Gpu(monkeypatch, broken=True)
    with pytest.raises(ModelLost, match=f"^model: {ILLEGAL}$"):
        model.encode(frame())
