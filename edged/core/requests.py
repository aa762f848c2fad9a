"""Requests to a running edged, and their responses. Nothing here knows how they arrive."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from edged.core.types import Answer

MOST_WAITING = 8  # requests that wait or run at a time; one more gets an error
FULL = f"{MOST_WAITING} requests are waiting already; try again later"
STOPPING = "edged is stopping"


@dataclass(frozen=True, slots=True)
class AdHoc:
    """A prompt that is not in the config. The fields are those of a question in the config file, as they arrived."""

    prompt: str
    answer: Any = None
    region: str | None = None
    range: Any = None
    max_new_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class AskRequest:
    """One question about a fresh frame: a `question` of the config, or `ad_hoc`; one of them is None.

    `deadline_s`: the asking may take so long; None for the question's own. With `keep_tokens`, the answer to an ad-hoc
    prompt has the probabilities of its tokens.
    """

    camera: str
    question: str | None = None
    ad_hoc: AdHoc | None = None
    deadline_s: float | None = None
    keep_tokens: bool = False


@dataclass(frozen=True, slots=True)
class LookRequest:
    """A look with every question of the camera, due or not."""

    camera: str


@dataclass(frozen=True, slots=True)
class ActiveRequest:
    """Pause or resume a camera, or one of its questions."""

    camera: str
    active: bool
    question: str | None = None


@dataclass(frozen=True, slots=True)
class ReloadRequest:
    """Load the config file now."""


@dataclass(frozen=True, slots=True)
class InfoRequest:
    """What `bridge/info` says."""


Request: TypeAlias = AskRequest | LookRequest | ActiveRequest | ReloadRequest | InfoRequest


@dataclass(frozen=True, slots=True)
class Response:
    """`error` is a sentence, or None if the request was carried out; then there is `data`.

    A refusal to an `ask` is data: an answer whose status is not `ok`.
    """

    data: Answer | Sequence[Answer] | Mapping[str, Any] | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """A request that arrived. Not to be begun after `expires_at` (monotonic); None: it does not expire. Nor once it is
    `abandoned`, because its sender has left.

    `respond` is called exactly once, from any thread, and returns at once.
    """

    request: Request
    respond: Callable[[Response], None]
    expires_at: float | None = None
    abandoned: Callable[[], bool] = lambda: False
