"""Turns a reply into an answer: a value, or the reason why there is none. Pure: no camera, model or broker."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import Any

from edged.core.answer_types import Unreadable
from edged.core.interfaces import VisionModel
from edged.core.specs import QuestionSpec
from edged.core.text import shorten
from edged.core.types import Answer, Frame, Reply, Status, Trigger, utc_now


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a reply is judged. `value` is None unless `status` is `ok`, `reason` is None if it is."""

    status: Status
    value: Any = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Provenance:
    """The fields that all answers about one region at one look share.

    `frame` is the whole frame, `frame_age_s` its age when encoding began. None means that there is no frame, that it
    was not encoded, or that no model was asked.
    """

    camera: str
    trigger: Trigger
    config_rev: str
    clock_synced: bool
    frame: Frame | None = None
    frame_age_s: float | None = None
    encode_ms: float | None = None
    model: VisionModel | None = None

    @property
    def frame_ts(self) -> float | None:
        return round(self.frame.captured_at.timestamp(), 3) if self.frame else None

    @property
    def grab_ms(self) -> int | None:
        return round(self.frame.grab_ms) if self.frame else None


def judge(question: QuestionSpec, reply: Reply) -> Verdict:
    """Judge a reply: is it a complete value of the question's type, with enough confidence?"""
    limit = question.generation.max_new_tokens
    free_text = question.answer.grammar() is None
    match reply.ended:
        case "context_overflow":
            return Verdict("unreadable", reason=f"the question and {limit} new tokens do not fit the model's cache")
        case "deadline":
            return Verdict("timeout", reason=f"no complete answer within {question.generation.deadline_s:g} s")
        case "length" if not free_text:
            reason = (
                f'the reply was cut off after {limit} tokens, before it was a complete value: "{shorten(reply.text)}"'
            )
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
    """The answer to publish. Without a reply it is a refusal."""
    has_confidence = verdict.status in ("ok", "unsure")
    return Answer(
        id=new_id(),
        camera=of.camera,
        region=question.region.name if question.region else None,
        question=question.name,
        type=question.answer.kind,
        value=verdict.value,
        status=verdict.status,
        reason=verdict.reason,
        confidence=rounded(reply.confidence) if reply and has_confidence else None,
        text=reply.text if reply and reply.ended != "context_overflow" else None,
        truncated=bool(reply and reply.ended == "length"),
        prompt=question.prompt,
        prompt_rev=question.prompt_rev,
        frame_ts=of.frame_ts,
        frame_age_s=rounded(of.frame_age_s, 3) if of.frame else None,
        frame_sha256=of.frame.sha256 if of.frame else None,
        answered_ts=round(utc_now().timestamp(), 3),
        clock_synced=of.clock_synced,
        reuse_of=None,
        trigger=of.trigger,
        timing_ms={
            "grab": of.grab_ms,
            "encode": None if of.encode_ms is None else round(of.encode_ms),
            "answer": round(reply.answer_ms) if reply else None,
        },
        model=of.model.name if of.model else None,
        model_rev=of.model.revision if of.model else None,
        config_rev=of.config_rev,
        expires_s=expires_s,
        tokens=reply.tokens if reply else (),
    )


def repeated(first: Answer, of: Provenance, expires_s: float) -> Answer:
    """An earlier answer, repeated for an unchanged picture. It has its own id; `reuse_of` is the id of the first one.

    `of` has the frame. Its `frame_age_s` is the age when the answer was repeated, because nothing was encoded.
    """
    return replace(
        first,
        id=new_id(),
        reuse_of=first.id,
        frame_ts=of.frame_ts,
        frame_age_s=rounded(of.frame_age_s, 3),
        frame_sha256=of.frame.sha256 if of.frame else None,
        answered_ts=round(utc_now().timestamp(), 3),
        clock_synced=of.clock_synced,
        trigger=of.trigger,
        timing_ms={"grab": of.grab_ms, "encode": None, "answer": None},
        config_rev=of.config_rev,
        expires_s=expires_s,
    )


def rounded(number: float | None, digits: int = 4) -> float | None:
    return None if number is None else round(number, digits)


def new_id() -> str:
    return uuid.uuid4().hex
