"""A grammar as llguidance reads it. Imports neither torch nor transformers, so that `edged check` can judge one."""

from __future__ import annotations

from llguidance import LLMatcher

from edged.core.answer_types import Grammar


def compiled(grammar: Grammar) -> str:
    """The grammar in llguidance's form. JSON is compact: a weak model can loop in white space."""
    if grammar.form == "regex":
        return str(LLMatcher.grammar_from_regex(grammar.body))
    return str(LLMatcher.grammar_from_json_schema(grammar.body, defaults={"whitespace_flexible": False}))


def problem(grammar: Grammar) -> str | None:
    """Why it cannot be compiled, whatever the tokenizer; None if it can."""
    found = LLMatcher.validate_grammar(compiled(grammar))
    return found.splitlines()[0] if found else None
