"""What every part of edged speaks of: frames, answers, events, messages, and the three things that can be replaced.

Standard library only. A failure that edged expects is one of the errors here, with a sentence for its owner; anything
else is a defect and keeps its traceback.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Event as StopSignal
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edged.specs import QuestionSpec

Status: TypeAlias = Literal[
    "ok", "unsure", "unreadable", "timeout", "stale_frame", "camera_down", "model_down", "not_asked"
]
Value: TypeAlias = Any  # what JSON can say; None unless the status is ok
Trigger: TypeAlias = Literal["schedule", "request"]

EXIT_OK = 0
EXIT_WRONG = 1
EXIT_USAGE = 2
EXIT_UNAVAILABLE = 75
EXIT_CONFIG = 78


class EdgedError(Exception):
    """An expected failure; its text is a whole sentence for the owner and holds no credential.

    `code` is the exit code if edged has to end for it.
    """

    code = EXIT_WRONG


class FileUnusable(EdgedError):
    """A file that the config names (a CA, a certificate) must be changed by its owner."""

    code = EXIT_CONFIG


class CannotGoOn(EdgedError):
    """A reload failed, and so did going back to the former config. Only a new process can help."""

    code = EXIT_UNAVAILABLE


class CameraError(EdgedError):
    """No frame: the camera cannot be reached, or the connection to it is lost."""


class StaleFrame(CameraError):
    """The camera is open, but its newest picture is older than `max_age`."""


class ModelError(EdgedError):
    """The model failed and may work again."""

    code = EXIT_UNAVAILABLE


class ModelLost(ModelError):
    """The device is gone: nothing but a new process brings it back."""


class ModelFolderError(ModelError):
    """The model's folder cannot work until its owner changes it."""

    code = EXIT_CONFIG


class Stopped(Exception):
    """edged is stopping, so there is no answer and none is wanted. Not an error."""


class Secret:
    """Text that must not be shown: its `repr` and `str` say nothing; equality is by what it holds."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


def release_frames(error: BaseException, handled: BaseException | None = None, keep_lines: bool = False) -> None:
    """Forget the local variables that an error's tracebacks keep alive, its causes' too: a picture may be among them.

    A function that raises an exception which it holds in a variable is a cycle, and pixels in it live until the
    collector comes by, minutes later. `handled` is the exception that the caller was handling already, which is the
    caller's own. The tracebacks go too unless their lines are wanted: reading a frame's f_locals leaves a copy that
    cannot be cleared.
    """
    pending, done = [error], {id(handled)}
    while pending:
        each = pending.pop()
        done.add(id(each))
        pending += [other for other in (each.__cause__, each.__context__) if other and id(other) not in done]
        traceback.clear_frames(each.__traceback__)
        if not keep_lines:
            each.__traceback__ = None


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
class Turn:
    """One exchange of a conversation: what was asked, as it was asked, and what came back."""

    prompt: str
    reply: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model said to one prompt.

    `ended` is `done`, `length` (cut off by max_new_tokens), `deadline`, or `no_room` (it did not fit the cache and was
    not asked). `confidence` is None for free text. `steps` counts the model calls after the prompt's prefill.
    """

    text: str
    ended: Literal["done", "length", "deadline", "no_room"]
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


class Camera(Protocol):
    """A source of frames. Opened at once, connected when it can be; says each change of its state once."""

    def start(self) -> None:
        """Begin to connect. Returns at once."""

    def grab(self, stop: StopSignal) -> Frame:
        """The newest frame, masks applied. Bounded by the camera's time-outs.

        Raises CameraError if there is no connection, StaleFrame if it is open and gives nothing new.
        """

    def close(self) -> None:
        """Let go of the source. Bounded; safe to call twice."""


class VisionModel(Protocol):
    """A loaded model. One thread at a time but for `check`; `see` first, then any number of `ask` about that frame."""

    name: str
    revision: str

    def check(self, questions: Sequence[QuestionSpec]) -> None:
        """Raises ModelError naming the first question whose answer this model's tokenizer cannot spell."""

    def see(self, frame: Frame) -> float:
        """Encode the frame, once. Milliseconds. Cannot be interrupted. Raises ModelError."""

    def ask(
        self,
        history: Sequence[Turn],
        question: QuestionSpec,
        stop: StopSignal,
        on_text: Callable[[str], None] | None = None,
    ) -> Reply:
        """Ask about the frame last seen, giving the reply's text piece by piece to `on_text`.

        Raises ModelError, or Stopped at the first token after `stop` is set.
        """

    def dispose(self) -> None:
        """Give back what the model holds. Once; later calls do nothing."""


class Publisher(Protocol):
    """Where answers go. Only `close` waits for the network.

    `moved_at` (monotonic) is its last sign of life, infinite before its start.
    """

    moved_at: float

    def prepare(self) -> None:
        """Read what the connection needs. Raises FileUnusable. `start` does this too if it was not done."""

    def start(self) -> None:
        """Begin to connect; returns at once. Until `online` is called the broker is not told that edged is online."""

    def online(self) -> None:
        """edged works: say `online` after the retained states, at this connection and at each later one."""

    def answers(self, answers: Sequence[Answer], events: Sequence[Event], image: bytes | None) -> None:
        """The outcome of one look. Raises ValueError, and takes nothing, if a value cannot be said in JSON."""

    def camera(self, name: str, state: CameraState) -> None: ...

    def info(self, info: dict[str, Any]) -> None: ...

    def health(self, health: dict[str, Any]) -> None: ...

    def figures(self) -> Any:
        """Its figures for health, as a dataclass of numbers and booleans."""

    def retire(self, camera: str, questions: Sequence[str], gone: bool = False, picture: bool = False) -> None:
        """Clear what stands at the broker for these questions, the `picture`, or, if `gone`, all of the camera."""

    def withdraw(self, cameras: Mapping[str, Sequence[str]]) -> None:
        """The box leaves this broker or these topics: clear all that stands there, these cameras' questions too.

        Only `offline` stays. No more answers go there: what waits is for the next publisher, see `release`.
        """

    def close(self) -> bool:
        """Send what waits, say offline and leave. Bounded; whether the broker acknowledged the offline."""

    def release(self) -> Any:
        """After `close`: what no broker has acknowledged, for the `adopt` of the next publisher."""

    def adopt(self, left: Any) -> None:
        """Before `start`: send what another publisher released, before everything else, and as late answers."""
