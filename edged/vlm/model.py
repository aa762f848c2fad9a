"""A Qwen2-VL that encodes a frame once and answers many questions about it.

The conversation up to `<|vision_end|>` is the same for every question of a look, so it is run once. Each question rolls
the KV cache back to what it shares with the tokens already there, and prefills only its own tail.
"""

from __future__ import annotations

import math
import sys
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

from edged.core.errors import ModelError, ModelFolderError, Stopped, release_frames
from edged.core.specs import ModelSpec, QuestionSpec
from edged.core.types import Exchange, Frame, Reply
from edged.vlm import folder as files
from edged.vlm import plain
from edged.vlm.chat import Chat
from edged.vlm.decode import GrammarTokenizer, ReplyDecoder
from edged.vlm.mobilint import occupied, open_compiled
from edged.vlm.parts import Unloaded, first_line
from edged.vlm.weights import check_weights, float32_bytes

MEMINFO = Path("/proc/meminfo")
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


class Qwen2VL:
    """core.VisionModel on transformers' classes. Not for two threads at once."""

    def __init__(
        self,
        model: Any,
        processor: Any,
        cache: Cache,
        spelling: GrammarTokenizer,
        name: str,
        revision: str,
        fit: Literal["stretch", "letterbox"] = "stretch",
        dispose: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.revision = revision
        self._device = model.device
        self._processor = processor
        self._chat = Chat(processor)
        self._tokenizer = processor.tokenizer
        self._cache = cache
        self._fit = fit
        self._side = _fixed_side(processor.image_processor)
        self._dispose: Callable[[], None] | None = dispose
        self._ends = _end_marks(model.generation_config, self._tokenizer)
        self._spelling = spelling
        self._prefix: list[int] = []
        self._cached: list[int] = []  # what the cache holds, as tokens

    def check(self, questions: Sequence[QuestionSpec]) -> None:
        self._spelling.check(questions)

    def encode(self, frame: Frame) -> float:
        """Cannot be interrupted: one call of the model encodes the picture and prefills what stands before it."""
        handled = sys.exception()
        try:
            return self._see(frame)
        except BaseException as error:
            del frame
            release_frames(error, handled, keep_lines=not isinstance(error, ModelError))
            raise

    def ask(
        self,
        history: Sequence[Exchange],
        question: QuestionSpec,
        stop: StopSignal,
        on_text: Callable[[str], None] | None = None,
    ) -> Reply:
        """`stop` is looked at before each run of the model; a run itself, a long prefill too, is not interrupted."""
        handled = sys.exception()
        try:
            return self._ask(history, question, stop, on_text)
        except BaseException as error:
            release_frames(error, handled, keep_lines=not isinstance(error, ModelError))
            raise

    def dispose(self) -> None:
        dispose, self._dispose = self._dispose, None
        self._prefix = []
        if dispose:
            dispose()

    def _see(self, frame: Frame) -> float:
        begun = time.perf_counter()
        self._prefix, self._cached = [], []
        picture = self._sized(Image.fromarray(frame.rgb))
        inputs = self._processor(images=[picture], text=[self._chat.prefix()], return_tensors="pt").to(self._device)
        ids: list[int] = inputs["input_ids"][0].tolist()
        with torch.inference_mode(), _in_our_words():
            self._cache.begin(dict(inputs))
        self._prefix, self._cached = ids, list(ids)
        return (time.perf_counter() - begun) * 1000

    def _ask(
        self,
        history: Sequence[Exchange],
        question: QuestionSpec,
        stop: StopSignal,
        on_text: Callable[[str], None] | None,
    ) -> Reply:
        if not self._prefix:
            raise ModelError("there is no frame that the model has seen")
        begun = time.monotonic()
        wanted = [*self._prefix, *self._chat.tail(history, question.prompt)]
        generation = question.generation
        if len(wanted) + generation.max_new_tokens - 1 > self._cache.limit:
            return Reply("", "context_overflow", None, 0, 0.0)
        reading = ReplyDecoder(self._spelling, question.answer.grammar(), generation, self._ends)
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

    def _generate(
        self,
        wanted: list[int],
        reading: ReplyDecoder,
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

    def _sized(self, picture: Image.Image) -> Image.Image:
        """The picture as the processor is to get it: of the one size it takes, or as it is."""
        if self._fit == "letterbox":
            picture = _letterboxed(picture)
        return picture if self._side is None else picture.resize((self._side, self._side), Image.Resampling.BICUBIC)

    def _stream(self, reading: ReplyDecoder, shown: int, on_text: Callable[[str], None] | None) -> int:
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
    with LOADING:
        unloaded = _opened(spec, config)
        parts = unloaded.load()
    try:
        return Qwen2VL(
            parts.model,
            parts.processor,
            parts.cache,
            _spelling(unloaded, config),
            name=config.get("_name_or_path") or spec.path.name,
            revision=revision,
            fit=spec.fit,
            dispose=parts.dispose,
        )
    except BaseException:
        parts.dispose()
        raise


def judge(spec: ModelSpec, questions: Sequence[QuestionSpec]) -> None:
    """Whether the folder can work and answer these questions, as far as can be known without its weights and device.

    Raises what `load` and `check` would raise. Takes seconds at 150,000 tokens and waits for a load that is running;
    a model that serves in another thread goes on.
    """
    config = files.read_config(spec.path)
    if config["model_type"] == files.COMPILED:
        _cores(spec, config)  # raises for a word of any worker
    with LOADING:
        unloaded = _opened(spec.each_worker()[0], config)
    _spelling(unloaded, config).check(questions)


def fit_together(old: ModelSpec, new: ModelSpec, meminfo: Path = MEMINFO) -> bool:
    """Whether the new model can be loaded while the old one is. When in doubt, it cannot."""
    try:
        before, after = files.read_config(old.path), files.read_config(new.path)
        if before["model_type"] == after["model_type"] == files.COMPILED:
            return not _cores(old, before) & _cores(new, after)
        if plain.device().type != "cpu":
            return False
        return len(new.each_worker()) * float32_bytes(new.path) <= _available_bytes(meminfo) / 2
    except (ModelError, OSError, ValueError):
        return False


def _opened(spec: ModelSpec, config: dict[str, Any]) -> Unloaded:
    """All that loading does before it reads weights and starts the device."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    files.vocabulary(config)
    check_weights(spec.path, config)
    if config["model_type"] == files.COMPILED:
        return open_compiled(spec.path, config, dict(spec.cores))
    return plain.open_plain(spec.path)


def _spelling(unloaded: Unloaded, config: dict[str, Any]) -> GrammarTokenizer:
    try:
        return GrammarTokenizer(unloaded.processor.tokenizer, files.vocabulary(config))
    except ValueError as error:
        raise ModelFolderError(f"model: the tokenizer does not fit vocab_size in config.json: {error}") from None


def _cores(spec: ModelSpec, config: dict[str, Any]) -> frozenset[str]:
    workers = spec.each_worker()
    return frozenset(core for worker in workers for core in occupied(spec.path, config, dict(worker.cores)))


def _available_bytes(meminfo: Path) -> int:
    """Raises OSError or ValueError."""
    lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
    return int(lines.get("MemAvailable", "").removesuffix("kB")) * 1024


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
