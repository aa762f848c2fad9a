"""What a config says, resolved and frozen: cameras, questions, model, broker.

Specs are compared with `==` to find out what a reload has to change, secrets by what they resolve to. Nothing here
reads a file or opens anything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, time
from pathlib import Path
from typing import Any, Literal

from edged.core.answer_types import AnswerType, Language
from edged.core.secret import Secret

DEFAULT_EVERY_S = 60.0
DEFAULT_MAX_AGE_S = 5.0
DEFAULT_DEADLINE_S = 60.0
DEFAULT_MAX_NEW_TOKENS = 128
WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
ANY = "any"  # the `when` of a follow-up that has none


@dataclass(frozen=True, slots=True)
class Generation:
    """How a reply is generated. Greedy unless a temperature is set."""

    max_new_tokens: int = DEFAULT_MAX_NEW_TOKENS
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    deadline_s: float = DEFAULT_DEADLINE_S


@dataclass(frozen=True, slots=True)
class AlertSpec:
    """An alert goes on when the answer is `when` for `after` looks in a row, and off in the same way."""

    when: Any
    after: int = 1


@dataclass(frozen=True, slots=True)
class QuestionSpec:
    """A question as it is asked: `prompt` holds the instruction of its type already."""

    name: str
    prompt: str
    answer: AnswerType
    title: str = ""
    generation: Generation = Generation()
    every_s: float | None = None
    min_confidence: float = 0.0
    alert: AlertSpec | None = None
    when: Any = ANY
    then: tuple[QuestionSpec, ...] = ()

    @property
    def prompt_rev(self) -> str:
        """Changes with everything that can change the reply."""
        return revision([self.prompt, repr(self.answer), repr(self.generation)])

    @property
    def answer_rev(self) -> str:
        """Changes with everything that can change this answer or one of its follow-ups; not with when it is asked."""
        own = [self.name, self.prompt_rev, self.min_confidence, repr(self.when)]
        return revision([*own, *(question.answer_rev for question in self.then)])


@dataclass(frozen=True, slots=True)
class Every:
    """A look every so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Cron:
    """Looks at the times of a cron expression of five fields."""

    expression: str


@dataclass(frozen=True, slots=True)
class Hours:
    """When looks are made: on these days, from one time of day up to another (past midnight if that is earlier)."""

    days: frozenset[int]  # 0 is Monday
    begin: time
    end: time

    def hold(self, moment: datetime) -> bool:
        clock, day = moment.time(), moment.weekday()
        if self.begin < self.end:
            return day in self.days and self.begin <= clock < self.end
        return (day in self.days and clock >= self.begin) or ((day - 1) % 7 in self.days and clock < self.end)


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """Where frames come from. `address` may hold a password, `shown` never does."""

    kind: Literal["rtsp", "http", "usb", "path"]
    address: Secret
    shown: str
    problem: str | None = None  # why it cannot be opened at all: a secret is missing


@dataclass(frozen=True, slots=True)
class CameraSpec:
    """One camera and what is asked of it. A polygon's points are shares of width and height."""

    name: str
    source: SourceSpec
    title: str = ""
    schedule: Every | Cron = Every(DEFAULT_EVERY_S)
    hours: tuple[Hours, ...] = ()
    max_age_s: float = DEFAULT_MAX_AGE_S
    mask: tuple[tuple[tuple[float, float], ...], ...] = ()
    at_least_every_s: float | None = None  # set: an unchanged picture is asked again only after so long
    image: bool = False
    questions: tuple[QuestionSpec, ...] = ()

    @property
    def connection(self) -> tuple[Any, ...]:
        """What an open camera depends on; all else can change while it stays open."""
        return (self.name, self.source, self.max_age_s, self.mask)

    def all_questions(self) -> list[QuestionSpec]:
        """Every question of this camera, follow-ups after the one they follow."""
        return list(with_follow_ups(self.questions))


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The model's folder, and how it is loaded. `cores` is the owner's word for text and vision cores of an NPU.

    Each of `workers` is such a pair of its own, with a model object of its own.
    """

    path: Path
    cores: tuple[tuple[str, str], ...] = ()
    fit: Literal["stretch", "letterbox"] = "stretch"
    workers: tuple[tuple[tuple[str, str], ...], ...] = ()

    def each_worker(self) -> list[ModelSpec]:
        """One spec for each model object that is to be loaded."""
        return [replace(self, cores=cores, workers=()) for cores in self.workers or (self.cores,)]


@dataclass(frozen=True, slots=True)
class BrokerSpec:
    """The broker and how edged is known there."""

    host: str = "localhost"
    port: int = 1883
    tls: bool = False
    ca: Path | None = None
    username: str | None = None
    password: Secret | None = None
    prefix: str = "edged"
    client_id: str = ""
    problem: str | None = None  # why no login can be made: a secret is missing; there is no connection meanwhile

    @property
    def shown(self) -> str:
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Config:
    """One whole, valid config. `rev` changes with the file's text; `warnings` are for the log."""

    node: str
    model: ModelSpec
    mqtt: BrokerSpec
    cameras: tuple[CameraSpec, ...]
    timezone: str | None
    rev: str
    path: Path = field(compare=False)
    language: Language = "en"
    generation: Generation = Generation()  # the model's defaults, for questions asked outside of a look
    warnings: tuple[str, ...] = field(default=(), compare=False)

    def camera(self, name: str) -> CameraSpec | None:
        return next((camera for camera in self.cameras if camera.name == name), None)


def revision(parts: Any) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of what JSON says of `parts`."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()[:12]


def with_follow_ups(questions: Sequence[QuestionSpec]) -> Iterator[QuestionSpec]:
    """Each of these questions, its follow-ups after it."""
    for question in questions:
        yield question
        yield from with_follow_ups(question.then)
