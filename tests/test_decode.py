"""Which token is chosen, with which confidence, and which logits are rejected."""

from __future__ import annotations

import json
import math
import time
import unicodedata
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pytest
from support import tiny_model
from support.making import question
from tokenizers import normalizers

from edged.core.answer_types import AnswerType, Choices, Json, Number, Text, YesNo
from edged.core.errors import ModelError, ModelFolderError
from edged.core.specs import Generation
from edged.vlm.decode import ReplyDecoder
from edged.vlm.grammar_tokenizer import GrammarTokenizer

# "th" has two tokenizations, and is the beginning of two more tokens
MERGES = ["t h", "th i", "th a", "o n", "on l", "onl y", "Y e", "Ye s", "N o"]
THIS_OR_THAT = Choices((("only this", 1), ("only that", 2)))
SCHEMA = json.dumps({"type": "object", "properties": {"people": {"type": "integer", "minimum": 0, "maximum": 9}}})
TYPES: list[AnswerType] = [Text(), YesNo(), Number(True, 0, 40), THIS_OR_THAT, Json(SCHEMA)]
GREEDY = Generation()
SAMPLED = Generation(temperature=0.7, top_p=0.9)


class Tokens:
    """A small vocabulary, decoders of replies with it, and invented logits."""

    def __init__(self, merges: list[str], normalizer: normalizers.Normalizer | None = None) -> None:
        tokenizer = tiny_model.tokenizer(merges)
        tokenizer.backend_tokenizer.normalizer = normalizer
        self.size = len(tokenizer) + 8
        self.for_grammars = GrammarTokenizer(tokenizer, self.size)
        self.end = tokenizer.eos_token_id
        self.number = tokenizer.convert_tokens_to_ids

    def decoder(self, answer: AnswerType, generation: Generation = GREEDY, keep_choices: bool = False) -> ReplyDecoder:
        return ReplyDecoder(self.for_grammars, answer.grammar(), generation, frozenset([self.end]), keep_choices)

    def logits(self, likely: dict[str, float], rest: float = 0.0) -> np.ndarray:
        values = np.full(self.size, rest, dtype=np.float32)
        for token, logit in likely.items():
            values[self.number(token)] = logit
        return values


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    return Tokens(MERGES)


def confidence(decoder: ReplyDecoder) -> float:
    assert decoder.confidence is not None
    return decoder.confidence


def share(logits: np.ndarray, chosen: int, among: Sequence[int]) -> float:
    exponentials = np.exp(logits.astype(np.float64))
    return float(exponentials[chosen] / exponentials[list(among)].sum())


def test_the_bytes_that_a_grammar_forces_do_not_count(tokens: Tokens):
    decoder = tokens.decoder(THIS_OR_THAT)
    decoder.forced()  # "only "; after it the bytes "th" are forced too, but no single token is
    logits = tokens.logits({"thi": 2.0, "tha": 1.0, "th": 0.5, "Yes": 9.0})
    assert decoder.choose(logits, []) == tokens.number("thi")
    # only tokens that agree with "th" are alternatives, so the likely "Yes" takes nothing away
    rivals = [tokens.number(token) for token in ("t", "th", "thi", "tha")]
    assert math.isclose(confidence(decoder), share(logits, tokens.number("thi"), rivals), rel_tol=1e-6)


def test_a_token_of_forced_bytes_alone_does_not_count(tokens: Tokens):
    decoder = tokens.decoder(THIS_OR_THAT)
    decoder.forced()
    assert decoder.choose(tokens.logits({"th": 1.0, "thi": 0.5}), []) == tokens.number("th")
    assert decoder.confidence == 1.0
    decoder.forced()
    logits = tokens.logits({"i": 2.0, "a": 1.0, "Yes": 1.5})
    assert decoder.choose(logits, []) == tokens.number("i")
    assert math.isclose(confidence(decoder), share(logits, tokens.number("i"), range(tokens.size)), rel_tol=1e-6)


def test_confidence_is_the_product_of_the_open_steps_and_the_end_counts_where_the_value_could_go_on(tokens: Tokens):
    decoder = tokens.decoder(Number(True, 0, 40))
    first, second = tokens.logits({"4": 3.0, "Yes": 2.0}), tokens.logits({"0": 1.0, "<|im_end|>": 2.5})
    decoder.forced()
    assert decoder.choose(first, []) == tokens.number("4")
    decoder.forced()
    assert decoder.choose(second, []) is None
    everything = range(tokens.size)
    wanted = share(first, tokens.number("4"), everything) * share(second, tokens.end, everything)
    assert math.isclose(confidence(decoder), wanted, rel_tol=1e-6)
    assert decoder.done


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("answer", TYPES, ids=lambda answer: answer.kind)
@pytest.mark.parametrize("generation", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("everywhere", [False, True])
def test_a_logit_that_is_not_finite_is_an_error_before_any_token_is_taken(
    tokens: Tokens, value: float, answer: AnswerType, generation: Generation, everywhere: bool
):
    decoder = tokens.decoder(answer, generation)
    forced = decoder.forced()
    # of a token that no grammar of these tests allows, or of all
    logits = tokens.logits({"Q": value}, rest=value if everywhere else 0.0)
    with pytest.raises(ModelError, match=r"^model: logits are not finite \(\d+ of \d+\)") as raised:
        decoder.choose(logits, [])
    assert not isinstance(raised.value, ModelFolderError)
    assert decoder.tokens == forced
    assert not decoder.done


@pytest.mark.parametrize("seed", range(20))
def test_confidence_lies_between_0_and_1_however_large_the_logits_are(tokens: Tokens, seed: int):
    chance = np.random.default_rng(seed)
    scale = 10.0 ** chance.uniform(-6, 38)
    for answer in TYPES[1:]:
        decoder = tokens.decoder(answer)
        while decoder.forced() is not None and not decoder.done:
            decoder.choose((chance.uniform(-1, 1, tokens.size) * scale).astype(np.float32), [])
        assert 0.0 <= confidence(decoder) <= 1.0


@pytest.mark.parametrize(("likeliest", "wanted"), [("Yes", 1.0), ("Q", 0.0)])
def test_confidence_is_exactly_1_or_0_at_the_extremes(tokens: Tokens, likeliest: str, wanted: float):
    most = float(np.finfo(np.float32).max)
    decoder = tokens.decoder(YesNo())
    decoder.forced()
    decoder.choose(tokens.logits({likeliest: most}, rest=-most), [])
    assert decoder.confidence == wanted


def test_equal_logits_are_equally_likely_however_large_they_are(tokens: Tokens):
    decoder = tokens.decoder(YesNo())
    decoder.forced()
    decoder.choose(tokens.logits({}, rest=3e38), [])
    assert math.isclose(confidence(decoder), 1 / tokens.size)


@pytest.mark.parametrize("scale", [1.0, 1e30])
@pytest.mark.parametrize("temperature", [5.0, 1e-3, 1e-30, 5e-324])
def test_any_temperature_gives_a_token(tokens: Tokens, scale: float, temperature: float):
    decoder = tokens.decoder(YesNo(), Generation(temperature=temperature))
    decoder.forced()
    token = decoder.choose(tokens.logits({"Yes": 3 * scale, "No": -3 * scale}, rest=-9 * scale), [])
    assert token == tokens.number("Yes") or (temperature == 5.0 and scale == 1.0)


@pytest.mark.parametrize(("answer", "wanted"), [(YesNo(), "Yes"), (Text(), "No")], ids=["typed", "text"])
def test_the_repetition_penalty_does_not_apply_to_a_typed_answer(tokens: Tokens, answer: AnswerType, wanted):
    decoder = tokens.decoder(answer, Generation(repetition_penalty=1.5))
    decoder.forced()
    logits = tokens.logits({"Yes": 2.0, "No": 1.9})
    assert decoder.choose(logits, [tokens.number("Yes")]) == tokens.number(wanted)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_label_is_said_byte_for_byte_in_whatever_form_its_characters_are(form: Literal["NFC", "NFD"]):
    """Qwen2's tokenizer composes characters, those of a forced text too: "é" of two characters became another text."""
    composing = Tokens(MERGES, normalizers.NFC())
    label = unicodedata.normalize(form, "only é")
    decoder = composing.decoder(Choices(((label, 1), (label + "예", 2))))
    decoder.forced()
    assert b"".join(map(composing.for_grammars.token_bytes, decoder.tokens)).decode() == label


NARROW = [Generation(temperature=5.0, top_k=1), Generation(temperature=5.0, top_p=0.001)]


@pytest.mark.parametrize("generation", NARROW, ids=["top_k", "top_p"])
def test_top_k_and_top_p_leave_only_the_likeliest(tokens: Tokens, generation: Generation):
    logits = tokens.logits({"Yes": 0.1})
    chosen = {tokens.decoder(Text(), generation).choose(logits, []) for _ in range(20)}
    assert chosen == {tokens.number("Yes")}
    unlimited = {tokens.decoder(Text(), Generation(temperature=5.0)).choose(logits, []) for _ in range(20)}
    assert len(unlimited) > 1


def test_a_penalty_that_overflows_is_an_error_and_not_a_token(tokens: Tokens):
    decoder = tokens.decoder(Text(), Generation(temperature=1.0, repetition_penalty=0.1))
    with pytest.raises(ModelError, match="logits are not finite"):
        decoder.choose(tokens.logits({"Yes": 3e38}), [tokens.number("Yes")])


def test_a_grammar_is_compiled_once_and_the_vocabulary_read_once_for_all_questions(tokens: Tokens):
    def checked(count: int) -> float:
        questions = [question("How many?", Number(True, 0, 40), name=f"q{number}") for number in range(count)]
        begun = time.thread_time()
        large.for_grammars.check(questions)
        return time.thread_time() - begun

    large = Tokens([f"{a} {b}" for a in LETTERS for b in LETTERS])
    one = checked(1)  # reads the vocabulary
    assert checked(64) < 5 * one


LETTERS = [
    chr(code) for code in (*range(ord("0"), ord("9") + 1), *range(ord("A"), ord("Z")), *range(ord("a"), ord("z")))
]


def test_the_first_question_that_cannot_be_answered_is_named(tokens: Tokens):
    hopeless = Json(json.dumps({"type": "object", "properties": {"a": {"type": "string", "pattern": "(?=x)y"}}}))
    asked = [question("?", answer, name=name) for name, answer in (("a", YesNo()), ("b", hopeless), ("c", hopeless))]
    with pytest.raises(ModelFolderError, match=r'^question "b": the answer cannot be compiled to a grammar'):
        tokens.for_grammars.check(asked)


# the tokens of a reply, for people who try a prompt


def replied(tokens: Tokens, answer: AnswerType, seed: int, generation: Generation = GREEDY) -> ReplyDecoder:
    """A whole reply to invented logits, with its choices."""
    chance = np.random.default_rng(seed)
    decoder = tokens.decoder(answer, generation, keep_choices=True)
    while decoder.forced() is not None and not decoder.done and len(decoder.tokens) < 40:
        decoder.choose(chance.normal(0, 4, tokens.size).astype(np.float32), [])
    return decoder


@pytest.mark.parametrize("generation", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("seed", range(20))
def test_the_probabilities_of_the_tokens_multiply_to_the_confidence(tokens: Tokens, seed: int, generation: Generation):
    for answer in TYPES[1:]:
        decoder = replied(tokens, answer, seed, generation)
        product = math.prod(choice.chosen.probability for choice in decoder.choices)
        assert math.isclose(product, confidence(decoder), rel_tol=1e-9)
        assert all(choice.chosen.allowed for choice in decoder.choices)


def test_the_choices_of_free_text_are_all_its_tokens(tokens: Tokens):
    decoder = replied(tokens, Text(), 1)
    texts = [choice.chosen.text for choice in decoder.choices]
    assert [text for text in texts if text is not None] == [tokens.for_grammars.text(each) for each in decoder.tokens]
    assert all(choice.chosen.probability <= 1 for choice in decoder.choices)


def test_the_others_are_the_likeliest_tokens_also_those_that_the_type_does_not_admit(tokens: Tokens):
    decoder = tokens.decoder(YesNo(), keep_choices=True)
    decoder.forced()
    logits = tokens.logits({"Q": 5.0, "<|im_end|>": 4.0, "Yes": 3.0, "No": 2.0, "on": 1.5, "th": 1.0, "tha": 0.5})
    decoder.choose(logits, [])
    choice = decoder.choices[0]
    assert choice.chosen.text == "Yes"
    assert [(other.text, other.allowed) for other in choice.others] == [
        ("Q", False), (None, False), ("No", True), ("on", False), ("th", False),
    ]  # fmt: skip
    assert math.isclose(choice.others[0].probability, share(logits, tokens.number("Q"), range(tokens.size)))


def test_a_decoder_keeps_no_choices_unless_it_is_asked_to(tokens: Tokens):
    decoder = tokens.decoder(Number(True, 0, 40))
    decoder.forced()
    decoder.choose(tokens.logits({"4": 3.0}), [])
    assert decoder.choices == []


def test_a_long_choice_is_checked_in_no_time():
    """A request may bring one of 64 KB. The time to check it grew with the cube of its length."""
    tokens = Tokens(MERGES)
    long = question("?", Choices((("th" * 15_000, 1), ("No", 2))))
    begun = time.process_time()
    tokens.for_grammars.check([long])
    assert time.process_time() - begun < 5
