"""The real Qwen2VL with a language model that invents its logits, and question values with a check of what they allow.

Everything but the network itself is real: chat template, tokenizer, KV cache bookkeeping, grammar, sampling, stop.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
import torch

from edged.vlm.grammar_tokenizer import GrammarTokenizer
from edged.vlm.parts import LoadedModel
from edged.vlm.processor import NoVideoProcessor, load_processor
from edged.vlm.qwen2vl import Qwen2VL

END = "<|im_end|>"
LARGEST = float(np.finfo(np.float32).max)


class Mood(Protocol):
    """What the language model prefers at one step. `names` gives the tokens for a text, `size` is the vocabulary's."""

    def logits(self, size: int, step: int, tokens: Callable[[str], list[int]]) -> np.ndarray: ...


@dataclass(frozen=True)
class Noise:
    """Random logits, up to `scale`."""

    seed: int
    scale: float

    def logits(self, size: int, step: int, tokens: Callable[[str], list[int]]) -> np.ndarray:
        values = np.random.default_rng([self.seed, step]).uniform(-1, 1, size)
        return (values * self.scale).astype(np.float32)


@dataclass(frozen=True)
class Flat:
    """All tokens are equally likely."""

    value: float

    def logits(self, size: int, step: int, tokens: Callable[[str], list[int]]) -> np.ndarray:
        return np.full(size, self.value, dtype=np.float32)


@dataclass(frozen=True)
class Dictated:
    """Wants to say this text, token by token, and then to end, or to say it again and again."""

    text: str
    endless: bool = False

    def logits(self, size: int, step: int, tokens: Callable[[str], list[int]]) -> np.ndarray:
        values = np.zeros(size, dtype=np.float32)
        wanted = tokens(self.text if self.endless else self.text + END)
        values[wanted[step % len(wanted) if self.endless else min(step, len(wanted) - 1)]] = 50.0
        return values


@dataclass(frozen=True)
class Fixed:
    """Always wants these tokens, by number, and none of the others; each as much as the others of them."""

    numbers: tuple[int, ...]
    others: float

    def logits(self, size: int, step: int, tokens: Callable[[str], list[int]]) -> np.ndarray:
        values = np.full(size, self.others, dtype=np.float32)
        values[[number % size for number in self.numbers]] = LARGEST
        return values


@dataclass(frozen=True)
class Poisoned:
    """Another mood with a value that is not finite, of one token, or of all (None)."""

    mood: Mood
    value: float
    number: int | None

    def logits(self, size: int, step: int, tokens: Callable[[str], list[int]]) -> np.ndarray:
        values = self.mood.logits(size, step, tokens)
        values[slice(None) if self.number is None else self.number % size] = self.value
        return values


class InventedCache:
    """parts.KvCache without a network. Checks that no more is written to it than it holds.

    `moods` are those of the steps after the prefill, the last one for all that follow. `poisoned` is true once the
    logits were not finite.
    """

    def __init__(self, size: int, limit: int, tokens: Callable[[str], list[int]]) -> None:
        self._size, self.limit, self._tokens = size, limit, tokens
        self.moods: Sequence[Mood] = [Flat(0.0)]
        self.runs = 0
        self.poisoned = False
        self.stop = threading.Event()
        self._stops_after: int | None = None
        self._length = 0

    def begin(self, moods: Sequence[Mood], stops_after: int | None = None) -> None:
        """Forget what was before. `stop` is set after so many steps; None: never."""
        self.moods, self.runs, self.poisoned = moods, 0, False
        self.stop.clear()
        self._stops_after = stops_after
        if stops_after == 0:
            self.stop.set()

    def prefill(self, prefix: dict[str, Any]) -> None:
        self._length = prefix["input_ids"].shape[1]

    def roll_back(self, length: int) -> None:
        assert 0 <= length <= self._length
        self._length = length

    def run(self, tokens: list[int], position: int) -> Any:
        assert tokens, "a step without a token has no logits"
        assert position == self._length
        self._length += len(tokens)
        assert self._length <= self.limit, "more tokens than the KV cache holds"
        mood = self.moods[min(self.runs, len(self.moods) - 1)]
        logits = mood.logits(self._size, self.runs, self._tokens)
        self.runs += 1
        if self.runs == self._stops_after:
            self.stop.set()
        self.poisoned |= not np.isfinite(logits).all()
        return SimpleNamespace(logits=torch.from_numpy(logits)[None, None])


class Adversary:
    """`model` is what edged uses; `cache` decides what it says."""

    def __init__(self, folder: Path, limit: int = 4096) -> None:
        self.processor = load_processor(NoVideoProcessor, folder)
        self.tokenizer = self.processor.tokenizer
        self.size = len(self.tokenizer) + 8  # models have more rows than their tokenizer has tokens
        self.cache = InventedCache(self.size, limit, self.numbers)
        ends = [self.tokenizer.eos_token_id, self.tokenizer.convert_tokens_to_ids("<|endoftext|>")]
        network = SimpleNamespace(device=torch.device("cpu"), generation_config=SimpleNamespace(eos_token_id=ends))
        loaded = LoadedModel(network, self.processor, self.cache, "cpu")
        self.model = Qwen2VL(loaded, GrammarTokenizer(self.tokenizer, self.size), name="adversary", revision="r1")

    def numbers(self, text: str) -> list[int]:
        numbers: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return numbers


def conforms(value: Any, schema: Any) -> bool:
    """True if the value follows the JSON schema. Knows the keywords that the properties use, and no others."""
    if schema in ({}, True):
        return is_json(value)
    if "anyOf" in schema and not any(conforms(value, part) for part in schema["anyOf"]):
        return False
    if "enum" in schema and not any(_equal(value, each) for each in schema["enum"]):
        return False
    if "const" in schema and not _equal(value, schema["const"]):
        return False
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    return (not kinds or any(_is(value, kind) for kind in kinds)) and _within(value, schema)


def is_json(value: Any) -> bool:
    """True for a finite value of JSON, as Python reads it."""
    match value:
        case None | bool() | str() | int():
            return True
        case float():
            return math.isfinite(value)
        case list():
            return all(map(is_json, value))
        case dict():
            return all(isinstance(key, str) and is_json(part) for key, part in value.items())
    return False


def _is(value: Any, kind: str) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    match kind:
        case "integer":
            return is_number and float(value).is_integer()
        case "number":
            return is_number and math.isfinite(value)
    return isinstance(value, {"string": str, "boolean": bool, "null": type(None), "array": list, "object": dict}[kind])


def _within(value: Any, schema: dict[str, Any]) -> bool:
    match value:
        case None | bool():
            return True
        case int() | float():
            return bool(schema.get("minimum", -math.inf) <= value <= schema.get("maximum", math.inf))
        case str():
            return bool(schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", math.inf))
        case list():
            sized = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", math.inf)
            return sized and all(conforms(item, schema.get("items", {})) for item in value)
        case dict():
            own = schema.get("properties", {})
            return set(schema.get("required", ())) <= value.keys() and all(
                conforms(part, own.get(key, {})) for key, part in value.items()
            )
    return False


def _equal(one: Any, other: Any) -> bool:
    """llguidance reads numbers of a schema without their last bit: 1.0028674997084053e-185 becomes …051e-185."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-15)
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
