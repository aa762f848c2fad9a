"""The parts of a loaded model, compiled or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


class KvCache(Protocol):
    """The KV cache of one model. `limit` is its capacity in tokens."""

    limit: int

    def prefill(self, prefix: dict[str, Any]) -> Any:
        """Empty the cache, then encode the picture and prefill the prefix with it. Returns the model's output."""

    def roll_back(self, length: int) -> None:
        """Keep the first `length` tokens only."""

    def run(self, tokens: list[int], position: int) -> Any:
        """Run the model on these tokens, the first of which is at `position`. Returns the model's output."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model on its device, see VisionModel.device. `dispose` releases the device."""

    model: Any
    processor: Any
    cache: KvCache
    device: str
    dispose: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class CheckedFolder:
    """A model's folder after every check that needs neither weights nor device.

    `load` reads the weights and starts the device.
    """

    processor: Any
    load: Callable[[], LoadedModel]
