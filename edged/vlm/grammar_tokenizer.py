"""A model's tokenizer as grammars see it: compiled grammars, and which answers its tokens can form."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import copy
from functools import cached_property
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from numpy.typing import NDArray

from edged.core.answer_types import AnswerType, Choices, Grammar, Json, Number, YesNo, subschemas
from edged.core.errors import ModelFolderError
from edged.core.specs import QuestionSpec
from edged.vlm.grammar import compiled

MOST_KEPT = 1000  # sets of compatible tokens


class GrammarTokenizer:
    """A tokenizer prepared for grammars. Built once per model: it takes seconds with 150,000 tokens."""

    def __init__(self, tokenizer: Any, vocabulary: int) -> None:
        self.vocabulary = vocabulary
        self._tokenizer = _byte_for_byte(tokenizer, vocabulary)
        self._compatible: dict[bytes, NDArray[np.intp]] = {}

    def matcher(self, grammar: Grammar) -> LLMatcher:
        """A fresh matcher. Raises ValueError if the grammar cannot be compiled."""
        matcher = LLMatcher(self._tokenizer, compiled(grammar))
        if problem := matcher.get_error():
            raise ValueError(problem.splitlines()[0])
        return matcher

    def token_bytes(self, token: int) -> bytes:
        return self._table[token]

    def text(self, token: int) -> str:
        """For people: a token may be a part of a character."""
        return self._tokenizer.decode_str([token])

    def check(self, questions: Sequence[QuestionSpec]) -> None:
        """Raises ModelFolderError naming the first question that cannot be answered with these tokens."""
        checked: set[Grammar] = set()
        for question in questions:
            grammar = question.answer.grammar()
            if grammar is None:
                continue
            if literal := self._unencodable(question.answer):
                raise ModelFolderError(f'question "{question.name}": this model\'s tokenizer cannot encode "{literal}"')
            if grammar not in checked:
                self._check_grammar(question.name, grammar)
                checked.add(grammar)

    def _check_grammar(self, name: str, grammar: Grammar) -> None:
        try:
            self.matcher(grammar)
        except ValueError as error:
            raise ModelFolderError(f'question "{name}": the answer cannot be compiled to a grammar: {error}') from None

    def _unencodable(self, answer: AnswerType) -> str | None:
        """The first literal of this type that no sequence of tokens forms, or None."""
        return next((text for text in _literals(answer) if not self._can_encode(text.encode())), None)

    def compatible(self, forced: bytes) -> NDArray[np.intp]:
        """The tokens that start with these bytes, or that these bytes start with."""
        if forced not in self._compatible:
            if len(self._compatible) >= MOST_KEPT:  # prompts of requests bring new ones without end
                self._compatible.pop(next(iter(self._compatible)))
            matching = (
                token
                for token, text in enumerate(self._table)
                if text and (text.startswith(forced) or forced.startswith(text))
            )
            self._compatible[forced] = np.fromiter(matching, dtype=np.intp)
        return self._compatible[forced]

    @cached_property
    def _table(self) -> list[bytes]:
        """The bytes of each token; empty for a special token."""
        special, decode = self._tokenizer.is_special_token, self._tokenizer.decode_bytes
        return [b"" if special(token) else decode([token]) for token in range(self.vocabulary)]

    @cached_property
    def _tokens(self) -> frozenset[bytes]:
        return frozenset(self._table)

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._table))

    def _can_encode(self, text: bytes) -> bool:
        tokens = self._tokens
        if all(bytes([byte]) in tokens for byte in set(text)):  # the vocabularies of byte-level tokenizers have all
            return True
        reached = [True] + [False] * len(text)
        for end in range(1, len(text) + 1):
            begins = range(max(0, end - self._longest), end)
            reached[end] = any(reached[begin] and text[begin:end] in tokens for begin in begins)
        return reached[-1]


def _byte_for_byte(tokenizer: Any, vocabulary: int) -> LLTokenizer:
    """The tokenizer for llguidance, without what would change a forced text: Qwen2's composes characters (NFC)."""
    exact = copy(tokenizer.backend_tokenizer)
    exact.normalizer = None
    exact.no_padding()
    exact.no_truncation()
    return LLTokenizer(exact.to_str(), n_vocab=vocabulary, eos_token=tokenizer.eos_token_id)


def _literals(answer: AnswerType) -> list[str]:
    """Texts that a reply of this type is made of."""
    match answer:
        case YesNo(true_word, false_word):
            return [true_word, false_word]
        case Choices():
            return answer.labels
        case Number(whole):
            return list("0123456789-" if whole else "0123456789-.")
        case Json(schema):
            return [*'{}[]":,0123456789-', *_schema_literals(json.loads(schema))]
        case _:
            return []


def _schema_literals(schema: Any) -> list[str]:
    """The keys and enumerated strings of a JSON schema."""
    if not isinstance(schema, dict):
        return []
    properties = schema.get("properties")
    named = properties if isinstance(properties, dict) else {}
    enumerated = _strings([schema.get("enum"), schema.get("const")])
    return [*enumerated, *named, *(text for _, part in subschemas(schema) for text in _schema_literals(part))]


def _strings(value: Any) -> list[str]:
    """All strings of a JSON value, the keys of its objects too."""
    match value:
        case str():
            return [value]
        case list():
            return [text for part in value for text in _strings(part)]
        case dict():
            return _strings([*value, *value.values()])
        case _:
            return []
