"""Grammars in llguidance's format. Imports neither torch nor transformers, so that `edged check` can compile one."""

from __future__ import annotations

import re

from llguidance import LLMatcher

from edged.core.answer_types import Grammar

POSITION = re.compile(r" at line \d+ column \d+$")  # in the text of the schema, which nobody sees


def compiled(grammar: Grammar) -> str:
    """The grammar in llguidance's format. JSON has no white space: a weak model can loop in it."""
    if grammar.form == "regex":
        return str(LLMatcher.grammar_from_regex(grammar.body))
    return str(LLMatcher.grammar_from_json_schema(grammar.body, defaults={"whitespace_flexible": False}))


def problem(grammar: Grammar) -> str | None:
    """The reason if the grammar cannot be compiled with any tokenizer, else None."""
    try:
        message = LLMatcher.validate_grammar(compiled(grammar))
    except ValueError as error:  # a number that it cannot represent
        return POSITION.sub("", str(error))
    # a regex error is drawn over several lines; the indented ones are the drawing
    return " ".join(line for line in message.splitlines() if not line.startswith(" ")) if message else None
