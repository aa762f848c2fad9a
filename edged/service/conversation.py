"""One question and its follow-ups, asked in one conversation with the model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from edged.core.json_values import same
from edged.core.specs import ANY, QuestionSpec
from edged.core.types import Answer, Exchange, Status
from edged.service.encoded_picture import EncodedPicture
from edged.service.judging import answer, judge
from edged.service.outcomes import refused_answers

TOO_LATE = "the time limit of the request had passed before this was asked"


@dataclass(slots=True)
class Conversation:
    """`answers` has the answers so far, also after `run` has raised. `paused`: what is not asked now, and why."""

    question: QuestionSpec
    picture: EncodedPicture
    expires_s: float
    paused: Callable[[], Mapping[str, str]]
    answers: list[Answer] = field(default_factory=list)

    def run(self) -> None:
        self._ask(self.question, [])

    def completed(self, status: Status, reason: str) -> tuple[Answer, ...]:
        """The answers so far, and a refusal for each question that has none."""
        given = {answer.question: answer for answer in self.answers}
        refused = refused_answers(self.question, self.picture.of, status, reason, self.expires_s)
        return tuple(given.get(refusal.question, refusal) for refusal in refused)

    def _ask(self, question: QuestionSpec, history: Sequence[Exchange]) -> None:
        if self.picture.too_late():
            self.answers += refused_answers(question, self.picture.of, "timeout", TOO_LATE, self.expires_s)
            return
        asked = self.picture.limited(question)
        reply = self.picture.ask(history, asked)
        first = answer(question, judge(asked, reply), self.picture.of, self.expires_s, reply)
        self.answers.append(first)
        for follow_up in question.then:
            reason = self.paused().get(follow_up.name) or _why_not_asked(follow_up, first)
            if reason is None:
                self._ask(follow_up, [*history, Exchange(question.prompt, reply.text)])
            else:
                self.answers += refused_answers(follow_up, self.picture.of, "not_asked", reason, self.expires_s)


def _why_not_asked(follow_up: QuestionSpec, first: Answer) -> str | None:
    """None if the follow-up is asked after this answer."""
    if first.status != "ok":
        asked = follow_up.when is ANY and first.status == "unsure"
        return None if asked else f'"{first.question}" was {first.status}'
    if follow_up.when is ANY or same(first.value, follow_up.when):
        return None
    value, wanted = (json.dumps(value, ensure_ascii=False) for value in (first.value, follow_up.when))
    return f'"{first.question}" was {value}, and this is asked only after {wanted}'
