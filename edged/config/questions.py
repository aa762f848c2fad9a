"""Questions: from their forms to specs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeAlias

from edged.config.conditions import alert_spec, impossible
from edged.config.places import KeyPath
from edged.config.problems import Report
from edged.config.question_form import FollowUpForm, GenerationForm, PromptForm, QuestionForm
from edged.core.answer_types import (
    YES_NO_WORDS,
    AnswerType,
    Choices,
    Grammar,
    Json,
    Language,
    Number,
    Text,
    YesNo,
    subschemas,
)
from edged.core.specs import ANY, Generation, QuestionSpec, RegionSpec
from edged.core.text import shorten

GrammarProblem: TypeAlias = Callable[[Grammar], str | None]


def no_grammar_problem(_grammar: Grammar) -> str | None:
    """For callers that do not compile grammars."""
    return None


@dataclass(frozen=True, slots=True)
class QuestionBuilder:
    """Builds questions with the settings around them."""

    report: Report
    language: Language
    generation: Generation
    shared: Mapping[str, QuestionForm] = field(default_factory=dict)
    grammar_problem: GrammarProblem = no_grammar_problem

    def question(self, name: str, parsed: PromptForm, path: KeyPath, region: RegionSpec | None = None) -> QuestionSpec:
        """The question with its follow-ups, all of them about `region`."""
        language: Language = parsed.language or self.language
        answer = answer_type(parsed, language)
        instruction = answer.instruction(language) if parsed.instruction is None else parsed.instruction.strip()
        self._check(name, parsed, answer, path)
        return QuestionSpec(
            name=name,
            title=parsed.title,
            prompt=f"{(parsed.prompt or '').strip()} {instruction}".strip(),
            answer=answer,
            region=region,
            generation=generation(parsed, self.generation),
            every_s=parsed.every if isinstance(parsed, QuestionForm) else None,
            min_confidence=parsed.min_confidence or 0.0,
            alert=alert_spec(parsed.alert, answer, (*path, "alert"), self.report) if parsed.alert else None,
            when=_condition(parsed),
            then=tuple(
                self.question(below, follow_up, (*path, "then", below), region)
                for below, follow_up in parsed.then.items()
            ),
        )

    def _check(self, name: str, parsed: PromptForm, answer: AnswerType, path: KeyPath) -> None:
        if parsed.prompt is None and name not in self.shared:
            hint = self.report.hint(name, self.shared)
            self.report.problem(path, f"has no prompt, and no shared question has this name{hint}")
        for below, follow_up in parsed.then.items():
            if "when" in follow_up.model_fields_set:
                self._check_value((*path, "then", below, "when"), follow_up.when, answer)
        self._check_grammar((*path, "answer"), answer)

    def _check_value(self, path: KeyPath, value: Any, answer: AnswerType) -> None:
        if problem := impossible(value, answer):
            self.report.about(path, problem)

    def _check_grammar(self, path: KeyPath, answer: AnswerType) -> None:
        grammar = answer.grammar()
        why = grammar and self.grammar_problem(grammar)
        if not why:
            return
        if isinstance(answer, Json):
            path = (*path, "json", *self._failing_part(json.loads(answer.schema), why))
        self.report.about(path, f"cannot be compiled to a grammar: {shorten(why, 200)}")

    def _failing_part(self, schema: dict[str, Any], why: str) -> KeyPath:
        """The path of the key that keeps a JSON schema from being compiled, as far as it can be determined."""
        for path, part in subschemas(schema):
            if isinstance(part, dict) and self._schema_problem(part) == why:
                return (*path, *self._failing_part(part, why))
        causes = (key for key in schema if self._schema_problem(_without(schema, key)) != why)
        return tuple(islice(causes, 1))

    def _schema_problem(self, schema: dict[str, Any]) -> str | None:
        return self.grammar_problem(Json(json.dumps(schema)).grammar())


def _without(schema: dict[str, Any], key: str) -> dict[str, Any]:
    return {other: value for other, value in schema.items() if other != key}


def _condition(parsed: PromptForm) -> Any:
    """The value that the answer before must have; ANY without `when`. `when: null` is a condition."""
    return parsed.when if isinstance(parsed, FollowUpForm) and "when" in parsed.model_fields_set else ANY


def answer_type(parsed: PromptForm, language: Language) -> AnswerType:
    """The type that `answer:`, `range:` and `words:` describe together."""
    answer = parsed.answer
    if isinstance(answer, dict):
        if "json" in answer:
            return Json(json.dumps(answer["json"], ensure_ascii=False))
        return Choices(tuple(answer["choices"].items()))
    if answer == "yes_no":
        return YesNo(*((parsed.words.true_, parsed.words.false_) if parsed.words else YES_NO_WORDS[language]))
    if answer in ("integer", "number"):
        return _number(answer == "integer", parsed.range)
    return Text()


def _number(whole: bool, bounds: tuple[float, float] | None) -> Number:
    if bounds is None:
        return Number(whole)
    low, high = bounds
    return Number(whole, int(low), int(high)) if whole else Number(whole, low, high)


def generation(own: GenerationForm, default: Generation) -> Generation:
    """The question's own settings, else the defaults."""

    def chosen(value: Any, otherwise: Any) -> Any:
        return otherwise if value is None else value

    return Generation(
        max_new_tokens=chosen(own.max_new_tokens, default.max_new_tokens),
        temperature=chosen(own.temperature, default.temperature) or None,
        top_p=chosen(own.top_p, default.top_p),
        top_k=chosen(own.top_k, default.top_k),
        repetition_penalty=chosen(own.repetition_penalty, default.repetition_penalty),
        deadline_s=chosen(own.deadline, default.deadline_s),
    )
