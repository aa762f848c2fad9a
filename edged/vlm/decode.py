"""Which token comes next: the grammar's mask, forced tokens, sampling, and how sure the model was.

A typed reply is spelled under a grammar, so that it cannot be of another type. Tokens that the grammar forces are never
asked of the model. The confidence is made of the probabilities that the model gave before anything was masked.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer
from llguidance.hf import from_tokenizer
from numpy.typing import NDArray
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from edged.core.answer_types import AnswerType, Choices, Grammar, Json, Number, YesNo
from edged.core.errors import ModelError, ModelFolderError
from edged.core.specs import Generation, QuestionSpec
from edged.vlm.grammar import compiled


class GrammarTokenizer:
    """A tokenizer as grammars see it. Built once for a model: it takes seconds at 150,000 tokens."""

    def __init__(self, tokenizer: Any, vocabulary: int) -> None:
        self.vocabulary = vocabulary
        self._tokenizer: LLTokenizer = from_tokenizer(tokenizer, n_vocab=vocabulary)
        self._compatible: dict[bytes, NDArray[np.intp]] = {}

    def matcher(self, grammar: Grammar) -> LLMatcher:
        """A fresh matcher. Raises ValueError if the grammar cannot be compiled."""
        matcher = LLMatcher(self._tokenizer, compiled(grammar))
        if problem := matcher.get_error():
            raise ValueError(problem.splitlines()[0])
        return matcher

    def token_bytes(self, token: int) -> bytes:
        return self._table[token]

    def check(self, questions: Sequence[QuestionSpec]) -> None:
        """Raises ModelFolderError naming the first question that cannot be answered with these tokens."""
        compiled_before: set[Grammar] = set()
        for question in questions:
            grammar = question.answer.grammar()
            if grammar is None:
                continue
            if word := self._cannot_spell(question.answer):
                raise ModelFolderError(f'question "{question.name}": this model\'s tokenizer cannot spell "{word}"')
            if grammar not in compiled_before:
                self._check_grammar(question.name, grammar)
                compiled_before.add(grammar)

    def _check_grammar(self, name: str, grammar: Grammar) -> None:
        try:
            self.matcher(grammar)
        except ValueError as error:
            raise ModelFolderError(f'question "{name}": the answer cannot be compiled to a grammar: {error}') from None

    def _cannot_spell(self, answer: AnswerType) -> str | None:
        """A word of this type that no tokens of the vocabulary make up, or None."""
        return next((word for word in _literals(answer) if not self._spells(word.encode())), None)

    def compatible(self, forced: bytes) -> NDArray[np.intp]:
        """The tokens that begin with these bytes or are a beginning of them."""
        if forced not in self._compatible:
            matching = (
                token
                for token, text in enumerate(self._table)
                if text and (text.startswith(forced) or forced.startswith(text))
            )
            self._compatible[forced] = np.fromiter(matching, dtype=np.intp)
        return self._compatible[forced]

    @cached_property
    def _table(self) -> list[bytes]:
        """The bytes of each token; none for a special token."""
        special, decode = self._tokenizer.is_special_token, self._tokenizer.decode_bytes
        return [b"" if special(token) else decode([token]) for token in range(self.vocabulary)]

    @cached_property
    def _tokens(self) -> frozenset[bytes]:
        return frozenset(self._table)

    def _spells(self, word: bytes) -> bool:
        tokens = self._tokens
        reached = [True] + [False] * len(word)
        for end in range(1, len(word) + 1):
            reached[end] = any(reached[begin] and word[begin:end] in tokens for begin in range(end))
        return reached[-1]


class ReplyDecoder:
    """The choosing of tokens for one reply, one `choose` per model step."""

    def __init__(
        self, spelling: GrammarTokenizer, grammar: Grammar | None, generation: Generation, ends: frozenset[int]
    ) -> None:
        self._spelling = spelling
        self._matcher = spelling.matcher(grammar) if grammar else None
        self._ends = ends
        # the penalty counts the prompt's tokens too: a typed answer would shy away from the words it was offered
        self._processors = _processors(generation, penalty=grammar is None)
        self._sample = generation.temperature is not None
        self._log_confidence = 0.0
        self.tokens: list[int] = []
        self.done = False

    @property
    def confidence(self) -> float | None:
        return math.exp(min(0.0, self._log_confidence)) if self._matcher else None  # rounding may pass 0

    def forced(self) -> list[int]:
        """Take and return the tokens that need no choice; `done` is set when the value is whole."""
        if self._matcher is None or self.done:
            return []
        tokens: list[int] = self._matcher.compute_ff_tokens()
        if tokens:
            self._consume(tokens)
        self.done = self._matcher.is_stopped()
        return tokens

    def choose(self, logits: NDArray[np.float32], seen: Sequence[int]) -> int | None:
        """The next token, or None when the reply ends here. `seen` are all tokens before it, the prompt's too.

        Raises ModelError if a logit is not finite, whatever the grammar admits: argmax would take NaN for the best.
        """
        _check_finite(logits)
        allowed = self._mask()
        token = self._pick(logits, allowed, seen)
        if self._matcher and allowed is not None and allowed.sum() > 1:
            self._log_confidence += self._log_probability(logits, token)
        if token in self._ends:
            self.done = True
            return None
        if self._matcher:
            self._consume([token])
            self.done = self._matcher.is_stopped()
        else:
            self.tokens.append(token)
        return token

    def _mask(self) -> NDArray[np.bool_] | None:
        if self._matcher is None:
            return None
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        return np.unpackbits(bits, bitorder="little")[: self._spelling.vocabulary].astype(bool)

    def _pick(self, logits: NDArray[np.float32], allowed: NDArray[np.bool_] | None, seen: Sequence[int]) -> int:
        scores = logits if allowed is None else np.where(allowed, logits, -np.inf)
        if not self._processors and not self._sample:
            return int(scores.argmax())
        warped = self._processors(torch.tensor([list(seen)]), torch.from_numpy(scores.copy())[None])
        if not self._sample:
            return int(warped.argmax())
        probabilities = torch.softmax(warped, dim=-1)
        _check_finite(probabilities.numpy())  # a repetition penalty may overflow
        return int(torch.multinomial(probabilities, 1))

    def _log_probability(self, logits: NDArray[np.float32], token: int) -> float:
        """Of the bytes of this token that were free: what the grammar forces does not count."""
        assert self._matcher is not None
        forced: bytes = self._matcher.compute_ff_bytes()
        if forced and token not in self._ends:
            if forced.startswith(self._spelling.token_bytes(token)):
                return 0.0
            return _log_share(logits[token], logits[self._spelling.compatible(forced)])
        return _log_share(logits[token], logits)

    def _consume(self, tokens: list[int]) -> None:
        assert self._matcher is not None
        if not self._matcher.consume_tokens(tokens):
            raise ValueError(f"the grammar does not admit its own tokens: {self._matcher.get_error()}")
        self.tokens += tokens


def _processors(generation: Generation, penalty: bool) -> LogitsProcessorList:
    chosen = LogitsProcessorList()
    if penalty and generation.repetition_penalty not in (None, 1.0):
        chosen.append(RepetitionPenaltyLogitsProcessor(generation.repetition_penalty))
    if generation.temperature is not None:
        chosen.append(_below_zero)
        chosen.append(TemperatureLogitsWarper(generation.temperature))
        if generation.top_k is not None:
            chosen.append(TopKLogitsWarper(generation.top_k))
        if generation.top_p is not None and generation.top_p < 1:
            chosen.append(TopPLogitsWarper(generation.top_p))
    return chosen


def _below_zero(_seen: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """Shifted so that the best is 0: a small temperature would make a large score infinite."""
    return scores - scores.max()


def _check_finite(values: NDArray[np.float32]) -> None:
    if not np.isfinite(values).all():
        count = np.count_nonzero(~np.isfinite(values))
        raise ModelError(f"model: logits are not finite ({count} of {values.size}): wrong weights, or a device error")


def _log_share(logit: np.float32, among: NDArray[np.float32]) -> float:
    """The logarithm of one token's probability among these."""
    wide = among.astype(np.float64)
    top = wide.max()
    return float((np.float64(logit) - top) - np.log(np.exp(wide - top).sum()))


def _literals(answer: AnswerType) -> list[str]:
    match answer:
        case YesNo(true_word, false_word):
            return [true_word, false_word]
        case Choices():
            return answer.labels
        case Number(whole):
            return list("0123456789-" if whole else "0123456789-.")
        case Json(schema):
            return [*'{}[]":,0123456789-', *_json_words(json.loads(schema))]
        case _:
            return []


def _json_words(schema: Any) -> list[str]:
    """The texts that a reply of this schema may have to spell: keys, and the words of enumerations."""
    if isinstance(schema, list):
        return [word for part in schema for word in _json_words(part)]
    if not isinstance(schema, dict):
        return []
    options = [*schema.get("enum", []), *([schema["const"]] if "const" in schema else [])]
    words = [option for option in options if isinstance(option, str)]
    properties = schema.get("properties", {})
    below = [
        *properties.values(),
        *(part for key, part in schema.items() if key not in ("properties", "enum", "const")),
    ]
    return [*words, *properties, *(word for part in below for word in _json_words(part))]
