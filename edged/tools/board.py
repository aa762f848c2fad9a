"""The state of one or more edged nodes, from their messages on the broker: cameras, newest answers, rate.

A message's topic says nothing about its age. The first message of a topic in a connection may be one that the broker
retained, so it is as old as its stamp says; those after it were published while we listened and are new.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from edged.core.text import counted

Judgement: TypeAlias = Literal["right", "wrong"]
Judge: TypeAlias = Callable[[dict[str, Any]], Judgement | None]

RATE_WINDOW_S = 15.0
RATE_LOOKS = 10_000  # more answers than arrive within the window
LATEST_TS = 4e9  # the year 2096; time.localtime accepts it
KNOWN_IDS = 1000  # recent answers, to drop copies; the newest answer of each question is known as well


@dataclass(frozen=True, slots=True)
class NewestAnswer:
    """The newest answer of a question. `stamp_age_s` is this machine's wall clock minus the answer's stamp on
    receipt, or None if the answer was new on receipt.
    """

    payload: dict[str, Any]
    judgement: Judgement | None
    received_s: float  # monotonic
    stamp_age_s: float | None


@dataclass(slots=True)
class CameraBoard:
    """One camera: its availability (`since` on the box's wall clock) and the newest answer of each question."""

    online: bool | None = None
    reason: str | None = None
    since: float | None = None
    answers: dict[str, NewestAnswer] = field(default_factory=dict)


@dataclass(slots=True)
class NodeBoard:
    """One edged. `offline_since` is on this machine's wall clock, None if it went offline before we listened.

    `clock_lag_s` is this machine's wall clock minus the box's, as the newest live answer shows it.
    """

    state: str = "unknown"
    offline_since: float | None = None
    clock_lag_s: float = 0.0


@dataclass(slots=True)
class Board:
    """All state so far. `judge` compares an answer with the truth of its frame, where that is known."""

    title: str
    judge: Judge = lambda payload: None
    monotonic: Callable[[], float] = time.monotonic
    connected: bool = True
    cameras: dict[str, CameraBoard] = field(default_factory=dict)  # by NODE/CAMERA
    nodes: dict[str, NodeBoard] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    looks: deque[tuple[float, str, str]] = field(default_factory=lambda: deque(maxlen=RATE_LOOKS))  # when, node, look
    ids: deque[Any] = field(default_factory=lambda: deque(maxlen=KNOWN_IDS))
    live_topics: set[tuple[str, ...]] = field(default_factory=set)

    def connection(self, connected: bool) -> None:
        """Record the state of the connection. The broker sends its retained messages again after a reconnect."""
        self.connected = connected
        if not connected:
            self.live_topics.clear()
            self.looks.clear()

    def hear(self, node: str, topic: tuple[str, ...], payload: dict[str, Any] | None) -> NewestAnswer | None:
        """Process one message. Returns the answer if it was a new one."""
        live = self._is_live(node, topic)
        if topic == ("bridge", "state"):
            self._set_state(node, str((payload or {}).get("state", "offline")), live)
        elif len(topic) != 2 or topic[0] == "bridge" or topic[1] == "event":
            return None
        elif payload is None:
            self._forget(node, *topic)
        elif topic[1] == "availability":
            self._set_availability(self._camera(node, topic[0]), payload)
        elif _is_answer(payload) and not self._is_copy(node, topic, payload):
            return self._add(node, topic, payload, live)
        return None

    def looks_per_s(self) -> float:
        now = self.monotonic()
        while self.looks and now - self.looks[0][0] >= RATE_WINDOW_S:
            self.looks.popleft()
        if len(self.looks) < 2:
            return 0.0
        return len({look for _, _, look in self.looks}) / max(1.0, now - self.looks[0][0])

    def age_s(self, node: str, answer: NewestAnswer) -> float:
        """Seconds since the answer was given."""
        elapsed_s = self.monotonic() - answer.received_s
        if answer.stamp_age_s is None:
            return elapsed_s
        # negative where the box's clock is ahead of ours and no live answer has shown by how much
        return max(0.0, answer.stamp_age_s - self.node(node).clock_lag_s) + elapsed_s

    @property
    def judges(self) -> bool:
        """True if any answer has been compared with the truth."""
        return self.counts["right"] + self.counts["wrong"] > 0

    def node(self, name: str) -> NodeBoard:
        return self.nodes.setdefault(name, NodeBoard())

    def is_stale(self, node: str) -> bool:
        """True if nothing new can come from the node: it is offline, or the broker cannot be reached."""
        return not self.connected or self.node(node).state == "offline"

    def summary(self) -> str:
        """`61 answers: 58 right, 1 wrong, 1 refused, 1 not judged (98.3 % right)`."""
        right, wrong, refused = (self.counts[kind] for kind in ("right", "wrong", "refused"))
        judged = right + wrong
        others = self.counts["answers"] - judged - refused
        parts = [
            f"{right} right",
            f"{wrong} wrong",
            f"{refused} refused",
            *([f"{others} not judged"] if others else []),
        ]
        share = f" ({100 * right / judged:.1f} % right)" if judged else ""
        return f"{counted(self.counts['answers'], 'answer')}: {', '.join(parts)}{share}"

    def totals(self) -> str:
        """The summary, or the number of answers alone where nothing can be judged."""
        if self.judges:
            return self.summary()
        return f"{counted(self.counts['answers'], 'answer')}, {self.counts['refused']} refused"

    def _is_live(self, node: str, topic: tuple[str, ...]) -> bool:
        """True if the message was published while we listened, False if it may be a retained one."""
        key = (node, *topic)
        if key in self.live_topics:
            return True
        self.live_topics.add(key)
        return False

    def _set_state(self, name: str, state: str, live: bool) -> None:
        node = self.node(name)
        if state == "offline" and node.state != "offline":
            node.offline_since = time.time() if live else None
            self.looks = deque((look for look in self.looks if look[1] != name), maxlen=RATE_LOOKS)
        node.state = state

    def _set_availability(self, camera: CameraBoard, payload: dict[str, Any]) -> None:
        camera.online, camera.reason = payload.get("state") == "online", str(payload.get("reason"))
        camera.since = payload["since"] if _is_number(payload.get("since"), LATEST_TS) else None

    def _add(self, node: str, topic: tuple[str, ...], payload: dict[str, Any], live: bool) -> NewestAnswer:
        self.ids.append(payload.get("id"))
        stamp_age_s = time.time() - payload["answered_ts"]
        fresh = live and not payload.get("late")
        if fresh:
            self.node(node).clock_lag_s = stamp_age_s
        judgement = self.judge(payload) if payload["status"] == "ok" else None
        answer = NewestAnswer(payload, judgement, self.monotonic(), None if fresh else stamp_age_s)
        self._camera(node, topic[0]).answers[topic[1]] = answer
        self.counts["answers"] += 1
        self.counts["refused"] += payload["status"] != "ok"
        if judgement:
            self.counts[judgement] += 1
        if fresh:
            look = f"{node}/{topic[0]}/{payload.get('frame_sha256') or payload['answered_ts']}"
            self.looks.append((answer.received_s, node, look))
        return answer

    def _is_copy(self, node: str, topic: tuple[str, ...], payload: dict[str, Any]) -> bool:
        """True for a retained answer that a reconnect brings again, and for one that was sent twice."""
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


def _is_answer(payload: dict[str, Any]) -> bool:
    """True if the keys that are used have the types that edged publishes: anyone may publish on a broker."""
    texts = all(isinstance(payload.get(key), str) for key in ("status", "camera", "question"))
    reason = payload.get("reason")
    return (
        texts
        and (reason is None or isinstance(reason, str))
        and _is_number(payload.get("answered_ts"), LATEST_TS)
        and (payload.get("confidence") is None or _is_number(payload["confidence"], 1.0))
        and (payload.get("frame_age_s") is None or _is_number(payload["frame_age_s"], math.inf))
    )


def _is_number(value: Any, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most
