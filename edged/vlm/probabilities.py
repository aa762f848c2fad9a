"""Probabilities of tokens, from the logits of one model step."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edged.core.types import TokenChoice, TokenOption
from edged.vlm.grammar_tokenizer import GrammarTokenizer

MOST_OTHERS = 5

Rivals: TypeAlias = NDArray[np.intp] | slice  # token numbers; slice(None) for all tokens


def log_softmax(logit: np.float32, among: NDArray[np.float32]) -> float:
    """The log probability of one token among these, itself included."""
    logits = among.astype(np.float64)
    top = logits.max()
    return float((np.float64(logit) - top) - np.log(np.exp(logits - top).sum()))


def token_choice(
    tokenizer: GrammarTokenizer,
    logits: NDArray[np.float32],
    token: int,
    rivals: Rivals,
    allowed: NDArray[np.bool_] | None,
    end_tokens: frozenset[int],
) -> TokenChoice:
    """The token with its probability among its rivals, and the likeliest rivals. Without `allowed`, all are allowed."""

    def option(number: int) -> TokenOption:
        text = None if number in end_tokens else tokenizer.text(number)
        probability = math.exp(min(0.0, log_softmax(logits[number], among)))  # rounding may exceed 0
        return TokenOption(text, probability, allowed is None or bool(allowed[number]))

    among = logits[rivals]
    numbers = np.arange(logits.size)[rivals]
    best = numbers[_largest(among, MOST_OTHERS + 1)].tolist()
    return TokenChoice(option(token), tuple([option(number) for number in best if number != token][:MOST_OTHERS]))


def _largest(logits: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """Where the largest values are, the largest first."""
    some = np.argpartition(-logits, min(count, logits.size) - 1)[:count]
    return some[np.argsort(-logits[some], kind="stable")]
