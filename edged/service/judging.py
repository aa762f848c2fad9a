"""What a reply means: a value, or why there is none; and the answer that says so. Pure: no camera, model or broker."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from edged.core.answer_types import Unreadable
from edged.core.interfaces import VisionModel
from edged.core.specs import QuestionSpec
from edged.core.text import shorten
from edged.core.types import Answer, Frame, Reply, Status, Trigger, utc_now


@dataclass(frozen=True, slots=True)
class Verdict:
    """The status of a reply. `value` is None unless it is `ok`, `reason` is None if it is."""

    status: Status
    value: Any = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Provenance:
    """What all answers of one look have in common."""

    camera: str
    trigger: Trigger
    config_rev: str
    clock_synced: bool
    frame: Frame | None = None
    frame_age_s: float | None = None  # when encoding began
    encode_ms: float | None = None
    model: VisionModel | None = None


def judge(question: QuestionSpec, reply: Reply) -> Verdict:
    """Whether the reply is a value of the question's type, whole, and sure enough."""
    limit = question.generation.max_new_tokens
    free = question.answer.grammar() is None
    match reply.ended:
        case "context_overflow":
            return Verdict("unreadable", reason=f"the question and {limit} new tokens do not fit the model's cache")
        case "deadline":
            return Verdict("timeout", reason=f"no complete answer within {question.generation.deadline_s:g} s")
        case "length" if not free:
            reason = f'the reply was cut off after {limit} tokens, before it was a value: "{shorten(reply.text)}"'
            return Verdict("unreadable", reason=reason)
    try:
        value = question.answer.value(reply.text)
    except Unreadable as error:
        return Verdict("unreadable", reason=str(error))
    confidence = reply.confidence
    if confidence is not None and confidence < question.min_confidence:
        reason = f"confidence {confidence:.2f} is below min_confidence {question.min_confidence:g}"
        return Verdict("unsure", reason=reason)
    return Verdict("ok", value)


def answer(
    question: QuestionSpec, verdict: Verdict, of: Provenance, expires_s: float, reply: Reply | None = None
) -> Answer:
    """The answer to publish."""
    frame, sure = of.frame, verdict.status in ("ok", "unsure")
    return Answer(
        id=new_id(),
        camera=of.camera,
        question=question.name,
        type=question.answer.kind,
        value=verdict.value,
        status=verdict.status,
        reason=verdict.reason,
        confidence=rounded(reply.confidence) if reply and sure else None,
        text=reply.text if reply and reply.ended != "context_overflow" else None,
        truncated=bool(reply and reply.ended == "length"),
        prompt=question.prompt,
        prompt_rev=question.prompt_rev,
        frame_ts=round(frame.captured_at.timestamp(), 3) if frame else None,
        frame_age_s=rounded(of.frame_age_s, 3) if frame else None,
        frame_sha256=frame.sha256 if frame else None,
        answered_ts=round(utc_now().timestamp(), 3),
        clock_synced=of.clock_synced,
        reuse_of=None,
        trigger=of.trigger,
        timing_ms={
            "grab": round(frame.grab_ms) if frame else None,
            "encode": None if of.encode_ms is None else round(of.encode_ms),
            "answer": round(reply.answer_ms) if reply else None,
        },
        model=of.model.name if of.model else None,
        model_rev=of.model.revision if of.model else None,
        config_rev=of.config_rev,
        expires_s=expires_s,
    )


def rounded(number: float | None, digits: int = 4) -> float | None:
    return None if number is None else round(number, digits)


def new_id() -> str:
    return uuid.uuid4().hex
