"""The values that edged passes around: frames, replies, answers, events, camera states."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Status: TypeAlias = Literal[
    "ok", "unsure", "unreadable", "timeout", "stale_frame", "camera_down", "model_down", "not_asked"
]
Value: TypeAlias = Any  # what JSON can say; None unless the status is ok
Trigger: TypeAlias = Literal["schedule", "request"]


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture, masks applied. `rgb` is height x width x 3, uint8; `sha256` is of its bytes."""

    rgb: NDArray[np.uint8] = field(repr=False, compare=False)
    sha256: str
    captured_at: datetime
    captured_mono: float  # time.monotonic() of the capture
    grab_ms: float = 0.0

    def age_s(self) -> float:
        return time.monotonic() - self.captured_mono


@dataclass(frozen=True, slots=True)
class CameraState:
    """Whether a camera gives pictures, why not, and since when."""

    online: bool
    reason: str | None
    since: datetime


CameraReport: TypeAlias = Callable[[CameraState], None]


@dataclass(frozen=True, slots=True)
class Exchange:
    """One exchange of a conversation: what was asked, as it was asked, and what came back."""

    prompt: str
    reply: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model said to one prompt.

    `ended` is `done`, `length` (cut off by max_new_tokens), `deadline`, or `context_overflow` (the question did not
    fit the cache and was not asked). `confidence` is None for free text. `steps` counts the model calls after the
    prompt's prefill.
    """

    text: str
    ended: Literal["done", "length", "deadline", "context_overflow"]
    confidence: float | None
    steps: int
    answer_ms: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said to one question at one look. `value` is None unless `status` is `ok`."""

    id: str
    camera: str
    question: str
    type: str
    value: Value
    status: Status
    reason: str | None
    confidence: float | None
    text: str | None
    truncated: bool
    prompt: str
    prompt_rev: str
    frame_ts: float | None
    frame_age_s: float | None
    frame_sha256: str | None
    answered_ts: float
    clock_synced: bool
    reuse_of: str | None
    trigger: Trigger
    timing_ms: dict[str, float | None]
    model: str | None
    model_rev: str | None
    config_rev: str
    expires_s: float  # how long it may stand at the broker


@dataclass(frozen=True, slots=True)
class Event:
    """Something that became true or false. `since` is when the state it left began, None if not known."""

    id: str
    camera: str
    question: str
    kind: Literal["changed", "alert_on", "alert_off"]
    before: Value
    after: Value
    since: datetime | None
    at: datetime
