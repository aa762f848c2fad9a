"""Judges whether edged may have published what the brokers received, given which config was saved when."""

from __future__ import annotations

import bisect
import json
import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice, pairwise, takewhile
from typing import Any
from urllib.parse import quote

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.subscribeoptions import SubscribeOptions
from soak.shapes import Setting, Shape

GRACE_S = 1.0  # a message published just before a reload may arrive just after it
LOOK_GAP_S = 3.0
START_S = 3.0  # until a camera that was changed has to answer
STREAM_START_S = 12.0  # the same for RTSP
CLEARED_LATE = 6  # reloads
AROUND = 8  # messages shown around a violation


@dataclass(frozen=True, slots=True)
class Message:
    at: float  # monotonic
    broker: int
    topic: str
    payload: bytes

    @property
    def cleared(self) -> bool:
        return not self.payload

    @property
    def json(self) -> dict[str, Any]:
        content = json.loads(self.payload)
        assert isinstance(content, dict), self.topic
        return content


class Recorder:
    """Records everything that is published on the brokers, with its time of arrival."""

    def __init__(self, ports: tuple[int, int], user: str, password: str) -> None:
        self.messages: list[Message] = []
        self.changed = threading.Condition()
        self._clients = [self._connected(number, port, user, password) for number, port in enumerate(ports)]

    def wait_for(self, holds: Any, timeout_s: float, start: int = 0) -> Message | None:
        """The first message, from number `start` on, for which `holds` is true; None if none arrives in time."""
        end = time.monotonic() + timeout_s
        with self.changed:
            while True:
                for number in range(start, len(self.messages)):
                    if holds(self.messages[number]):
                        return self.messages[number]
                start = len(self.messages)
                if not self.changed.wait(end - time.monotonic()):
                    return None

    def close(self) -> None:
        for client in self._clients:
            client.disconnect()
            client.loop_stop()

    def _connected(self, number: int, port: int, user: str, password: str) -> mqtt.Client:
        client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        client.username_pw_set(user, password)
        subscribed = threading.Event()
        client.on_subscribe = lambda *_: subscribed.set()

        def received(_client: Any, _: Any, message: mqtt.MQTTMessage) -> None:
            with self.changed:
                self.messages.append(Message(time.monotonic(), number, message.topic, bytes(message.payload)))
                self.changed.notify_all()

        client.on_message = received
        client.connect("127.0.0.1", port)
        client.subscribe("#", options=SubscribeOptions(qos=1, retainAsPublished=True))
        client.loop_start()
        assert subscribed.wait(10)
        return client


@dataclass
class Save:
    """A config that was saved for edged to follow: when it was saved, and when it was in force (inf: not known)."""

    number: int  # of the reload
    kind: str
    rev: str
    shape: Shape
    saved_at: float
    in_force_at: float = math.inf

    @cached_property
    def topics(self) -> set[tuple[int, str]]:
        return self.shape.topics()

    @cached_property
    def questions(self) -> dict[tuple[str, str], tuple[str, str]]:
        return self.shape.questions()


@dataclass(frozen=True)
class Violation:
    reload: int
    kind: str
    sentence: str
    around: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n    ".join((f"reload {self.reload} ({self.kind}): {self.sentence}", *self.around))


@dataclass
class Oracle:
    """Judges the messages by the saves, which are in the order of their time.

    `delay_s` is how long a busy machine kept the processes from running, between two moments (monotonic).
    """

    setting: Setting
    saves: list[Save]
    messages: list[Message]
    delay_s: Callable[[float, float], float] = lambda _begin, _end: 0.0
    wall_offset: float = field(default_factory=lambda: time.time() - time.monotonic())

    def violations(self) -> Iterator[Violation]:
        yield from self._order()
        yield from self._looks()
        yield from self._rests()
        yield from self._secrets()

    # order on each topic

    def _order(self) -> Iterator[Violation]:
        topics = defaultdict(list)
        for number, message in enumerate(self.messages):
            topics[message.broker, message.topic].append(number)
        for place, numbers in topics.items():
            yield from self._topic(place, numbers)

    def _topic(self, place: tuple[int, str], numbers: list[int]) -> Iterator[Violation]:
        """One topic from begin to end. After a topic was cleared, only a later config may publish on it again."""
        ended = answered = -1  # the save that cleared it, and the save of the newest answer
        for number in numbers:
            message = self.messages[number]
            save = self._answer_of(message)
            if message.cleared:
                clearing = self._clearing(place, message.at)
                ended = max(ended, clearing)
                wrong = "cleared, but every config of this time has this topic" if clearing < 0 else None
            else:
                wrong = self._wrong(place, message, save, ended, answered)
            if save is not None:
                answered = max(answered, save)
            if wrong:
                yield self._violation(number, numbers, wrong)

    def _wrong(
        self, place: tuple[int, str], message: Message, save: int | None, ended: int, answered: int
    ) -> str | None:
        """Why edged may not publish this message; None if it may."""
        if message.topic.endswith(("/late", "/event")):
            return self._left_over(message)
        live = self._live(place, message.at)
        if message.topic.endswith("/bridge/state"):
            stale = message.json["state"] == "online" and not live
            return "online under a node or prefix that is no longer used" if stale else None
        if not live:
            return "no config of this time has this topic"
        if max(live) <= ended:
            return f"the topic was cleared after save {ended}, and no later config has it"
        return self._wrong_answer(message, save, ended, answered) if _is_answer(message) else None

    def _answer_of(self, message: Message) -> int | None:
        """The index of the save with the answer's config_rev; None for other messages."""
        if not _is_answer(message):
            return None
        rev = message.json["config_rev"]
        return next((i for i in reversed(range(len(self.saves))) if self.saves[i].rev == rev), None)

    def _wrong_answer(self, message: Message, save: int | None, ended: int, answered: int) -> str | None:
        answer = message.json
        if save is None:
            return f"config_rev {answer['config_rev']} was never saved"
        asked = self.saves[save].questions.get((answer["camera"], answer["question"]))
        if asked is None:
            return f"its save {save} does not have this question"
        if asked != (answer["prompt"], answer["type"]):
            return f"its save {save} asks {asked}"
        if answer["node"] != message.topic.split("/")[-3]:
            return "its node differs from that of its topic"
        # A change of node or broker clears a topic too, and a look may last until the change is reverted.
        removed = ended >= 0 and (answer["camera"], answer["question"]) not in self.saves[ended].questions
        if removed and save <= ended:
            return f"it is of save {save}, but the question was cleared after save {ended}"
        if save < answered:
            return f"it is of save {save}, after an answer of save {answered}"
        return None

    def _left_over(self, message: Message) -> str | None:
        """Late answers and events may arrive after their camera was removed, if a config of their time had it."""
        content = message.json
        if message.topic.endswith("/late"):
            return None if content["late"] is True else "on the topic late, but not marked as late"
        name = f"{content['camera']}/{content['question']}"
        node = message.topic.removesuffix(f"/{content['camera']}/event")
        at = content["ts"] - self.wall_offset
        if any(topic == f"{node}/{name}" for save in self._at(at) for _, topic in self.saves[save].topics):
            return None
        return "an event of a question that no config of its time had"

    def _clearing(self, place: tuple[int, str], at: float) -> int:
        """The save that made edged clear this topic: the first that may be in force and does not have it; -1 if none.

        A topic that should have been cleared while the broker was away is cleared some reloads later.
        """
        live = self._at(at, 0.0)
        earlier = range(live[0] - CLEARED_LATE, live[0]) if live else ()
        without = [save for save in (*live, *reversed(earlier)) if save >= 0 and not self._has(save, place)]
        return without[0] if without else -1

    def _has(self, save: int, place: tuple[int, str]) -> bool:
        return place in self.saves[save].topics

    def _live(self, place: tuple[int, str], at: float) -> list[int]:
        return [save for save in self._at(at) if self._has(save, place)]

    def _at(self, at: float, grace_s: float = GRACE_S) -> list[int]:
        """The saves that may be in force at this time: those since the last one that is known to be, with `grace_s`."""
        last = bisect.bisect_right([save.saved_at for save in self.saves], at)
        live = []
        over = math.inf
        for index in reversed(range(last)):
            if at > over + grace_s and at - self.delay_s(over, at) > over + grace_s:
                break
            live.append(index)
            over = min(over, self.saves[index].in_force_at)
        return live[::-1]

    def _violation(self, number: int, numbers: list[int], sentence: str) -> Violation:
        message = self.messages[number]
        at = self._at(message.at)
        save = self.saves[at[-1] if at else 0]
        middle = numbers.index(number)
        around = numbers[max(0, middle - AROUND // 2) : middle + AROUND // 2]
        lines = [self.line(self.messages[each], ">" if each == number else " ") for each in around]
        return Violation(save.number, save.kind, f"{message.topic}: {sentence} (saves {at})", tuple(lines))

    def line(self, message: Message, mark: str = " ") -> str:
        shown = "cleared" if message.cleared else f"{len(message.payload)} bytes"
        if _is_answer(message):
            answer = message.json
            shown = f"save {self._answer_of(message)}: {answer['status']} {answer['value']!r} to {answer['prompt']!r}"
        elif not message.cleared and not message.topic.endswith("/jpeg"):
            shown = message.payload.decode()[:200]
        return f"{mark} {message.at - self.saves[0].saved_at:8.2f} s  broker {message.broker}  {message.topic}  {shown}"

    # looks continue

    def _looks(self) -> Iterator[Violation]:
        times: dict[str, list[float]] = defaultdict(list)
        for message in self.messages:
            if _is_answer(message):
                times[message.json["camera"]].append(message.at)
        names = {name for save in self.saves for name in save.shape.cameras}
        for name in sorted(names):
            for first, begin, end in self._lives(name):
                yield from self._gaps(name, first, begin, end, times[name])

    def _gaps(self, name: str, first: Save, begin: float, end: float, times: list[float]) -> Iterator[Violation]:
        inside = [at for at in times if begin <= at <= end]
        for before, after in zip([begin, *inside], [*inside, end], strict=True):
            since = first.in_force_at if before == begin else before  # what delayed the start counts too
            if after - before > LOOK_GAP_S and after - before - self.delay_s(since, after) > LOOK_GAP_S:
                save = self.saves[self._at(after)[-1]]
                unchanged = f"unchanged since reload {first.number}"
                yield Violation(
                    save.number,
                    save.kind,
                    f"camera {name}, {unchanged}, did not answer for {after - before:.1f} s "
                    f"(from {before - self.saves[0].saved_at:.2f} s on)",
                )

    def _lives(self, name: str) -> Iterator[tuple[Save, float, float]]:
        """The spans of time in which this camera must answer: it looks often, and nothing it depends on changes."""
        first: Save | None = None
        key: object = None
        for save in self.saves:
            now = self._dependencies(save.shape, name)
            if now == key:
                continue
            if first:
                yield first, first.in_force_at + self._start_s(first.shape, name), save.saved_at
            first, key = (save, now) if now is not None else (None, None)
        if first and self.messages:
            yield first, first.in_force_at + self._start_s(first.shape, name), self.messages[-1].at - GRACE_S

    def _start_s(self, shape: Shape, name: str) -> float:
        return STREAM_START_S if shape.cameras[name]["source"].startswith("rtsp") else START_S

    def _dependencies(self, shape: Shape, name: str) -> object:
        if name not in shape.cameras or not shape.looks_often(name) or not shape.connected(self.setting):
            return None
        return (shape.cameras[name], shape.place, shape.user, shape.model, shape.zone, shape.secrets["dock"])

    def _rests(self) -> Iterator[Violation]:
        """A camera with a cron expression looks once a minute at most."""
        for save, following in pairwise(self.saves):
            for name, camera in save.shape.cameras.items():
                begin = save.in_force_at + GRACE_S
                if "cron" not in camera or begin > following.saved_at:
                    continue
                answers = [m for m in self._between(begin, following.saved_at) if self._is_of(m, name)]
                looks = {
                    (m.json["frame_ts"], m.json["answered_ts"] if m.json["frame_ts"] is None else 0) for m in answers
                }
                if len(looks) > 2 + (following.saved_at - begin) / 60:
                    sentence = f"camera {name}, which has a cron expression, looked {len(looks)} times"
                    yield Violation(save.number, save.kind, sentence, tuple(map(self.line, answers[:AROUND])))

    def _between(self, begin: float, end: float) -> Iterator[Message]:
        first = bisect.bisect_left(self.messages, begin, key=lambda message: message.at)
        return takewhile(lambda message: message.at <= end, islice(self.messages, first, None))

    def _is_of(self, message: Message, camera: str) -> bool:
        return _is_answer(message) and message.json["camera"] == camera

    # secrets

    def _secrets(self) -> Iterator[Violation]:
        secrets = passwords(self.saves)
        for number, message in enumerate(self.messages):
            if any(secret.encode() in message.payload for secret in secrets):
                yield self._violation(number, [number], "contains a password")


def passwords(saves: Iterable[Save]) -> set[str]:
    """Every password that was used, plain and percent-encoded."""
    plain = {value for save in saves for value in save.shape.secrets.values() if value}
    return plain | {quote(value, safe="") for value in plain}


def _is_answer(message: Message) -> bool:
    if message.cleared or message.topic.endswith(("/jpeg", "/event", "/late", "/availability", "/active")):
        return False
    return "/bridge/" not in message.topic and not message.topic.startswith("homeassistant/")
