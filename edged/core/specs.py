"""A config, resolved and frozen: cameras, questions, model, broker.

A reload compares specs with `==` to find what has to change; secrets compare by their text. Nothing in this module
does I/O.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, time
from pathlib import Path
from typing import Any, Literal, TypeAlias

from edged.core.answer_types import AnswerType, Language
from edged.core.conditions import Condition
from edged.core.secret import Secret
from edged.core.text import host_port

DEFAULT_EVERY_S = 60.0
DEFAULT_MAX_AGE_S = 5.0
DEFAULT_FROZEN_AFTER_S = 30.0
DEFAULT_WARM_UP_S = 1.0
DEFAULT_DEADLINE_S = 60.0
DEFAULT_MAX_NEW_TOKENS = 128
DEFAULT_KEEP_S = 7 * 86400.0
DEFAULT_HISTORY_BYTES = 200_000_000
DEFAULT_SAMPLE = 0.02
DEFAULT_FRAMES_BYTES = 2_000_000_000
DEFAULT_DISCOVERY_PREFIX = "homeassistant"
WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
ANY = "any"  # `when` of a follow-up without a condition


@dataclass(frozen=True, slots=True)
class Generation:
    """How a reply is generated: greedy unless there is a `temperature`. None means that a setting is not applied.

    `deadline_s` includes the prefill of the question, but not the encoding of the frame.
    """

    max_new_tokens: int = DEFAULT_MAX_NEW_TOKENS
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    deadline_s: float = DEFAULT_DEADLINE_S


@dataclass(frozen=True, slots=True)
class AlertSpec:
    """When the alert of a question goes on and off. Only answers with a value count.

    It goes on after `after` answers in a row for which `when` holds, the last of them `for_s` seconds after the first
    or later, but not in the hours `quiet` (in the time zone of the config). It goes off after `clear_after` answers in
    a row for which `clear_when` holds (None: for which `when` does not), and `clear_for_s` seconds.
    """

    when: Condition
    after: int = 1
    for_s: float = 0.0
    clear_when: Condition | None = None
    clear_after: int = 1
    clear_for_s: float = 0.0
    quiet: tuple[Hours, ...] = ()

    def clears(self, value: Any) -> bool:
        return not self.when.holds(value) if self.clear_when is None else self.clear_when.holds(value)

    @property
    def conditions_rev(self) -> str:
        """Changes with what the alert is about; not with its counts, times and quiet hours."""
        return revision([repr(self.when), repr(self.clear_when)])


Point: TypeAlias = tuple[float, float]  # x and y, as fractions of the picture's width and height, 0 to 1


@dataclass(frozen=True, slots=True)
class RegionSpec:
    """A named part of the upright picture. `box` is left, top, right and bottom, as fractions of width and height.

    If there is a `polygon`, the box is its bounding box, and the pixels outside of the polygon are black.
    """

    name: str
    box: tuple[float, float, float, float]
    polygon: tuple[Point, ...] = ()


@dataclass(frozen=True, slots=True)
class QuestionSpec:
    """A question as it is asked: `prompt` includes the instruction of the answer type.

    It is about a `region`, or about the whole picture if that is None. Follow-ups have the region of their question.

    `every_s` is None if it is asked at every look of its camera. An answer whose confidence, 0 to 1, is below
    `min_confidence` is `unsure`. A follow-up in `then` is asked only if the answer before it has the value `when`,
    or always after an answer if `when` is ANY. With `keep_tokens` its answers have the probabilities of their tokens;
    no question of a config has that.
    """

    name: str
    prompt: str
    answer: AnswerType
    title: str = ""
    region: RegionSpec | None = None
    generation: Generation = Generation()
    every_s: float | None = None
    min_confidence: float = 0.0
    alert: AlertSpec | None = None
    when: Any = ANY
    then: tuple[QuestionSpec, ...] = ()
    keep_tokens: bool = False

    @property
    def prompt_rev(self) -> str:
        """Changes with everything that can change the reply to a given picture."""
        return revision([self.prompt, repr(self.answer), repr(self.generation)])

    @property
    def answer_rev(self) -> str:
        """Changes with everything that can change this answer or a follow-up's; not with the schedule."""
        own = [self.name, self.prompt_rev, self.min_confidence, repr(self.when), repr(self.region)]
        return revision([*own, *(question.answer_rev for question in self.then)])


@dataclass(frozen=True, slots=True)
class Every:
    """One look every `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Cron:
    """Looks at the times of a cron expression with five fields."""

    expression: str


@dataclass(frozen=True, slots=True)
class Hours:
    """When looks are made: on these days (0 is Monday), from `begin` to before `end`, in the time zone of the config.

    If `end` is earlier than `begin`, it is on the next day. If they are equal, the window lasts 24 hours.
    """

    days: frozenset[int]
    begin: time
    end: time

    def contains(self, moment: datetime) -> bool:
        """True if `moment`, in the time zone of the config, is in this window."""
        clock, day = moment.time(), moment.weekday()
        if self.begin < self.end:
            return day in self.days and self.begin <= clock < self.end
        return (day in self.days and clock >= self.begin) or ((day - 1) % 7 in self.days and clock < self.end)


SourceKind = Literal["rtsp", "http", "usb", "path"]
Rotation = Literal[0, 90, 180, 270]
ImageMode = Literal["each", "on_event"]


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """Where frames come from. `address` may contain a password, `shown` never does.

    `problem` says why the camera cannot be opened, such as a missing secret; None if it can.
    """

    kind: SourceKind
    address: Secret
    shown: str
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class CameraSpec:
    """One camera and its questions.

    No `hours`: looks at any time. A frame older than `max_age_s` is stale, and so is one of
    a live source that has been bit-identical for `frozen_after_s` (None: never). The picture is turned clockwise by
    `rotate` degrees; `mask`, a list of polygons, and `regions` refer to the upright picture. With `at_least_every_s`
    the last answers are repeated while the picture is unchanged, for so long; None asks the model at every look.
    `image` publishes frames as JPEG: `each` analysed one, or those of looks with an event (`on_event`); None: never.

    Of folders: `new_only` takes only the newest picture, and only once.

    Of USB cameras: `size` is the width and height to ask for, `fps` the pictures a second; None for the defaults.
    After it was opened, pictures are thrown away until the exposure has settled, for `warm_up_s` at most.
    """

    name: str
    source: SourceSpec
    title: str = ""
    schedule: Every | Cron = Every(DEFAULT_EVERY_S)
    hours: tuple[Hours, ...] = ()
    max_age_s: float = DEFAULT_MAX_AGE_S
    frozen_after_s: float | None = DEFAULT_FROZEN_AFTER_S
    rotate: Rotation = 0
    mask: tuple[tuple[Point, ...], ...] = ()
    regions: tuple[RegionSpec, ...] = ()
    at_least_every_s: float | None = None
    image: ImageMode | None = None
    size: tuple[int, int] | None = None
    fps: int | None = None
    warm_up_s: float = DEFAULT_WARM_UP_S
    new_only: bool = False
    questions: tuple[QuestionSpec, ...] = ()

    @property
    def connection(self) -> tuple[Any, ...]:
        """The settings that an open camera depends on. All others can change while it stays open."""
        own = (self.max_age_s, self.frozen_after_s, self.new_only, self.fps, self.warm_up_s)
        return (self.name, *own, *self.pictures)

    @property
    def pictures(self) -> tuple[Any, ...]:
        """The settings that the pixels of a frame depend on."""
        return (self.source, self.size, self.rotate, self.mask)

    @property
    def pictures_digest(self) -> str:
        """Changes with what the pixels depend on, and not with a login. To be stored."""
        pictures = (self.source.kind, self.source.shown, self.size, self.rotate, self.mask)
        return hashlib.sha256(repr(pictures).encode()).hexdigest()[:16]

    def region(self, name: str | None) -> RegionSpec | None:
        return next((region for region in self.regions if region.name == name), None)

    def all_questions(self) -> list[QuestionSpec]:
        """Every question of this camera, each directly before its follow-ups."""
        return list(with_follow_ups(self.questions))


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The model's folder, and how it is loaded.

    `cores` are pairs of a model part (`text`, `vision`) and its setting, see `npu_cores`; empty: as in the folder's
    config.json. `workers` has such cores for each worker; empty: one worker with `cores`. `fit` says how a picture
    is fitted into the fixed input of a compiled vision part.
    """

    path: Path
    cores: tuple[tuple[str, str], ...] = ()
    fit: Literal["stretch", "letterbox"] = "stretch"
    workers: tuple[tuple[tuple[str, str], ...], ...] = ()

    def each_worker(self) -> list[ModelSpec]:
        """One spec for each model object to load."""
        return [replace(self, cores=cores, workers=()) for cores in self.workers or (self.cores,)]

    def in_folder(self, path: Path) -> ModelSpec:
        """For another folder, with the cores of its config.json: its parts were compiled for them."""
        return self if path == self.path else replace(self, path=path, cores=(), workers=())


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """Two files in PEM format: the certificate that edged shows to the broker, and its private key."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class BrokerSpec:
    """The broker, the login, and the names that edged uses there.

    `prefix` begins every topic. `ca` is None for the system's CAs. An empty `client_id` means `edged-<node>`.
    `insecure`: the broker's certificate is not verified. `password_files` are where the password may be: the first that
    exists; empty if it is written in the config. `files_rev` changes with the content of the CA, certificate and key.
    `problem` says why there can be no login, such as a missing secret: then edged does not connect. None: no problem.
    `allow_prompts`: a request may have a prompt that is not in the config. It is not compared, because no connection
    depends on it.
    """

    host: str = "localhost"
    port: int = 1883
    tls: bool = False
    ca: Path | None = None
    username: str | None = None
    password: Secret | None = None
    prefix: str = "edged"
    client_id: str = ""
    problem: str | None = None
    client_certificate: ClientCertificate | None = None
    insecure: bool = False
    password_files: tuple[Path, ...] = ()
    files_rev: str = ""
    allow_prompts: bool = field(default=False, compare=False)

    @property
    def shown(self) -> str:
        return f"{'mqtts' if self.tls else 'mqtt'}://{host_port(self.host, self.port)}"

    @property
    def anonymous(self) -> bool:
        """edged connects without a user and without a certificate."""
        return self.username is None and self.client_certificate is None


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where this machine listens: the IP address of one of its interfaces, or of all, and a port."""

    host: str
    port: int

    @property
    def shown(self) -> str:
        return host_port(self.host, self.port)

    @property
    def is_loopback(self) -> bool:
        """True if no other machine can reach it."""
        return ipaddress.ip_address(self.host).is_loopback

    def overlaps(self, other: ListenAddress) -> bool:
        """True if only one of both can listen."""
        one, two = ipaddress.ip_address(self.host), ipaddress.ip_address(other.host)
        covered = one.version == two.version and (one.is_unspecified or two.is_unspecified)
        return self.port == other.port and (one == two or covered)


DEFAULT_PAGE = ListenAddress("127.0.0.1", 8311)


@dataclass(frozen=True, slots=True)
class PageSpec:
    """The web page: where it listens, and who may see it.

    `token` is None if none is asked for. `hosts` are names of this box, besides its own, under which browsers may open
    the page. `problem` says why it cannot be served, such as a missing secret; None: no problem.
    """

    listen: ListenAddress = DEFAULT_PAGE
    token: Secret | None = None
    hosts: tuple[str, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class HistorySpec:
    """How long answers and events are kept on the box, and how large the store's file may become because of them."""

    keep_s: float = DEFAULT_KEEP_S
    max_bytes: int = DEFAULT_HISTORY_BYTES


@dataclass(frozen=True, slots=True)
class FramesSpec:
    """Which frames are kept to be labelled, and how large their folder may become.

    Those of looks with an answer that is `unsure`, of looks with a `changed` event, and of a `sample`: this share of
    all looks, 0 to 1, at random.
    """

    unsure: bool = True
    changed: bool = True
    sample: float = DEFAULT_SAMPLE
    max_bytes: int = DEFAULT_FRAMES_BYTES


@dataclass(frozen=True, slots=True)
class HomeAssistantSpec:
    """Home Assistant is told of the cameras and questions. `prefix` begins the topics of its MQTT discovery."""

    prefix: str = DEFAULT_DISCOVERY_PREFIX


WarningKind = Literal[
    "missing_model",
    "missing_file",
    "missing_secret",
    "denied_secret",
    "clear_password",
    "readable_secret",
    "insecure",
    "unused_ca",
    "unstable_device",
    "no_cameras",
    "no_questions",
    "short_hours",
]


@dataclass(frozen=True, slots=True)
class ConfigWarning:
    """A warning about a config that can still be used; the text is a sentence with file and line."""

    kind: WarningKind
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Config:
    """A complete and valid config.

    `timezone` is an IANA name, None for the system's. `rev` changes with the text of the file. `generation` has the
    model's defaults, for questions asked outside of a look. `history` is None if no answers are kept, `frames` if no
    frames are, `metrics` and `page` if they are not served, `homeassistant` if Home Assistant is not told of anything.
    `warnings` are sentences for the log.
    """

    node: str
    model: ModelSpec
    mqtt: BrokerSpec
    cameras: tuple[CameraSpec, ...]
    timezone: str | None
    rev: str
    path: Path = field(compare=False)
    language: Language = "en"
    generation: Generation = Generation()
    history: HistorySpec | None = HistorySpec()
    frames: FramesSpec | None = None
    metrics: ListenAddress | None = None
    page: PageSpec | None = None
    homeassistant: HomeAssistantSpec | None = HomeAssistantSpec()
    warnings: tuple[ConfigWarning, ...] = field(default=(), compare=False)

    def camera(self, name: str) -> CameraSpec | None:
        return next((camera for camera in self.cameras if camera.name == name), None)

    def all_questions(self) -> list[QuestionSpec]:
        """Every question of every camera, each with its follow-ups."""
        return [question for camera in self.cameras for question in camera.all_questions()]


def revision(parts: Any) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of `parts` as JSON."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()[:12]


def with_follow_ups(questions: Sequence[QuestionSpec]) -> Iterator[QuestionSpec]:
    """Each of these questions, directly followed by its follow-ups."""
    for question in questions:
        yield question
        yield from with_follow_ups(question.then)


def by_region(questions: Sequence[QuestionSpec]) -> dict[RegionSpec | None, list[QuestionSpec]]:
    """The questions about each region, in the order in which the regions first occur."""
    groups: dict[RegionSpec | None, list[QuestionSpec]] = {}
    for question in questions:
        groups.setdefault(question.region, []).append(question)
    return groups
