"""The parts that can be replaced: camera, model, store and publisher."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Event as StopSignal
from typing import Any, Protocol

from edged.core.kept_frames import KeptFrame, Label, LabelProgress, LabelTask, LabelVerdict
from edged.core.specs import Config, FramesSpec, HistorySpec, QuestionSpec
from edged.core.types import (
    Answer,
    CameraFigures,
    CameraState,
    Event,
    Exchange,
    Fact,
    Frame,
    Reply,
    StoredMessage,
    StoreFigures,
    Value,
)


class Camera(Protocol):
    """A source of frames. Connects and reconnects by itself, and reports each change of its state once."""

    def start(self) -> None:
        """Begin to connect. Returns at once."""

    def grab(self, stop: StopSignal) -> Frame:
        """The newest frame, masks applied. Bounded by the camera's time-outs.

        Raises CameraError if there is no connection, StaleFrame if it is open and delivers no new frames.
        """

    def figures(self) -> CameraFigures:
        """Counters for `bridge/health`. Returns at once."""

    def close(self) -> None:
        """Release the source. Bounded; safe to call twice."""


class Noise(Protocol):
    """Whether a camera's pictures have shown the noise of a live sensor, known over a restart. For any thread."""

    @property
    def shown(self) -> bool: ...

    def learn(self, shown: bool) -> None:
        """Remember whether the camera has shown noise. Returns at once."""


class VisionModel(Protocol):
    """A loaded model, for one thread except `check`. After `encode`, `ask` may be called any number of times.

    `name` and `revision` are published with each answer; `revision` changes with the model's files. `device` is where
    it runs: `cpu`, `cuda` or `npu`.
    """

    name: str
    revision: str
    device: str

    def check(self, questions: Sequence[QuestionSpec]) -> None:
        """Raises ModelError with the first question whose answers this model's tokenizer cannot encode."""

    def encode(self, frame: Frame) -> float:
        """Encode the frame; the milliseconds it took. Cannot be interrupted. Raises ModelError."""

    def ask(
        self,
        history: Sequence[Exchange],
        question: QuestionSpec,
        stop: StopSignal,
        on_text: Callable[[str], None] | None = None,
    ) -> Reply:
        """Ask about the frame that was encoded last, after the exchanges of `history`.

        `on_text` gets the text of the reply piece by piece. Raises ModelError, or Stopped at the first token after
        `stop` is set.
        """

    def dispose(self) -> None:
        """Release memory and device. Later calls do nothing."""


class FrameStore(Protocol):
    """Frames that are kept to be labelled, and their labels. For any thread.

    Except `keep`, every method waits for the disk, 5 s at most, and raises FramesUnavailable if the store cannot be
    read or written.
    """

    def keep(self, frame: KeptFrame, encode: Callable[[], bytes]) -> None:
        """Keep a frame. Returns at once and never raises; `encode` gives its file, in another thread.

        It is not kept if the config keeps none, if the disk cannot be written, or if more come than can be encoded; the
        last two are logged. A frame that is kept already gets the answers that it did not have.
        """

    def next_unlabelled(self) -> LabelTask | None:
        """The oldest frame with an answer that has no label: of those with an unsure answer, else of those with a
        changed one, else of the sample."""

    def task(self, frame: str) -> LabelTask | None:
        """The frame of this name; None if it is not kept."""

    def read(self, frame: str) -> bytes | None:
        """The picture of this name (WebP, `image/webp`); None if it is not kept or its file cannot be read."""

    def progress(self) -> LabelProgress: ...

    def label(self, frame: str, question: str, verdict: LabelVerdict | None, truth: Value = None) -> Label:
        """Label an answer; replaces its earlier label. See `core.truths.decided` for what `verdict` and `truth` may be.

        Raises LabelRefused, with a sentence for the person. After FramesUnavailable it is written once that is
        possible.
        """

    def undo(self) -> Label | None:
        """Take back the label that was given last, and return it; None if there is none.

        A label that it had replaced does not come back.
        """


class Store(Protocol):
    """What survives a restart: messages until they are acknowledged, the history of answers, and facts.

    For any thread. Only `payload` raises, and only `mark_late` and `payload` wait for the disk; `frames` has its own
    rules. Without a usable disk everything goes on in memory. `moved_at` (monotonic) is when its thread last made
    progress; infinite without one.
    """

    @property
    def moved_at(self) -> float: ...

    @property
    def frames(self) -> FrameStore: ...

    def keep(self, history: HistorySpec | None, frames: FramesSpec | None = None) -> None:
        """How much of what is acknowledged is kept. None: only the newest answer of each question.

        `frames`: how large the folder of frames may become. None: those without a label are deleted, and no others
        are kept.
        """

    def facts(self, kind: str) -> dict[str, Any]:
        """The facts of a kind: values by name."""

    def remember(self, facts: Sequence[Fact]) -> None:
        """Replace facts. `facts` has them from now on."""

    def next_number(self) -> int:
        """The number of the next message."""

    def write(self, messages: Sequence[StoredMessage], facts: Sequence[Fact], then: Callable[[bool], None]) -> None:
        """Write the messages of a look, and the facts that changed with them, in one transaction.

        `then` is called afterwards, in order, in another thread or in this one; with False if they are not on disk.
        """

    def mark_late(self, payloads: Mapping[int, bytes]) -> bool:
        """Replace the payloads of these messages, which say `late` now. Waits for the disk, 2 s at most.

        False if that was not enough: call it again. True after a minute, and if the disk cannot be written now.
        """

    def done(self, numbers: Sequence[int]) -> None:
        """These messages are acknowledged, refused or dropped. Written with the next look, or after a minute."""

    def payload(self, number: int) -> bytes | None:
        """The payload of a message on disk; None if it is not there any more, or damaged.

        Raises StoreUnreadable; MessageUnreadable if others can be read.
        """

    def found(self) -> Sequence[StoredMessage]:
        """What was found on disk since the last call: messages that wait, and the newest answer of each question."""

    def found_facts(self) -> Sequence[Fact]:
        """The facts that an earlier process left: all of them, at the first call after they were read; then none.

        They include those that this process has changed meanwhile, with the value that the earlier one left.
        """

    def figures(self) -> StoreFigures: ...

    def close(self) -> bool:
        """Write what is left. False if that took longer than 5 s."""


class Publisher(Protocol):
    """Publishes to one broker. Only `close` waits for the network.

    `moved_at` (monotonic) is when its thread last made progress; infinite before `start`.
    """

    moved_at: float

    @property
    def tried(self) -> bool:
        """True once the first attempt to connect has ended, or if none is made."""

    def prepare(self) -> None:
        """Read the files that the connection needs. Raises FileUnusable. `start` does it if it was not done."""

    def start(self) -> None:
        """Begin to connect; returns at once. Until `online` is called, `online` is not published."""

    def online(self) -> None:
        """Publish `online` after the retained states, on this connection and on each later one."""

    def answers(
        self,
        answers: Sequence[Answer],
        events: Sequence[Event],
        image: bytes | None,
        facts: Sequence[Fact] = (),
        settings: str | None = None,
    ) -> None:
        """Publish the outcomes of one look. `image`, a JPEG, follows its answers, and is dropped if a newer look's are
        ahead of it. It was taken with `settings` (a digest), and is not sent if they have changed meanwhile. `facts`
        are stored with them, in one transaction.

        Raises ValueError, and publishes nothing, if a value cannot be encoded as JSON.
        """

    def camera(self, name: str, state: CameraState) -> None: ...

    def active(self, camera: str, state: dict[str, Any]) -> None:
        """Publish what of a camera is paused."""

    def info(self, info: dict[str, Any]) -> None: ...

    def health(self, health: dict[str, Any]) -> None: ...

    def figures(self) -> Any:
        """The publisher's part of `bridge/health`: a dataclass of numbers and booleans, with `connected`."""

    def follow(self, config: Config) -> None:
        """Retained messages that this config does not have are cleared, also if they are from an earlier process."""

    def withdraw(self, following: Config) -> None:
        """Clear every retained message except `offline`, because the node leaves this broker or these topics. What the
        publisher of the config `following` replaces with its own stays.

        Answers are no longer sent. Waiting answers go to the next publisher, see `release`.
        """

    def close(self) -> bool:
        """Send waiting messages, publish `offline`, disconnect. Bounded. True if the broker acknowledged `offline`."""

    def release(self) -> Any:
        """Call after `close`. Returns the messages without acknowledgement, for `adopt` of the next publisher."""

    def adopt(self, released: Any) -> None:
        """Call before `start`. Messages that another publisher released are sent first, as late answers."""
