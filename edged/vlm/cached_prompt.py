"""The tokens in a model's KV cache, and how much of a prompt still has to be prefilled."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edged.vlm.parts import KvCache
from edged.vlm.torch_errors import torch_errors


class CachedPrompt:
    """Prefills the prefix with its picture once, then only the tokens that a prompt does not share with the cache."""

    def __init__(self, cache: KvCache) -> None:
        self._cache = cache
        self._tokens: list[int] = []  # in the cache
        self.prefix: list[int] = []  # empty before the first picture, and after an error
        self.limit = cache.limit

    def prefill_prefix(self, inputs: dict[str, Any]) -> None:
        """Replace the cache's content by this prefix. Raises ModelError."""
        self.forget()
        with torch.inference_mode(), torch_errors():
            tokens: list[int] = inputs["input_ids"][0].tolist()
            self._cache.prefill(inputs)
        self.prefix, self._tokens = tokens, list(tokens)

    def forget(self) -> None:
        """The cache's content is not known any more; a prefix has to be prefilled first."""
        self.prefix, self._tokens = [], []

    def roll_back(self, prompt: list[int]) -> list[int]:
        """Roll the cache back to the longest common prefix with this prompt. Returns the tokens still to be run."""
        pairs = enumerate(zip(self._tokens, prompt, strict=False))
        differs = next((i for i, (cached, wanted) in pairs if cached != wanted), None)
        keep = min(len(self._tokens), len(prompt)) if differs is None else differs
        keep = min(keep, len(prompt) - 1)  # at least one token has to be run, for its logits
        self._cache.roll_back(keep)
        self._tokens = self._tokens[:keep]
        return prompt[keep:]

    def run(self, tokens: list[int]) -> NDArray[np.float32]:
        """Run the model on these tokens. Returns the logits after the last one. Raises ModelError."""
        with torch.inference_mode(), torch_errors():
            output = self._cache.run(tokens, len(self._tokens))
            logits: NDArray[np.float32] = output.logits[0, -1].float().cpu().numpy().astype(np.float32, copy=False)
        self._tokens += tokens
        return logits
