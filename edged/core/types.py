"""Frames, replies, answers, events and camera states. Stamps `..._ts` are seconds since 1970."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Status: TypeAlias = Literal[
    "ok", "unsure", "unreadable", "timeout", "stale_frame", "camera_down", "model_down", "not_asked"
]
Value: TypeAlias = Any  # a JSON value; None unless the status is ok
Trigger: TypeAlias = Literal["schedule", "request"]


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture, upright, masks applied. `rgb` is height x width x 3, uint8; `sha256` is the hex digest of its bytes.

    A region that was cut out of a frame keeps the digest and the times of the whole frame.
    `captured_at` is aware UTC, `captured_mono` the same moment by time.monotonic(). `grab_ms` is how long the camera
    took to deliver the frame.
    """

    rgb: NDArray[np.uint8] = field(repr=False, compare=False)
    sha256: str
    captured_at: datetime
    captured_mono: float
    grab_ms: float = 0.0

    def age_s(self) -> float:
        return time.monotonic() - self.captured_mono


@dataclass(frozen=True, slots=True)
class CameraState:
    """Whether a camera delivers frames, since when (aware UTC), and the reason if it does not (None while online)."""

    online: bool
    reason: str | None
    since: datetime


@dataclass(frozen=True, slots=True)
class CameraFigures:
    """A camera's part of `bridge/health`, since it was started.

    `reconnects` counts how often it came back, `damaged` the pictures that were not used because they are damaged.
    """

    reconnects: int = 0
    damaged: int = 0


@dataclass(frozen=True, slots=True)
class NpuFigures:
    """What an NPU reports about itself. `utilization` is 0 to 1; None for what it does not report."""

    device: int
    temperature_c: float | None
    utilization: float | None


CameraReport: TypeAlias = Callable[[CameraState], None]


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that is remembered over a restart: a JSON value by kind and name. None forgets it.

    Kinds: `alert` (the state of a question's alert), `active` (what is paused), `noise` (which cameras have shown
    noise), `retained HOST:PORT` (topics at
    a broker that may have a retained message of ours), `discovery HOST:PORT` (the components that Home Assistant was
    told of there, by topic).
    """

    kind: str
    name: str
    value: Any


@dataclass(frozen=True, slots=True)
class Exchange:
    """One prompt, exactly as it was asked, and the model's reply."""

    prompt: str
    reply: str


@dataclass(frozen=True, slots=True)
class TokenOption:
    """A token that the model could choose, and its probability, 0 to 1. `text` is None for the end of the reply.

    `allowed`: the answer type admits it.
    """

    text: str | None
    probability: float
    allowed: bool = True


@dataclass(frozen=True, slots=True)
class TokenChoice:
    """One step of a reply at which more than one token was open: the chosen one, and the likeliest of the others.

    Probabilities are the model's own, before the grammar and the temperature; their product is the confidence.
    """

    chosen: TokenOption
    others: tuple[TokenOption, ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """The model's reply to one prompt.

    `ended` is `done`, `length` (cut off by max_new_tokens), `deadline`, or `context_overflow` (the question did not
    fit the cache and was not asked). `confidence` is 0 to 1, None for free text and for a reply without a value.
    `steps` counts the model calls after the prompt's prefill; `answer_ms` is the time from the prompt to the end.
    `tokens` is empty unless the question keeps them.
    """

    text: str
    ended: Literal["done", "length", "deadline", "context_overflow"]
    confidence: float | None
    steps: int
    answer_ms: float
    tokens: tuple[TokenChoice, ...] = ()


@dataclass(frozen=True, slots=True)
class AlertState:
    """Whether a question's alert is on, and since when (aware UTC); None if it has never gone on."""

    on: bool
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one question at one look, or a refusal: an answer whose status is not `ok`.

    `region` is None for a question about the whole picture. `value` is None unless `status` is `ok`, `reason` None if
    it is. `confidence` is 0 to 1, None for free text and for refusals other than `unsure`. `text` is the reply as the
    model gave it, None if it was not asked. `alert` is the alert's state after this answer, None if the question has no
    alert. The `frame_...` fields are None without a frame; `frame_age_s` is the age
    when encoding began. `reuse_of` is the id of the answer that is repeated, else None. `timing_ms` has grab, encode
    and answer, None for what was not done. `model` and `model_rev` are None if no model was asked. After `expires_s`
    the retained answer expires at the broker. `tokens` is empty unless the question keeps them.
    """

    id: str
    camera: str
    region: str | None
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
    expires_s: float
    alert: AlertState | None = None
    tokens: tuple[TokenChoice, ...] = field(default=(), repr=False)


class PastAnswer(NamedTuple):
    """What the history has of an answer. `type` is that of the question when it was asked."""

    answered_ts: float
    type: str
    value: Value
    status: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Event:
    """A change of an answer's value or of an alert, at `at` (aware UTC).

    `before` and `after` are values, or for an alert booleans. `since` is when the state before it began, None if not
    known. `value` is the value of the answer that caused it.
    """

    id: str
    camera: str
    question: str
    kind: Literal["changed", "alert_on", "alert_off"]
    before: Value
    after: Value
    since: datetime | None
    at: datetime
    value: Value = None


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """An answer, or an event if `question` is None, as it is published on `topic` or on `<topic>/late`.

    `number` gives the order. `payload`, of `size` bytes, may be None if it was read back from the store: see
    `Store.payload`. `made_at` and `until`, when an answer expires, are monotonic; those of an earlier process may lie
    before its start. `late`: the payload says that it is late. `waiting`: the broker has not acknowledged it. `look`
    is shared by the messages of one look; None if an edged that knew no such id has stored it.
    """

    number: int
    topic: str
    camera: str
    question: str | None
    payload: bytes | None = field(repr=False)
    size: int
    made_at: float
    until: float
    late: bool
    waiting: bool = True
    look: str | None = None


@dataclass(frozen=True, slots=True)
class StoreFigures:
    """For health and metrics. `working`: false while nothing can be written. `bytes`: size on disk, with the journal.

    `lost`: writes that were given up since the start, because too many waited or edged ended.
    """

    working: bool
    bytes: int
    lost: int
