"""Which answers the tokens of a model can form."""

from __future__ import annotations

import json
import time
import weakref
from typing import Any

import numpy as np
import pytest
from support import tiny_model
from support.making import question
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from edged.core.answer_types import AnswerType, Choices, Grammar, Json, Number, Text, YesNo
from edged.core.errors import ModelFolderError
from edged.vlm import grammar, grammar_tokenizer
from edged.vlm.grammar_tokenizer import GrammarTokenizer

ALPHABET = [*"0123456789-.Yes", "No", "Ye", "sNo", "enum", "const", *'{}[]":,', "<|end|>"]


def tokenizer_of(tokens: list[str]) -> GrammarTokenizer:
    bare = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(tokens)}, merges=[]))
    bare.decoder = decoders.ByteLevel()
    return GrammarTokenizer(PreTrainedTokenizerFast(tokenizer_object=bare, eos_token="<|end|>"), len(tokens))


@pytest.fixture
def few() -> GrammarTokenizer:
    """A vocabulary without most letters: `Y`, `e` and `s` are tokens, and `No` as a whole."""
    return tokenizer_of(ALPHABET)


def schema(**parts: Any) -> Json:
    return Json(json.dumps(parts))


@pytest.mark.parametrize(
    ("answer", "missing"),
    [
        (YesNo(), None),
        (YesNo("Yes", "Nope"), "Nope"),
        (YesNo("yes", "No"), "yes"),
        (YesNo("sNoYe", "eNo"), None),
        (Choices((("No", "anything"), ("es", 1))), None),
        (Choices((("No", 1), ("o", 2), ("N", 3))), "o"),
        (Number(True), None),
        (Number(False), None),
        (Text(), None),
        (schema(type="integer"), None),
        (schema(enum=["No", "Yes", 3]), None),
        (schema(enum=["No", "x"]), "x"),
        (schema(const="x"), "x"),
        (schema(const=7), None),
        (schema(type="object", properties={"Yes": {"type": "integer"}}), None),
        (schema(type="object", properties={"people": {"type": "integer"}}), "people"),
        (schema(type="object", properties={"Yes": {"enum": ["x"]}}), "x"),
        (schema(type="object", properties={"enum": {"type": "integer"}, "const": {"type": "integer"}}), None),
        (schema(enum=[{"Yes": ["No", {"x": 1}]}]), "x"),
        (schema(const={"Yes": ["No", "x"]}), "x"),
        (schema(enum=[{"enum": 5}, {"const": 5}]), None),
        (schema(const={"enum": 5}), None),
        (schema(type="integer", default={"properties": 5}, examples=[{"enum": 5}]), None),
        (schema(anyOf=[{"const": "No"}, {"const": "x"}]), "x"),
        (schema(items={"enum": ["x"]}), "x"),
        (schema(**{"$defs": {"enum": {"type": "string"}, "const": {"const": "No"}}}), None),
        (schema(**{"$defs": {"enum": {"enum": ["x"]}}}), "x"),
    ],
)
def test_the_first_text_that_no_tokens_form_is_named(
    few: GrammarTokenizer, answer: AnswerType, missing: str | None
) -> None:
    asked = [question("?", answer, "first")]
    if missing is None:
        few.check(asked)
        return
    with pytest.raises(ModelFolderError) as error:
        few.check(asked)
    assert str(error.value) == f'question "first": this model\'s tokenizer cannot encode "{missing}"'


@pytest.mark.parametrize(
    ("removed", "answer"),
    [("-", Number(True)), (".", Number(False)), ("7", Number(True)), ("{", schema()), ("-", schema()), ("7", schema())],
)
def test_every_character_of_a_number_and_of_json_is_needed(removed: str, answer: AnswerType) -> None:
    tokenizer = tokenizer_of([token for token in ALPHABET if token != removed])
    with pytest.raises(ModelFolderError, match=f'cannot encode "[{removed}]"$'):
        tokenizer.check([question("?", answer)])


def test_an_integer_needs_no_decimal_point() -> None:
    tokenizer = tokenizer_of([token for token in ALPHABET if token != "."])
    tokenizer.check([question("?", Number(True))])


@pytest.fixture
def all_bytes() -> GrammarTokenizer:
    tokenizer = tiny_model.tokenizer(["Y e", "Ye s"])
    return GrammarTokenizer(tokenizer, len(tokenizer) + 8)


def test_tokens_agree_with_forced_bytes_if_one_begins_with_the_other(all_bytes: GrammarTokenizer) -> None:
    def agree(forced: bytes) -> list[bytes]:
        return sorted(all_bytes.token_bytes(int(token)) for token in all_bytes.compatible(forced))

    assert agree(b"Ye") == [b"Y", b"Ye", b"Yes"]
    assert agree(b"Yesterday") == [b"Y", b"Ye", b"Yes"]
    assert agree(b"No") == [b"N"]
    assert agree(b"No") == [b"N"], "the second time from memory"


def test_agreeing_tokens_can_index_the_scores_of_a_model(all_bytes: GrammarTokenizer) -> None:
    scores = np.arange(all_bytes.vocabulary, dtype=np.float32)
    agreeing = all_bytes.compatible(b"Ye")
    assert scores[agreeing].tolist() == agreeing.tolist()


def test_only_the_newest_sets_of_agreeing_tokens_stay_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grammar_tokenizer, "MOST_KEPT", 2)
    tokenizer = tokenizer_of(ALPHABET)
    oldest, *newest = (weakref.ref(tokenizer.compatible(forced)) for forced in (b"Ye", b"No", b"7"))
    assert oldest() is None
    assert [kept() is tokenizer.compatible(forced) for kept, forced in zip(newest, (b"No", b"7"), strict=True)] == [
        True
    ] * 2
    assert [tokenizer.token_bytes(int(token)) for token in tokenizer.compatible(b"Ye")] == [b"Y", b"Ye"]


def test_a_token_that_is_a_part_of_a_character_can_be_shown(all_bytes: GrammarTokenizer) -> None:
    texts = {all_bytes.token_bytes(token): all_bytes.text(token) for token in range(all_bytes.vocabulary)}
    assert texts[b"Yes"] == "Yes"
    assert texts[b"\xec"] == "\ufffd"


def test_special_tokens_form_no_text(all_bytes: GrammarTokenizer) -> None:
    tokenizer = tiny_model.tokenizer()
    assert all_bytes.token_bytes(tokenizer.eos_token_id) == b""


def test_free_text_does_not_end_the_check(few: GrammarTokenizer) -> None:
    with pytest.raises(ModelFolderError, match=r'^question "second": .* cannot encode "x"$'):
        few.check([question("?", Text(), "first"), question("?", YesNo("x", "No"), "second")])


def test_a_long_choice_is_checked_in_no_time_by_a_tokenizer_without_all_bytes_too(few: GrammarTokenizer) -> None:
    begun = time.process_time()
    few.check([question("?", Choices((("No" * 5_000, 1), ("Yes", 2))))])
    assert time.process_time() - begun < 5


LOOK = "regex parse error: error: look-around, including look-ahead and look-behind, is not supported"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (Grammar("regex", "(Yes|No)"), None),
        (Grammar("json_schema", '{"type": "integer"}'), None),
        (Grammar("regex", "(?=x)y"), f'invalid regex "(?=x)y" (in regex): {LOOK}'),
        (Grammar("json_schema", '{"type": "string", "pattern": "(?=x)y"}'), LOOK),
    ],
)
def test_a_grammar_that_cannot_be_compiled_has_a_reason_in_one_line(body: Grammar, problem: str | None) -> None:
    reason = grammar.problem(body)
    assert reason is None if problem is None else reason is not None and reason.endswith(problem)


def test_a_grammar_that_cannot_be_compiled_is_an_error_in_one_line(all_bytes: GrammarTokenizer) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*regex parse error:$"):
        all_bytes.matcher(Grammar("regex", "(?=x)y"))


def allowed(tokenizer: GrammarTokenizer, answer: AnswerType, *reply: int) -> set[int]:
    """The tokens that may follow these."""
    form = answer.grammar()
    assert form
    matcher = tokenizer.matcher(form)
    assert matcher.consume_tokens([*reply])
    bits = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), np.uint8), bitorder="little")
    assert bits.size >= tokenizer.vocabulary
    return set(np.flatnonzero(bits).tolist())


def test_a_reply_ends_with_the_end_token_of_the_tokenizer(few: GrammarTokenizer) -> None:
    digits, end = range(10), ALPHABET.index("<|end|>")
    assert allowed(few, Number(True, 0, 99), 3) == {*digits, end}
    assert allowed(few, Number(True, 0, 99)) == {*digits}


def test_a_model_may_have_more_tokens_than_its_tokenizer() -> None:
    """The output of a model is padded; the mask must cover all of it."""
    tokenizer = tiny_model.tokenizer()
    assert len(allowed(GrammarTokenizer(tokenizer, len(tokenizer) + 500), YesNo())) > 1


def test_json_has_no_white_space(all_bytes: GrammarTokenizer) -> None:
    matcher = all_bytes.matcher(Grammar("json_schema", '{"const": {"a": 1}}'))
    assert matcher.compute_ff_bytes() == b'{"a":1}'
