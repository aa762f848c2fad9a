"""The state of one or more edged nodes, from their messages on the broker: cameras, newest answers, rate.

A retained answer, and one that was sent late, is as old as its stamp says. All others are new on receipt.
"""

from __future__ import annotations

import math
import sys
import time
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeGuard

from edged.core.json_values import is_number
from edged.core.text import counted
from edged.mqtt.follower import FollowedMessage

Judgement: TypeAlias = Literal["right", "wrong"]
Look: TypeAlias = tuple[str, str, float]  # node, camera, time stamp
Judge: TypeAlias = Callable[[dict[str, Any]], Judgement | None]

RATE_LOOKS = 30  # over which the rate is measured
RATE_WINDOW_S = (60.0, 600.0)  # the shortest and the longest; only for the first minute of a connection it is shorter
RATE_START_S = 10.0
KNOWN_LOOKS = 10_000  # more than there are in the shortest window
LATEST_TS = 4e9  # the year 2096; time.localtime accepts it
KNOWN_IDS = 1000  # recent answers, to drop copies; the newest answer of each question is known as well


@dataclass(frozen=True, slots=True)
class NewestAnswer:
    """The newest answer of a question. `stamp_age_s` is this machine's wall clock minus the answer's stamp on
    receipt, or None if the answer was new on receipt.
    """

    payload: dict[str, Any]
    judgement: Judgement | None
    received_s: float  # on the board's clock
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

    `clock_lag_s` is this machine's wall clock minus the box's, as the newest live answer shows it. `config_problems`
    are those of a changed config that was not reloaded.
    """

    state: str = "unknown"
    config_problems: tuple[str, ...] = ()
    offline_since: float | None = None
    clock_lag_s: float = 0.0

    @property
    def config_state(self) -> str | None:
        """`config not reloaded: edged.yaml:9: … (and 1 more)`; None if the config is in force or edged is offline."""
        if not self.config_problems or self.state == "offline":
            return None
        more = f" (and {len(self.config_problems) - 1} more)" if len(self.config_problems) > 1 else ""
        return f"config not reloaded: {self.config_problems[0]}{more}"


def clock_s() -> float:
    """Seconds on a clock that is never set, and that also runs while the machine is suspended (on Linux)."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


@dataclass(slots=True)
class Board:
    """All state so far. `judge` compares an answer with the truth of its frame, where that is known."""

    title: str
    judge: Judge = lambda payload: None
    clock: Callable[[], float] = clock_s
    connected: bool = True
    connected_since: float | None = None
    cameras: dict[str, CameraBoard] = field(default_factory=dict)  # by NODE/CAMERA
    nodes: dict[str, NodeBoard] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    looks: dict[Look, float] = field(default_factory=dict)  # with the time of its first answer, in this order
    ids: deque[Any] = field(default_factory=lambda: deque(maxlen=KNOWN_IDS))

    def connection(self, connected: bool) -> None:
        """Record the state of the connection. The rate is measured anew after a reconnect."""
        self.connected = connected
        if not connected:
            self.connected_since = None
            self.looks.clear()
        elif self.connected_since is None:
            self.connected_since = self.clock()

    def hear(self, message: FollowedMessage) -> NewestAnswer | None:
        """Process one message. Returns the answer if it was a new one."""
        node, topic, payload = message.node, message.topic, message.payload
        if topic == ("bridge", "state"):
            self._set_state(node, str((payload or {}).get("state", "offline")), message.retained)
        elif topic == ("bridge", "info"):
            self.node(node).config_problems = _texts((payload or {}).get("config_problems"))
        elif len(topic) != 2 or topic[0] == "bridge" or topic[1] == "event":
            return None
        elif payload is None:
            self._forget(node, *topic)
        elif topic[1] == "availability":
            self._set_availability(self._camera(node, topic[0]), payload)
        elif _is_answer(payload) and not self._is_copy(node, topic, payload):
            return self._add(node, topic, payload, message.retained)
        return None

    def looks_per_min(self) -> float:
        """The rate of the last looks, over so long a time that a slow schedule does not read as stopped."""
        now, times = self.clock(), list(self.looks.values())
        if not times:
            return 0.0
        shortest_s, longest_s = RATE_WINDOW_S
        enough_s = now - times[-RATE_LOOKS] if len(times) >= RATE_LOOKS else longest_s
        listened_s = now - (times[0] if self.connected_since is None else self.connected_since)
        window_s = max(RATE_START_S, min(max(shortest_s, enough_s), longest_s, listened_s))
        count = len(times) - bisect_right(times, now - window_s)
        return 60.0 * count / window_s

    def age_s(self, node: str, answer: NewestAnswer) -> float:
        """Seconds since the answer was given."""
        elapsed_s = self.clock() - answer.received_s
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

    def _set_state(self, name: str, state: str, retained: bool) -> None:
        node = self.node(name)
        if state == "offline" and node.state != "offline":
            node.offline_since = None if retained else time.time()
            self.looks = {look: at for look, at in self.looks.items() if look[0] != name}
        node.state = state

    def _set_availability(self, camera: CameraBoard, payload: dict[str, Any]) -> None:
        camera.online, camera.reason = payload.get("state") == "online", str(payload.get("reason"))
        camera.since = payload["since"] if _is_up_to(payload.get("since"), LATEST_TS) else None

    def _add(self, node: str, topic: tuple[str, ...], payload: dict[str, Any], retained: bool) -> NewestAnswer:
        self.ids.append(payload.get("id"))
        stamp_age_s = time.time() - payload["answered_ts"]
        fresh = not retained and not payload.get("late")
        if fresh:
            self.node(node).clock_lag_s = stamp_age_s
        judgement = self.judge(payload) if payload["status"] == "ok" else None
        answer = NewestAnswer(payload, judgement, self.clock(), None if fresh else stamp_age_s)
        self._camera(node, topic[0]).answers[topic[1]] = answer
        self.counts["answers"] += 1
        self.counts["refused"] += payload["status"] != "ok"
        if judgement:
            self.counts[judgement] += 1
        if fresh:
            self._count_look((node, topic[0], _look_ts(payload)), answer.received_s)
        return answer

    def _count_look(self, look: Look, at: float) -> None:
        """A look has an answer to each of its questions, and counts once."""
        self.looks.setdefault(look, at)
        if len(self.looks) > KNOWN_LOOKS:
            del self.looks[next(iter(self.looks))]

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
        and _is_up_to(payload.get("answered_ts"), LATEST_TS)
        and (payload.get("confidence") is None or _is_up_to(payload["confidence"], 1.0))
        and (payload.get("frame_age_s") is None or _is_up_to(payload["frame_age_s"], math.inf))
    )


def _texts(value: Any) -> tuple[str, ...]:
    """The texts of a list of texts; none of anything else."""
    texts = value if isinstance(value, list) else []
    return tuple(text for text in texts if isinstance(text, str))


def _look_ts(payload: dict[str, Any]) -> float:
    """When the frame was captured, which all answers of a look have in common; if there was none, the second."""
    captured = payload.get("frame_ts")
    return captured if _is_up_to(captured, LATEST_TS) else int(payload["answered_ts"])


def _is_up_to(value: Any, most: float) -> TypeGuard[float]:
    return is_number(value) and 0 <= value <= most
