"""An uncompiled Qwen2-VL, on CPU or GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, DynamicCache

from edged.vlm.chat import Chat
from edged.vlm.parts import ModelParts, NoVideoProcessor, Unloaded, check_loaded, load_processor, loading


class PlainCache:
    """The cache of an uncompiled model, on CPU or GPU."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._cache: Any = None
        self._delta = 0
        self.limit = int(model.config.get_text_config().max_position_embeddings)

    def begin(self, prefix: dict[str, Any]) -> Any:
        self._cache = DynamicCache()
        # a delta left over from another picture would shift every position without a word
        self._model.model.rope_deltas = None
        output = self._model(**prefix, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
        self._delta = int(self._model.model.rope_deltas)
        return output

    def roll_back(self, length: int) -> None:
        self._cache.crop(length)

    def run(self, ids: list[int], start: int) -> Any:
        device = self._model.device
        # with a mask, the model would lay out positions for the whole length instead of the tail
        positions = torch.arange(start, start + len(ids), device=device) + self._delta
        return self._model(
            input_ids=torch.tensor([ids], device=device),
            position_ids=positions.view(1, 1, -1).expand(3, 1, -1),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )


def open_plain(path: Path) -> Unloaded:
    """The folder. Raises ModelFolderError. `load` puts the model on the GPU if there is one."""
    processor = load_processor(NoVideoProcessor, path)
    Chat(processor).prefix()  # raises if the template has no picture
    return Unloaded(processor, lambda: _loaded(path, processor))


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _loaded(path: Path, processor: Any) -> ModelParts:
    place = device()
    with loading(str(path)):
        model, info = AutoModelForImageTextToText.from_pretrained(
            path,
            # the folder's own type is often bfloat16, which a CPU computes slowly and less exactly
            dtype=torch.bfloat16 if place.type == "cuda" else torch.float32,
            local_files_only=True,
            output_loading_info=True,
        )
    check_loaded(path, info)
    model = model.to(place).eval()
    return ModelParts(model, processor, PlainCache(model))
