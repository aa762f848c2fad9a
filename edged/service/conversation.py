"""One question and its follow-ups, asked in one conversation with the model."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from edged.core.conditions import same
from edged.core.specs import ANY, QuestionSpec
from edged.core.types import Answer, Exchange, Reply, Status
from edged.service.judging import Provenance, answer, judge
from edged.service.outcomes import refused_answers

Ask: TypeAlias = Callable[[Sequence[Exchange], QuestionSpec], Reply]


@dataclass(slots=True)
class Conversation:
    """`answers` has the answers so far, also after `ask` has raised."""

    question: QuestionSpec
    of: Provenance
    expires_s: float
    ask: Ask
    answers: list[Answer] = field(default_factory=list)

    def run(self) -> None:
        self._ask(self.question, [])

    def completed(self, status: Status, reason: str) -> tuple[Answer, ...]:
        """The answers so far, and a refusal for each question that has none."""
        given = {answer.question: answer for answer in self.answers}
        refused = refused_answers(self.question, self.of, status, reason, self.expires_s)
        return tuple(given.get(refusal.question, refusal) for refusal in refused)

    def _ask(self, question: QuestionSpec, history: Sequence[Exchange]) -> None:
        reply = self.ask(history, question)
        first = answer(question, judge(question, reply), self.of, self.expires_s, reply)
        self.answers.append(first)
        for follow_up in question.then:
            if _applies(follow_up, first):
                self._ask(follow_up, [*history, Exchange(question.prompt, reply.text)])
            else:
                reason = _why_not_asked(follow_up, first)
                self.answers += refused_answers(follow_up, self.of, "not_asked", reason, self.expires_s)


def _applies(follow_up: QuestionSpec, first: Answer) -> bool:
    """True if the follow-up is asked after this answer."""
    if follow_up.when is ANY:
        return first.status in ("ok", "unsure")
    return first.status == "ok" and same(first.value, follow_up.when)


def _why_not_asked(follow_up: QuestionSpec, first: Answer) -> str:
    if first.status != "ok":
        return f'"{first.question}" was {first.status}'
    value, wanted = (json.dumps(value, ensure_ascii=False) for value in (first.value, follow_up.when))
    return f'"{first.question}" was {value}, and this is asked only after {wanted}'
