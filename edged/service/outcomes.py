"""The results of a look: one outcome for each question that was due."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from edged.core.intervals import expiry_s
from edged.core.specs import CameraSpec, QuestionSpec, with_follow_ups
from edged.core.types import Answer, Status
from edged.service.judging import Provenance, Verdict, answer
from edged.service.picture import Thumbnail


@dataclass(frozen=True, slots=True)
class LastAnswer:
    """How a question, with its follow-ups, was last answered.

    `thumbnail` is of the picture that the model was asked about, at `asked_at` (monotonic); None without a gate.
    `looked_at` (monotonic) is when the look began that last answered it, which may have repeated the answer for an
    unchanged picture. The question's `every` counts from there.
    """

    answer_rev: str
    model_rev: str | None
    answers: tuple[Answer, ...]
    thumbnail: Thumbnail | None
    asked_at: float
    looked_at: float

    @property
    def names(self) -> set[str]:
        """The question and its follow-ups."""
        return {answer.question for answer in self.answers}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answers to one question and its follow-ups. `last` is kept for the next look, None for refusals."""

    question: QuestionSpec
    answers: tuple[Answer, ...]
    last: LastAnswer | None = None

    def before_timeout(self) -> Outcome:
        """Without the first timeout and the answers that depend on it."""
        kept = tuple(takewhile(lambda answer: answer.status != "timeout", self.answers))
        return self if len(kept) == len(self.answers) else replace(self, answers=kept, last=None)


def refusals(
    questions: Sequence[QuestionSpec], camera: CameraSpec, of: Provenance, status: Status, reason: str
) -> list[Outcome]:
    """The same refusal for each question and each of its follow-ups."""
    return [
        Outcome(question, refused_answers(question, of, status, reason, expiry_s(camera, question.every_s)))
        for question in questions
    ]


def refusals_for(
    names: Collection[str], camera: CameraSpec, of: Provenance, status: Status, reasons: Mapping[str, str]
) -> list[Outcome]:
    """A refusal for each of these questions and follow-ups, with its own reason."""
    outcomes = []
    for question in camera.questions:
        refused = [each for each in with_follow_ups([question]) if each.name in names]
        expires_s = expiry_s(camera, question.every_s)
        verdicts = [(each, Verdict(status, reason=reasons[each.name])) for each in refused]
        outcomes.append(Outcome(question, tuple(answer(each, verdict, of, expires_s) for each, verdict in verdicts)))
    return [outcome for outcome in outcomes if outcome.answers]


def refused_answers(
    question: QuestionSpec, of: Provenance, status: Status, reason: str, expires_s: float
) -> tuple[Answer, ...]:
    verdict = Verdict(status, reason=reason)
    return tuple(answer(refused, verdict, of, expires_s) for refused in with_follow_ups([question]))


def without(questions: Sequence[QuestionSpec], outcomes: Sequence[Outcome]) -> list[QuestionSpec]:
    """The questions that have no outcome yet."""
    answered = {outcome.question.name for outcome in outcomes}
    return [question for question in questions if question.name not in answered]
