"""Chooses the tokens of a reply: grammar mask, forced tokens, sampling and confidence.

A typed reply is decoded under a grammar, so it always has the right type. Tokens that the grammar forces need no model
step of their own. The confidence comes from the model's probabilities before the mask.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from edged.core.answer_types import Grammar
from edged.core.errors import ModelError
from edged.core.specs import Generation
from edged.core.types import TokenChoice
from edged.vlm.grammar_tokenizer import GrammarTokenizer
from edged.vlm.probabilities import Rivals, log_softmax, token_choice


class ReplyDecoder:
    """Decodes one reply; `choose` is called once per model step. `choices` stays empty without `keep_choices`."""

    def __init__(
        self,
        tokenizer: GrammarTokenizer,
        grammar: Grammar | None,
        generation: Generation,
        end_tokens: frozenset[int],
        keep_choices: bool = False,
    ) -> None:
        self._tokenizer = tokenizer
        self._matcher = tokenizer.matcher(grammar) if grammar else None
        self._end_tokens = end_tokens
        # the penalty applies to the prompt's tokens too, so it would push a typed answer away from the words offered
        self._processors = _processors(generation, penalty=grammar is None)
        self._sample = generation.temperature is not None
        self._log_confidence = 0.0
        self._keep_choices = keep_choices
        self.tokens: list[int] = []
        self.choices: list[TokenChoice] = []
        self.done = False

    @property
    def confidence(self) -> float | None:
        return math.exp(min(0.0, self._log_confidence)) if self._matcher else None  # rounding may exceed 0

    def forced(self) -> list[int]:
        """Accept and return the tokens that the grammar forces; sets `done` when the reply is complete."""
        if self._matcher is None or self.done:
            return []
        tokens: list[int] = self._matcher.compute_ff_tokens()
        if tokens:
            self._consume(tokens)
        self.done = self._matcher.is_stopped()
        return tokens

    def choose(self, logits: NDArray[np.float32], context: Sequence[int]) -> int | None:
        """The next token, or None at the end of the reply. `context` is the prompt and the reply so far, as tokens.

        Raises ModelError if any logit is not finite, also of a token outside the grammar: argmax would choose a NaN.
        """
        _check_finite(logits)
        allowed = self._mask()
        token = self._pick(logits, allowed, context)
        if allowed is None or allowed.sum() > 1:
            self._weigh(logits, token, allowed)
        if token in self._end_tokens:
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
        return np.unpackbits(bits, bitorder="little")[: self._tokenizer.vocabulary].astype(bool)

    def _pick(self, logits: NDArray[np.float32], allowed: NDArray[np.bool_] | None, context: Sequence[int]) -> int:
        scores = logits if allowed is None else np.where(allowed, logits, -np.inf)
        if not self._processors and not self._sample:
            return int(scores.argmax())
        warped = self._processors(torch.tensor([list(context)]), torch.from_numpy(scores.copy())[None])
        if not self._sample:
            return int(warped.argmax())
        probabilities = torch.softmax(warped, dim=-1)
        _check_finite(probabilities.numpy())  # a repetition penalty may overflow
        return int(torch.multinomial(probabilities, 1))

    def _weigh(self, logits: NDArray[np.float32], token: int, allowed: NDArray[np.bool_] | None) -> None:
        """Count the probability of this token; keep it, with those of the others, if that is asked for."""
        if self._matcher:
            self._log_confidence += log_softmax(logits[token], logits[self._rivals(token)])
        if self._keep_choices:
            self.choices.append(
                token_choice(self._tokenizer, logits, token, self._rivals(token), allowed, self._end_tokens)
            )

    def _rivals(self, token: int) -> Rivals:
        """The tokens among which the model chose this one: forced bytes leave only those that agree with them."""
        forced: bytes = self._matcher.compute_ff_bytes() if self._matcher else b""
        if not forced or token in self._end_tokens:
            return slice(None)
        if forced.startswith(self._tokenizer.token_bytes(token)):
            return np.array([token])
        return self._tokenizer.compatible(forced)

    def _consume(self, tokens: list[int]) -> None:
        assert self._matcher is not None
        if not self._matcher.consume_tokens(tokens):
            raise ValueError(f"the grammar rejects its own tokens: {self._matcher.get_error()}")
        self.tokens += tokens


def _processors(generation: Generation, penalty: bool) -> LogitsProcessorList:
    processors = LogitsProcessorList()
    if penalty and generation.repetition_penalty not in (None, 1.0):
        processors.append(RepetitionPenaltyLogitsProcessor(generation.repetition_penalty))
    if generation.temperature is not None:
        processors.append(_shift_to_zero)
        processors.append(TemperatureLogitsWarper(generation.temperature))
        if generation.top_k is not None:
            processors.append(TopKLogitsWarper(generation.top_k))
        if generation.top_p is not None and generation.top_p < 1:
            processors.append(TopPLogitsWarper(generation.top_p))
    return processors


def _shift_to_zero(_context: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """Shift the best score to 0: divided by a low temperature, a large score would overflow.

    In double precision: a temperature that is 0 in single precision would turn this 0 into NaN.
    """
    return (scores - scores.max()).double()


def _check_finite(values: NDArray[np.float32]) -> None:
    if not np.isfinite(values).all():
        count = np.count_nonzero(~np.isfinite(values))
        raise ModelError(f"model: logits are not finite ({count} of {values.size}): wrong weights, or a device error")
