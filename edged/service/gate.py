"""The gate of `when_changed`: while the picture is unchanged, the last answers are repeated instead of asking."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from edged.core.intervals import expiry_s
from edged.core.specs import CameraSpec, QuestionSpec
from edged.service import picture
from edged.service.judging import Provenance, repeated
from edged.service.outcomes import LastAnswer, Outcome

REPEATABLE = ("ok", "unsure", "not_asked")


@dataclass(frozen=True, slots=True)
class Gate:
    """The gate at one look. `of` is the provenance of its answers, `looked_at` (monotonic) when it began.

    `model_revs` are the revisions of the models that are in service.
    """

    camera: CameraSpec
    thumbnail: picture.Thumbnail
    of: Provenance
    looked_at: float
    model_revs: Collection[str]

    def repeat(
        self, questions: Collection[QuestionSpec], last_answer: Callable[[QuestionSpec], LastAnswer | None]
    ) -> list[Outcome]:
        """The last answers of each question for whose last answer the picture is unchanged."""
        last_answers = [(question, last_answer(question)) for question in questions]
        return [self._repeat(question, last) for question, last in last_answers if last and self._is_valid(last)]

    def _is_valid(self, last: LastAnswer) -> bool:
        """True if the model would be asked the same about the same picture, and not too long ago."""
        limit_s = self.camera.at_least_every_s
        if limit_s is None or last.thumbnail is None or time.monotonic() - last.asked_at >= limit_s:
            return False
        if last.model_rev not in self.model_revs or any(answer.status not in REPEATABLE for answer in last.answers):
            return False
        return picture.change(last.thumbnail, self.thumbnail) < picture.CHANGED

    def _repeat(self, question: QuestionSpec, last: LastAnswer) -> Outcome:
        expires_s = expiry_s(self.camera, question.every_s)
        answers = tuple(repeated(answer, self.of, expires_s) for answer in last.answers)
        return Outcome(question, answers, replace(last, looked_at=self.looked_at))
