"""Fakes of the three interfaces: camera, model and publisher."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from edged.core.errors import ModelFolderError, Stopped
from edged.core.specs import Config, QuestionSpec
from edged.core.types import Answer, CameraFigures, CameraState, Event, Exchange, Fact, Frame, Reply
from support.making import frame


class FakeCamera:
    """Returns the frames and raises the errors of `grabs`, or of its functions, in order, the last one repeatedly."""

    def __init__(self, *grabs: Frame | Exception | Callable[[], Exception]) -> None:
        self.grabs = list(grabs) or [frame()]
        self.closed = 0

    def start(self) -> None: ...

    def grab(self, stop: threading.Event) -> Frame:
        grabbed = self.grabs.pop(0) if len(self.grabs) > 1 else self.grabs[0]
        if isinstance(grabbed, Frame):
            return grabbed
        raise grabbed if isinstance(grabbed, Exception) else grabbed()

    def figures(self) -> CameraFigures:
        return CameraFigures(reconnects=2, damaged=3)

    def close(self) -> None:
        self.closed += 1


class FakeModel:
    """Replies with `replies[question name]`: a text, a Reply, an error to raise, or a function that returns one."""

    name = "fake"
    revision = "r1"
    device = "cpu"

    def __init__(self, replies: dict[str, Any] | None = None, see_s: float = 0.0) -> None:
        self.replies = replies or {}
        self.see_s = see_s
        self.seen: list[str] = []  # digests of the encoded frames: to keep the frames would hide a leak
        self.asked: list[tuple[str, list[Exchange]]] = []
        self.disposed = 0
        self.threads: set[int] = set()
        self.refused: str | None = None  # the name of a question that `check` refuses

    def check(self, questions: Sequence[QuestionSpec]) -> None:
        if self.refused in [question.name for question in questions]:
            raise ModelFolderError(f'question "{self.refused}": this model\'s tokenizer cannot spell it')

    def encode(self, picture: Frame) -> float:
        time.sleep(self.see_s)
        self.threads.add(threading.get_ident())
        self.seen.append(picture.sha256)
        return 1.0

    def ask(
        self,
        history: Sequence[Exchange],
        question: QuestionSpec,
        stop: threading.Event,
        on_text: Callable[[str], None] | None = None,
    ) -> Reply:
        if stop.is_set():
            raise Stopped
        self.asked.append((question.name, list(history)))
        reply = self.replies.get(question.name, "Yes")
        if callable(reply):
            reply = reply()
        if isinstance(reply, Exception):
            raise reply
        return reply if isinstance(reply, Reply) else Reply(reply, "done", 0.9, 0, 2.0)

    def dispose(self) -> None:
        self.disposed += 1


class FakePublisher:
    """Remembers what was published."""

    def __init__(self) -> None:
        self.answered: list[Answer] = []
        self.events: list[Event] = []
        self.images: list[bytes] = []
        self.facts: list[Fact] = []
        self.states: list[tuple[str, CameraState]] = []
        self.active_states: list[tuple[str, dict[str, Any]]] = []
        self.moved_at = time.monotonic()
        self.tried = True

    def prepare(self) -> None: ...

    def start(self) -> None: ...

    def online(self) -> None: ...

    def answers(
        self,
        answers: Sequence[Answer],
        events: Sequence[Event],
        image: bytes | None,
        facts: Sequence[Fact] = (),
        settings: str | None = None,
    ) -> None:
        self.answered += answers
        self.events += events
        self.facts += facts
        self.images += [image] if image else []

    def camera(self, name: str, state: CameraState) -> None:
        self.states.append((name, state))

    def active(self, camera: str, state: dict[str, Any]) -> None:
        self.active_states.append((camera, state))

    def info(self, info: dict[str, Any]) -> None: ...

    def health(self, health: dict[str, Any]) -> None: ...

    def figures(self) -> Any: ...

    def follow(self, config: Config) -> None: ...

    def withdraw(self, following: Config) -> None: ...

    def close(self) -> bool:
        return True

    def release(self) -> Sequence[Any]:
        return []

    def adopt(self, released: Sequence[Any]) -> None: ...
