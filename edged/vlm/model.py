"""A Qwen2-VL that encodes a frame once and answers many questions about it.

The conversation up to `<|vision_end|>` is the same for every question of a look, so it is run once. Each question rolls
the KV cache back to what it shares with the tokens already there, and prefills only its own tail.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event as StopSignal
from threading import Lock
from typing import Any, Literal, Protocol

import numpy as np
import torch
import transformers
from PIL import Image
from safetensors import SafetensorError
from transformers import AutoModelForImageTextToText, DynamicCache

from edged.core import Frame, ModelError, ModelFolderError, Reply, Stopped, Turn
from edged.specs import ModelSpec, QuestionSpec
from edged.vlm import folder as files
from edged.vlm.decode import Reading, Spelling
from edged.vlm.mobilint import open_compiled
from edged.vlm.parts import NoVideoProcessor, Parts, check_loaded, first_line, load_processor

log = logging.getLogger("edged.model")

VISION_END = "<|vision_end|>"
LOADING = Lock()  # loading sets things in transformers and torch that hold for all threads


class Cache(Protocol):
    """The KV cache of one model, and how tokens are run through it. `limit` is how many tokens it holds."""

    limit: int

    def begin(self, prefix: dict[str, Any]) -> Any:
        """Forget everything, then run the prefix with its picture; the model's output."""

    def roll_back(self, length: int) -> None:
        """Keep the first `length` tokens."""

    def run(self, ids: list[int], start: int) -> Any:
        """Run these tokens, the first of which is number `start`; the model's output."""


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


class Qwen2VL:
    """core.VisionModel on transformers' classes. Not for two threads at once."""

    def __init__(
        self,
        model: Any,
        processor: Any,
        cache: Cache,
        name: str,
        revision: str,
        fit: Literal["stretch", "letterbox"] = "stretch",
        dispose: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.revision = revision
        self._device = model.device
        self._processor = processor
        self._tokenizer = processor.tokenizer
        self._cache = cache
        self._fit = fit
        self._side = _fixed_side(processor.image_processor)
        self._dispose: Callable[[], None] | None = dispose
        self._ends = _end_marks(model.generation_config, self._tokenizer)
        self._spelling = Spelling(self._tokenizer, model.config.get_text_config().vocab_size)
        self._prefix: list[int] = []
        self._cached: list[int] = []  # what the cache holds, as tokens

    def check(self, questions: Sequence[QuestionSpec]) -> None:
        for question in questions:
            grammar = question.answer.grammar()
            if grammar is None:
                continue
            if word := self._spelling.cannot_spell(question.answer):
                raise ModelFolderError(f'question "{question.name}": this model\'s tokenizer cannot spell "{word}"')
            try:
                self._spelling.matcher(grammar)
            except ValueError as error:
                raise ModelFolderError(
                    f'question "{question.name}": no grammar can be made of this answer: {error}'
                ) from None

    def see(self, frame: Frame) -> float:
        begun = time.perf_counter()
        self._prefix, self._cached = [], []
        picture = self._sized(Image.fromarray(frame.rgb))
        text = self._rendered([], "")
        prefix = text.partition(VISION_END)[0] + VISION_END
        inputs = self._processor(images=[picture], text=[prefix], return_tensors="pt").to(self._device)
        ids: list[int] = inputs["input_ids"][0].tolist()
        with torch.inference_mode(), _in_our_words():
            self._cache.begin(dict(inputs))
        self._prefix, self._cached = ids, list(ids)
        return (time.perf_counter() - begun) * 1000

    def ask(
        self,
        history: Sequence[Turn],
        question: QuestionSpec,
        stop: StopSignal,
        on_text: Callable[[str], None] | None = None,
    ) -> Reply:
        if not self._prefix:
            raise ModelError("there is no frame that the model has seen")
        begun = time.monotonic()
        wanted = [*self._prefix, *self._tail(history, question.prompt)]
        generation = question.generation
        if len(wanted) + generation.max_new_tokens - 1 > self._cache.limit:
            return Reply("", "no_room", None, 0, 0.0)
        reading = Reading(self._spelling, question.answer.grammar(), generation, self._ends)
        try:
            ended, runs = self._generate(wanted, reading, question, stop, begun + generation.deadline_s, on_text)
        except Stopped:
            raise
        except BaseException:
            self._prefix = []  # nothing is known of the cache any more: the next look begins anew
            raise
        return Reply(
            text=self._text(reading.tokens),
            ended=ended,
            confidence=reading.confidence if ended == "done" else None,
            steps=max(0, runs - 1),
            answer_ms=(time.monotonic() - begun) * 1000,
        )

    def dispose(self) -> None:
        dispose, self._dispose = self._dispose, None
        self._prefix = []
        if dispose:
            dispose()

    def _generate(
        self,
        wanted: list[int],
        reading: Reading,
        question: QuestionSpec,
        stop: StopSignal,
        deadline: float,
        on_text: Callable[[str], None] | None,
    ) -> tuple[Literal["done", "length", "deadline"], int]:
        pending = self._rolled_back(wanted)
        seen, runs, shown = list(wanted), 0, 0
        while True:
            forced = reading.forced()
            pending, seen = [*pending, *forced], [*seen, *forced]
            shown = self._stream(reading, shown, on_text)
            if reading.done:
                return "done", runs
            if len(reading.tokens) >= question.generation.max_new_tokens:
                return "length", runs
            if stop.is_set():
                raise Stopped
            if time.monotonic() >= deadline:
                return "deadline", runs
            token = reading.choose(self._run(pending), seen)
            runs += 1
            pending = [] if token is None else [token]
            seen = [*seen, *pending]

    def _rolled_back(self, wanted: list[int]) -> list[int]:
        """Roll the cache back to what it shares with the wanted tokens; those that are still to be run."""
        shared = next((i for i, (a, b) in enumerate(zip(self._cached, wanted, strict=False)) if a != b), None)
        keep = min(len(self._cached), len(wanted)) if shared is None else shared
        keep = min(keep, len(wanted) - 1)  # one token at least has to be run, for its logits
        self._cache.roll_back(keep)
        self._cached = self._cached[:keep]
        return wanted[keep:]

    def _run(self, ids: list[int]) -> Any:
        with torch.inference_mode(), _in_our_words():
            output = self._cache.run(ids, len(self._cached))
        self._cached += ids
        return output.logits[0, -1].float().cpu().numpy().astype(np.float32, copy=False)

    def _tail(self, history: Sequence[Turn], prompt: str) -> list[int]:
        after = self._rendered(history, prompt).partition(VISION_END)[2]
        ids: list[int] = self._tokenizer(after, add_special_tokens=False)["input_ids"]
        return ids

    def _rendered(self, history: Sequence[Turn], prompt: str) -> str:
        turns = [*((turn.prompt, turn.reply) for turn in history), (prompt, None)]
        messages: list[dict[str, Any]] = []
        for number, (asked, replied) in enumerate(turns):
            picture = [{"type": "image"}] if number == 0 else []
            messages.append({"role": "user", "content": [*picture, {"type": "text", "text": asked}]})
            if replied is not None:
                # a reply may hold the letters of a mark; they must not become one
                said = replied.replace("<|", "< |")
                messages.append({"role": "assistant", "content": [{"type": "text", "text": said}]})
        text = str(self._processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        if VISION_END not in text:
            raise ModelFolderError("model: the folder's chat template has no place for a picture")
        return text

    def _sized(self, picture: Image.Image) -> Image.Image:
        """The picture as the processor is to get it: of the one size it takes, or as it is."""
        if self._fit == "letterbox":
            picture = _letterboxed(picture)
        return picture if self._side is None else picture.resize((self._side, self._side), Image.Resampling.BICUBIC)

    def _stream(self, reading: Reading, shown: int, on_text: Callable[[str], None] | None) -> int:
        if on_text is None:
            return shown
        text = self._text(reading.tokens)
        if text.endswith("\ufffd"):  # half a character: the rest of it is still to come
            return shown
        if len(text) > shown:
            on_text(text[shown:])
        return len(text)

    def _text(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def load(spec: ModelSpec) -> Qwen2VL:
    """The model of this folder. Raises ModelFolderError if the folder cannot work, ModelError if the device cannot."""
    config = files.read_config(spec.path)
    revision = files.revision(spec.path)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with LOADING:
        compiled = config["model_type"] == files.COMPILED
        parts = open_compiled(spec.path, config, dict(spec.cores)) if compiled else _open_plain(spec.path)
    try:
        return Qwen2VL(
            parts.model,
            parts.processor,
            parts.cache,
            name=config.get("_name_or_path") or spec.path.name,
            revision=revision,
            fit=spec.fit,
            dispose=parts.dispose,
        )
    except BaseException:
        parts.dispose()
        raise


def _open_plain(path: Path) -> Parts:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    processor = load_processor(NoVideoProcessor, path)
    try:
        model, info = AutoModelForImageTextToText.from_pretrained(
            path,
            # the folder's own type is often bfloat16, which a CPU computes slowly and less exactly
            dtype=torch.bfloat16 if device.type == "cuda" else torch.float32,
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelFolderError(f"model: {path} cannot be loaded: {first_line(error)}") from error
    check_loaded(path, info)
    model = model.to(device).eval()
    return Parts(model, processor, PlainCache(model))


def _end_marks(generation_config: Any, tokenizer: Any) -> frozenset[int]:
    ends = generation_config.eos_token_id
    found = ends if isinstance(ends, list) else [] if ends is None else [ends]
    return frozenset([*found, tokenizer.eos_token_id])


def _fixed_side(image_processor: Any) -> int | None:
    """The side of the square that the model takes, where its processor admits one number of pixels only."""
    size = image_processor.size
    least, most = (getattr(size, key, None) or size[key] for key in ("shortest_edge", "longest_edge"))
    return math.isqrt(most) if least == most else None


def _letterboxed(picture: Image.Image) -> Image.Image:
    side = max(picture.size)
    square = Image.new("RGB", (side, side))
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return square


@contextmanager
def _in_our_words() -> Iterator[None]:
    """What the model's code raises, as a ModelError."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ModelError("model: out of memory; ask for smaller pictures or fewer max_new_tokens") from error
    except RuntimeError as error:
        raise ModelError(f"model: {first_line(error)}") from error
