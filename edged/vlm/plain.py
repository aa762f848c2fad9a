"""Loads an uncompiled Qwen2-VL, on CPU or GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, DynamicCache

from edged.vlm.chat import Chat
from edged.vlm.load_errors import check_loaded, loading
from edged.vlm.parts import CheckedFolder, LoadedModel
from edged.vlm.processor import NoVideoProcessor, load_processor
from edged.vlm.weights import own_weights


class PlainCache:
    """parts.KvCache of an uncompiled model, on CPU or GPU."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._cache: Any = None
        self._rope_delta = 0
        self.limit = int(model.config.get_text_config().max_position_embeddings)

    def prefill(self, prefix: dict[str, Any]) -> Any:
        self._cache = DynamicCache()
        # a delta left from the previous picture would silently shift every position
        self._model.model.rope_deltas = None
        output = self._model(**prefix, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
        self._rope_delta = int(self._model.model.rope_deltas)
        return output

    def roll_back(self, length: int) -> None:
        self._cache.crop(length)

    def run(self, tokens: list[int], position: int) -> Any:
        device = self._model.device
        # with an attention mask, the model would compute positions for the whole sequence instead of these tokens
        positions = torch.arange(position, position + len(tokens), device=device) + self._rope_delta
        return self._model(
            input_ids=torch.tensor([tokens], device=device),
            position_ids=positions.view(1, 1, -1).expand(3, 1, -1),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )


def check_plain(path: Path) -> CheckedFolder:
    """Check an uncompiled folder. Raises ModelFolderError. `load` puts the model on the GPU if there is one."""
    processor = load_processor(NoVideoProcessor, path)
    Chat(processor).prefix()  # raises if the template inserts no picture
    return CheckedFolder(processor, lambda: _loaded(path, processor))


def best_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _loaded(path: Path, processor: Any) -> LoadedModel:
    device = best_device()
    with loading(str(path)):
        model, info = AutoModelForImageTextToText.from_pretrained(
            path,
            # the folder's own type is often bfloat16, which is slow and less exact on a CPU
            dtype=torch.bfloat16 if device.type == "cuda" else torch.float32,
            local_files_only=True,
            output_loading_info=True,
        )
    check_loaded(path, info)
    with loading(str(path)):
        own_weights(model)
        model = model.to(device).eval()
    return LoadedModel(model, processor, PlainCache(model), device.type)
