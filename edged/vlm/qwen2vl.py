"""A loaded Qwen2-VL, which encodes a frame once and answers many questions about it.

The conversation up to `<|vision_end|>` is the same for every question of a look, so it is prefilled once. Each question
rolls the KV cache back to the longest common prefix and prefills only its own tail.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from threading import Event as StopSignal
from typing import Any, Literal

from edged.core.errors import ModelError, Stopped, release_frames
from edged.core.specs import QuestionSpec
from edged.core.types import Exchange, Frame, Reply
from edged.vlm.cached_prompt import CachedPrompt
from edged.vlm.chat import Chat
from edged.vlm.decode import ReplyDecoder
from edged.vlm.fit import Fit, fitted
from edged.vlm.grammar_tokenizer import GrammarTokenizer
from edged.vlm.parts import LoadedModel
from edged.vlm.torch_errors import torch_errors


class Qwen2VL:
    """core.VisionModel on the classes of transformers. Not thread-safe."""

    def __init__(
        self,
        loaded: LoadedModel,
        grammar_tokenizer: GrammarTokenizer,
        name: str,
        revision: str,
        fit: Fit = "stretch",
        side: int | None = None,
    ) -> None:
        self.name = name
        self.revision = revision
        self.device = loaded.device
        self._device = loaded.model.device
        self._processor = loaded.processor
        self._chat = Chat(loaded.processor)
        self._tokenizer = loaded.processor.tokenizer
        self._grammar_tokenizer = grammar_tokenizer
        self._prompt = CachedPrompt(loaded.cache)
        self._fit = fit
        self._side = side
        self._end_tokens = _end_tokens(loaded.model.generation_config, self._tokenizer)
        self._dispose: Callable[[], None] | None = loaded.dispose

    def check(self, questions: Sequence[QuestionSpec]) -> None:
        self._grammar_tokenizer.check(questions)

    def encode(self, frame: Frame) -> float:
        """Cannot be interrupted: one call of the model encodes the picture and prefills the prefix."""
        handled = sys.exception()
        try:
            return self._encode(frame)
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
        """`stop` is checked before each model step. A step is not interrupted, not even a long prefill."""
        handled = sys.exception()
        try:
            return self._ask(history, question, stop, on_text)
        except BaseException as error:
            release_frames(error, handled, keep_lines=not isinstance(error, ModelError))
            raise

    def dispose(self) -> None:
        dispose, self._dispose = self._dispose, None
        self._prompt.forget()
        if dispose:
            dispose()

    def _encode(self, frame: Frame) -> float:
        begun = time.perf_counter()
        self._prompt.forget()
        picture = fitted(frame, self._fit, self._side)
        inputs = self._processor(images=[picture], text=[self._chat.prefix()], return_tensors="pt")
        with torch_errors():
            inputs = inputs.to(self._device)
        self._prompt.prefill_prefix(dict(inputs))
        return (time.perf_counter() - begun) * 1000

    def _ask(
        self,
        history: Sequence[Exchange],
        question: QuestionSpec,
        stop: StopSignal,
        on_text: Callable[[str], None] | None,
    ) -> Reply:
        if not self._prompt.prefix:
            raise ModelError("model: no frame is encoded")
        begun = time.monotonic()
        prompt = [*self._prompt.prefix, *self._chat.tail(history, question.prompt)]
        generation = question.generation
        if len(prompt) + generation.max_new_tokens - 1 > self._prompt.limit:
            return Reply("", "context_overflow", None, 0, 0.0)
        grammar, keep = question.answer.grammar(), question.keep_tokens
        decoder = ReplyDecoder(self._grammar_tokenizer, grammar, generation, self._end_tokens, keep)
        try:
            ended, runs = self._generate(prompt, decoder, question, stop, begun + generation.deadline_s, on_text)
        except Stopped:
            raise
        except BaseException:
            self._prompt.forget()
            raise
        return Reply(
            text=self._text(decoder.tokens),
            ended=ended,
            confidence=decoder.confidence if ended == "done" else None,
            steps=max(0, runs - 1),
            answer_ms=(time.monotonic() - begun) * 1000,
            tokens=tuple(decoder.choices),
        )

    def _generate(
        self,
        prompt: list[int],
        decoder: ReplyDecoder,
        question: QuestionSpec,
        stop: StopSignal,
        deadline: float,
        on_text: Callable[[str], None] | None,
    ) -> tuple[Literal["done", "length", "deadline"], int]:
        """Prefill and decode. Returns how the reply ended, and how often the model was run."""
        pending = self._prompt.roll_back(prompt)
        context, runs, streamed = list(prompt), 0, 0
        while True:
            forced = decoder.forced()
            pending, context = [*pending, *forced], [*context, *forced]
            streamed = self._stream(decoder, streamed, on_text)
            if decoder.done:
                return "done", runs
            if len(decoder.tokens) >= question.generation.max_new_tokens:
                return "length", runs
            if stop.is_set():
                raise Stopped
            if time.monotonic() >= deadline:
                return "deadline", runs
            token = decoder.choose(self._prompt.run(pending), context)
            runs += 1
            pending = [] if token is None else [token]
            context = [*context, *pending]

    def _stream(self, decoder: ReplyDecoder, streamed: int, on_text: Callable[[str], None] | None) -> int:
        """Pass on the text after the first `streamed` characters. Returns how many are passed on now."""
        if on_text is None:
            return streamed
        text = self._text(decoder.tokens)
        if text.endswith("\ufffd"):  # an incomplete UTF-8 sequence; the next token continues it
            return streamed
        if len(text) > streamed:
            on_text(text[streamed:])
        return len(text)

    def _text(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def _end_tokens(generation_config: Any, tokenizer: Any) -> frozenset[int]:
    configured = generation_config.eos_token_id
    tokens = configured if isinstance(configured, list) else [] if configured is None else [configured]
    return frozenset([*tokens, tokenizer.eos_token_id])
