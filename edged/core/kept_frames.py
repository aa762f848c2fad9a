"""Frames that are kept to be labelled, with their answers, and the labels that people give."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from edged.core.errors import EdgedError
from edged.core.types import Value

KeepReason: TypeAlias = Literal["unsure", "changed", "sample"]
KEEP_REASONS: tuple[KeepReason, ...] = ("unsure", "changed", "sample")  # in the order in which they are labelled
LabelVerdict: TypeAlias = Literal["right", "wrong", "skip"]
VERDICTS: tuple[LabelVerdict, ...] = ("right", "wrong", "skip")

FILE_NAME = re.compile(r"\d{8}T\d{9}Z-[a-z0-9_-]+-[a-z0-9]+\.webp")


class LabelRefused(EdgedError):
    """This label cannot be given: there is no such frame or question, or the truth is not of the question's type."""


class FramesUnavailable(EdgedError):
    """The store's file cannot be read or written now."""


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer of the look that kept the frame; see `core.types.Answer` for the fields of that name.

    `guess` is the value of the model's reply, also if the answer is `unsure`; None if the reply has none. `form` is
    what a person has to know to give the true value: see `core.truths.form`.
    """

    id: str
    question: str
    type: str
    region: str | None
    prompt: str
    prompt_rev: str
    value: Value
    status: str
    reason: str | None
    confidence: float | None
    text: str | None
    guess: Value
    form: Mapping[str, Any]

    @property
    def asked(self) -> bool:
        """False for a follow-up that was not asked. It need not be labelled."""
        return self.status != "not_asked"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class KeptFrame:
    """A frame as the look saw it: the whole picture, upright, masks applied. `name` is its file, without a folder.

    `ts` is when it was taken, in seconds since 1970; `sha256` is of its pixels, as in the answers. The answers are in
    the order of the questions, each before its follow-ups.
    """

    name: str
    camera: str
    ts: float
    sha256: str
    config_rev: str
    why: KeepReason
    answers: tuple[KeptAnswer, ...]

    def answer(self, question: str) -> KeptAnswer | None:
        return next((answer for answer in self.answers if answer.question == question), None)


@dataclass(frozen=True, slots=True)
class Label:
    """What a person says about one answer. `truth` None: not known. `ts` is in seconds since 1970.

    `right`: the model's reply, also an unsure one, is the truth. `wrong`: it is not, or there was no value. `skip`: it
    cannot be told. A label outlives its frame.
    """

    frame: str
    camera: str
    question: str
    truth: Value
    verdict: LabelVerdict
    ts: float


@dataclass(frozen=True, slots=True)
class LabelTask:
    """A frame, and the labels that its answers have so far."""

    frame: KeptFrame
    labels: tuple[Label, ...]


@dataclass(frozen=True, slots=True)
class LabelProgress:
    """`kept`: frames that are kept. `labelled`: those of them whose answers all have a label, `skip` included.

    `labels`: all labels in the store, also those of frames that were deleted.
    """

    kept: int
    labelled: int
    labels: int


def frame_name(captured_at: datetime, camera: str, sha256: str) -> str:
    """`20260729T080000412Z-dock-3fa1b2c4d5e6.webp`. Names sort by time, and only the same frame has the same."""
    stamp = captured_at.astimezone(UTC)
    return f"{stamp:%Y%m%dT%H%M%S}{stamp.microsecond // 1000:03}Z-{camera}-{sha256[:12]}.webp"
