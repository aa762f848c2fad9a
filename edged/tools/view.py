"""What is known of cameras and answers from the broker alone, as a picture for a terminal."""

from __future__ import annotations

import json
import math
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from edged.core.text import counted

Verdict: TypeAlias = Literal["right", "wrong"]
Judge: TypeAlias = Callable[[dict[str, Any]], Verdict | None]

NARROW = 64  # columns, below which only question and answer are shown
BAR = 8
RATE_WINDOW_S = 15.0
RATE_FRAMES = 10_000  # more answers than come in that time
LATEST_TS = 4e9  # later than any clock says, and early enough for time.localtime
KNOWN_IDS = 1000  # of answers that may come a second time; the newest of each question is known besides
COLOURS = {"right": "green", "wrong": "red", "ok": "green", "unsure": "yellow", "not_asked": "bright_black"}


@dataclass(slots=True)
class Shown:
    """The newest answer of a question."""

    payload: dict[str, Any]
    verdict: Verdict | None
    heard: float


@dataclass(slots=True)
class CameraBoard:
    """One camera as the broker shows it."""

    online: bool | None = None
    reason: str | None = None
    answers: dict[str, Shown] = field(default_factory=dict)


@dataclass(slots=True)
class Board:
    """Everything heard so far. `judge` knows the truth of a frame, where there is somebody who does."""

    title: str
    judge: Judge = lambda payload: None
    cameras: dict[str, CameraBoard] = field(default_factory=dict)
    nodes: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    frames: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=RATE_FRAMES))
    ids: deque[Any] = field(default_factory=lambda: deque(maxlen=KNOWN_IDS))

    def hear(self, node: str, topic: tuple[str, ...], payload: dict[str, Any] | None) -> Shown | None:
        """Take in one message; the answer, if it was a new one."""
        if topic == ("bridge", "state"):
            self.nodes[node] = str((payload or {}).get("state", "offline"))
        elif len(topic) != 2 or topic[0] == "bridge" or topic[1] == "event":
            return None
        elif payload is None:
            self._forget(node, *topic)
        elif topic[1] == "availability":
            camera = self._camera(node, topic[0])
            camera.online, camera.reason = payload.get("state") == "online", str(payload.get("reason"))
        elif _is_answer(payload) and not self._known(topic, node, payload):
            return self._answer(node, topic[0], topic[1], payload)
        return None

    def looks_per_s(self) -> float:
        now = time.monotonic()
        while self.frames and now - self.frames[0][0] >= RATE_WINDOW_S:
            self.frames.popleft()
        if len(self.frames) < 2:
            return 0.0
        return len({look for _, look in self.frames}) / max(1.0, now - self.frames[0][0])

    def summary(self) -> str:
        """`61 answers: 60 right, 1 wrong, 0 refused (98.4 % right)`."""
        right, wrong, refused = (self.counts[word] for word in ("right", "wrong", "refused"))
        judged = right + wrong
        share = f" ({100 * right / judged:.1f} % right)" if judged else ""
        return f"{counted(self.counts['answers'], 'answer')}: {right} right, {wrong} wrong, {refused} refused{share}"

    def picture(self, width: int, connection: str) -> RenderableType:
        """The view for a terminal of this many columns."""
        parts: list[RenderableType] = [Text(self.title, style="bold"), Text(connection, style="bright_black")]
        for name, camera in sorted(self.cameras.items()):
            parts.append(Panel(self._table(camera, width), title=self._heading(name, camera), title_align="left"))
        if not self.cameras:
            parts.append(Text("no answers yet", style="bright_black"))
        foot = f"{self.looks_per_s():.1f} looks/s"
        parts.append(Text(f"{self.summary()}, {foot}" if self.counts["judged"] else f"{self._plain_count()}, {foot}"))
        return Group(*parts)

    def _plain_count(self) -> str:
        return f"{counted(self.counts['answers'], 'answer')}, {self.counts['refused']} refused"

    def _answer(self, node: str, camera: str, question: str, payload: dict[str, Any]) -> Shown:
        self.ids.append(payload.get("id"))
        verdict = self.judge(payload) if payload.get("status") == "ok" else None
        shown = Shown(payload, verdict, time.monotonic())
        self._camera(node, camera).answers[question] = shown
        self.counts["answers"] += 1
        self.counts["refused"] += payload.get("status") != "ok"
        if verdict:
            self.counts[verdict] += 1
            self.counts["judged"] += 1
        self.frames.append(
            (shown.heard, f"{node}/{camera}/{payload.get('frame_sha256') or payload.get('answered_ts')}")
        )
        return shown

    def _known(self, topic: tuple[str, ...], node: str, payload: dict[str, Any]) -> bool:
        """Whether it is a copy: of a retained answer after a reconnect, or of one that was sent again."""
        answer_id = payload.get("id")
        if answer_id is None:
            return False
        camera = self.cameras.get(f"{node}/{topic[0]}")
        newest = camera.answers.get(topic[1]) if camera else None
        return answer_id in self.ids or (newest is not None and newest.payload.get("id") == answer_id)

    def _camera(self, node: str, camera: str) -> CameraBoard:
        return self.cameras.setdefault(f"{node}/{camera}", CameraBoard())

    def _forget(self, node: str, camera: str, question: str) -> None:
        known = self.cameras.get(f"{node}/{camera}")
        if known and question == "availability":
            del self.cameras[f"{node}/{camera}"]
        elif known:
            known.answers.pop(question, None)

    def _heading(self, name: str, camera: CameraBoard) -> Text:
        node = name.partition("/")[0]
        if self.nodes.get(node) == "offline":
            return _text(f"{name}: edged is offline", "red")
        if camera.online is False:
            return _text(f"{name}: {camera.reason}", "red")
        return _text(name, "bold green" if camera.online else "bold")

    def _table(self, camera: CameraBoard, width: int) -> Table:
        table = Table(box=None, expand=True, show_header=width >= NARROW, header_style="bright_black", padding=(0, 1))
        table.add_column("question", no_wrap=True, max_width=max(8, width // 4))
        table.add_column("answer", ratio=1)
        if width >= NARROW:
            for heading, wide in (("confidence", BAR + 6), ("age", 7), ("", 6)):
                table.add_column(heading, no_wrap=True, min_width=wide)
        for question, shown in camera.answers.items():
            cells = [_text(question), _value(shown)]
            table.add_row(*([*cells, _confidence(shown), _age(shown), _verdict(shown)] if width >= NARROW else cells))
        return table


def said_value(payload: dict[str, Any]) -> str:
    """The value as JSON, or the status of a refusal."""
    if payload.get("status") != "ok":
        return str(payload.get("status"))
    return json.dumps(payload.get("value"), ensure_ascii=False, separators=(",", ":"))


def plain_line(shown: Shown) -> str:
    """Time, camera, question, value or status, confidence, frame's age; the last word is the verdict or status."""
    payload = shown.payload
    confidence, age = payload.get("confidence"), payload.get("frame_age_s")
    words = [
        time.strftime("%H:%M:%S", time.localtime(payload.get("answered_ts"))),
        str(payload.get("camera")),
        str(payload.get("question")),
        said_value(payload),
        "-" if confidence is None else f"{confidence:.3f}",
        "-" if age is None else f"{age:.2f}s",
        shown.verdict or str(payload.get("status")),
    ]
    return _printable(" ".join(words))


def _is_answer(payload: dict[str, Any]) -> bool:
    """Whether it is of the form that edged publishes: anybody may publish on a broker."""
    texts = all(isinstance(payload.get(key), str) for key in ("status", "camera", "question"))
    reason, stamp = payload.get("reason"), payload.get("answered_ts")
    return (
        texts
        and (reason is None or isinstance(reason, str))
        and _is_number(stamp, LATEST_TS)
        and (payload.get("confidence") is None or _is_number(payload["confidence"], 1.0))
        and (payload.get("frame_age_s") is None or _is_number(payload["frame_age_s"], math.inf))
    )


def _is_number(value: Any, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most


def _printable(text: str) -> str:
    """The text without what a terminal would take for a command."""
    return "".join(char if char.isprintable() else "·" for char in text)


def _text(text: str, style: str = "") -> Text:
    return Text(_printable(text), style=style)


def _value(shown: Shown) -> Text:
    payload = shown.payload
    if payload.get("status") != "ok":
        return _text(f"{payload['status']}: {payload.get('reason')}", COLOURS.get(payload["status"], "red"))
    value = payload.get("value")
    return _text(" ".join(value.split()) if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _confidence(shown: Shown) -> Text:
    confidence = shown.payload.get("confidence")
    if confidence is None:
        return Text("")
    filled = round(BAR * confidence)
    return Text.assemble(("█" * filled, "green"), ("░" * (BAR - filled), "bright_black"), f" {confidence:.2f}")


def _age(shown: Shown) -> Text:
    age = shown.payload.get("frame_age_s")
    return Text("" if age is None else f"{age:.2f} s")


def _verdict(shown: Shown) -> Text:
    word = shown.verdict or ""
    return Text(word, style=COLOURS.get(word, ""))
