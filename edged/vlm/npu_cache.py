"""The KV cache of a compiled model, on the NPU."""

from __future__ import annotations

from typing import Any

import torch

from edged.vlm.npu_errors import npu_errors
from edged.vlm.npu_parts import NpuPart


class NpuCache:
    """parts.KvCache on the NPU. Rolling back only moves a pointer; `limit` was fixed when the MXQ was compiled.

    A model has one KV cache: a second NpuCache on the same model would silently overwrite it.
    """

    def __init__(self, model: Any, cache_class: Any, parts: list[NpuPart]) -> None:
        self._model = model
        self._parts = parts
        with npu_errors(parts):
            self._cache = cache_class(model.get_cache_mxq_model())
            self.limit = int(self._cache.layers[0].get_max_cache_shape())

    def prefill(self, prefix: dict[str, Any]) -> Any:
        with npu_errors(self._parts, during_look=True):
            return self._prefill(prefix)

    def try_prefill(self, prefix: dict[str, Any]) -> None:
        """`prefill` while the model is loaded: an error is one of loading, not a lost device."""
        with npu_errors(self._parts):
            self._prefill(prefix)

    def roll_back(self, length: int) -> None:
        self._cache.set_seq_length(length)

    def run(self, tokens: list[int], position: int) -> Any:
        # the compiled model has its positions built in; these only keep transformers from computing its own
        positions = torch.arange(position, position + len(tokens)).view(1, 1, -1).expand(3, 1, -1)
        with npu_errors(self._parts, during_look=True):
            return self._model(
                input_ids=torch.tensor([tokens]),
                position_ids=positions,
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=1,  # the default would make one call per token
            )

    def _prefill(self, prefix: dict[str, Any]) -> Any:
        self._cache.reset()
        self._model.model.rope_deltas = None
        return self._model(**prefix, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
