"""A reload's check of 64 integer questions, at the vocabulary of Qwen2-VL, against walking the vocabulary per word.

The walk is what `check` once did for every word of every question. Also what it costs a step to see that its logits
are finite. Exits 1 above a target. CPU time, one process.

Usage: python tests/bench/bench_check.py
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
import conftest  # noqa: F401  # sets the environment
import numpy as np
from support import tiny_model
from support.making import question
from support.results.figures import Figure
from support.results.record import Recording

from edged.core.answer_types import Number, YesNo
from edged.core.specs import Generation
from edged.vlm.decode import ReplyDecoder
from edged.vlm.grammar_tokenizer import GrammarTokenizer

VOCABULARY = 151_936
MERGES = 151_000
QUESTIONS = 64
WORDS = 11  # the ten digits and the minus of an integer
CHECK_S = 0.3
CHECK_SHARE = 0.05
STEP_SHARE = 0.2
ROUNDS = 200


def main() -> list[Figure]:
    tokenizer, made_s = timed(lambda: tiny_model.tokenizer(merges()))
    spelling, loaded_s = timed(lambda: GrammarTokenizer(tokenizer, VOCABULARY))
    print(f"{len(tokenizer)} tokens: tokenizer made in {made_s:.2f} s, read for grammars in {loaded_s:.2f} s")
    return [*check(spelling), step(spelling, tokenizer.eos_token_id)]


def check(spelling: GrammarTokenizer) -> list[Figure]:
    questions = [question("How many?", Number(True, 0, 40), name=f"q{number}") for number in range(QUESTIONS)]
    others = [question("How many?", Number(True, 0, 40 + n), name=f"q{n}") for n in range(QUESTIONS)]
    _, first_s = timed(lambda: spelling.check(questions))
    _, again_s = timed(lambda: spelling.check(questions))
    _, others_s = timed(lambda: spelling.check(others))
    table = [spelling.token_bytes(token) for token in range(VOCABULARY)]
    _, walks_s = timed(lambda: [set(table) for _ in range(QUESTIONS * WORDS)])
    print(
        f"ratio {first_s / walks_s:.4f} (at most {CHECK_SHARE}): the first check of {QUESTIONS} questions "
        f"{first_s * 1000:.0f} ms (at most {CHECK_S * 1000:.0f}), a walk for each word {walks_s:.2f} s"
    )
    print(f"a second check {again_s * 1000:.1f} ms, of {QUESTIONS} different ranges {others_s * 1000:.1f} ms")
    what, longest_ms = f"check of {QUESTIONS} questions at a reload", 1000 * max(first_s, again_s, others_s)
    walk = "a walk over the vocabulary for each word"
    return [
        Figure("check", f"CPU of the {what}", longest_ms, "ms", at_most=1000 * CHECK_S),
        Figure("share", what, first_s / walks_s, at_most=CHECK_SHARE, against=walk),
    ]


def step(spelling: GrammarTokenizer, end: int) -> Figure:
    logits = np.random.default_rng(0).standard_normal(VOCABULARY).astype(np.float32)
    _, finite_s = timed(lambda: [np.isfinite(logits).all() for _ in range(ROUNDS)])
    readings = [ReplyDecoder(spelling, YesNo().grammar(), Generation(), frozenset([end])) for _ in range(ROUNDS)]
    _, typed_s = timed(lambda: [reading.choose(logits, []) for reading in readings])
    plain = ReplyDecoder(spelling, None, Generation(), frozenset([end]))
    _, text_s = timed(lambda: [plain.choose(logits, []) for _ in range(ROUNDS)])
    finite, typed, text = (seconds / ROUNDS * 1000 for seconds in (finite_s, typed_s, text_s))
    print(
        f"ratio {finite / typed:.3f} (at most {STEP_SHARE}): seeing that {VOCABULARY} logits are finite "
        f"{finite:.3f} ms, choosing a typed token {typed:.3f} ms, a free one {text:.3f} ms"
    )
    what = "seeing that the logits of a step are finite"
    return Figure("finite", what, finite / typed, at_most=STEP_SHARE, against="choosing the token")


def merges() -> list[str]:
    """Invented words, as many as Qwen2-VL's tokenizer has."""
    chance = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZĠ"
    words, known = list(letters), set(letters)
    pairs: list[str] = []
    while len(pairs) < MERGES:
        first, second = chance.choice(words), chance.choice(letters)
        if first + second not in known and len(first) < 20:
            known.add(first + second)
            words.append(first + second)
            pairs.append(f"{first} {second}")
    return pairs


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    begun = time.process_time()
    result = work()
    return result, time.process_time() - begun


if __name__ == "__main__":
    recording = Recording(__file__, __doc__)
    sys.exit(recording.finish(main()))
