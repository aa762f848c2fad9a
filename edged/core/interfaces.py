"""The three things that can be replaced: a camera, a model, and what answers are published through."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Event as StopSignal
from typing import Any, Protocol

from edged.core.specs import QuestionSpec
from edged.core.types import Answer, CameraState, Event, Exchange, Frame, Reply


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
    """A loaded model, for one thread but for `check`. First `encode`, then any number of `ask` about that frame."""

    name: str
    revision: str

    def check(self, questions: Sequence[QuestionSpec]) -> None:
        """Raises ModelError naming the first question whose answer this model's tokenizer cannot spell."""

    def encode(self, frame: Frame) -> float:
        """Encode the frame, once. Milliseconds. Cannot be interrupted. Raises ModelError."""

    def ask(
        self,
        history: Sequence[Exchange],
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
