"""The form of the config file: which keys there are, what each may hold, and the JSON schema for editors.

Each check that needs no more than one mapping stands here; `config.py` puts the mappings together.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import time
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from edged.config.document import suggestion, text_problem
from edged.core import npu_cores as cores
from edged.core.cron import parse_cron
from edged.core.intervals import why_never
from edged.core.specs import WEEK, Cron, Hours
from edged.core.time_zones import named_zone

TYPES = ("yes_no", "integer", "number", "text", "json")
NAME = re.compile(r"[a-z0-9_-]+")
SECRET_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"  # noqa: S105  # the form of a name, not a secret
RESERVED_CAMERAS = ("bridge",)
RESERVED_QUESTIONS = ("availability", "active", "image", "event", "late")
NAME_LENGTH = 64
PATH_LENGTH = 4096
CHOICES = 256
SPECIAL_TOKEN = re.compile(r"<\|[^|<>]*\|>")
UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
SHORTEST_S, LONGEST_S = 0.1, 31 * 86400.0
SOURCES = "rtsp://…, rtsps://…, http(s)://…, usb:0, usb:/dev/…, or the path of a picture, a folder or a clip"
SECRET_IN_TEXT = re.compile(rf"\{{secret:\s*({SECRET_NAME})\s*\}}")
LOGIN_CHARACTER = r"[A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2}"
ADDRESS = re.compile(
    rf"(?P<scheme>[A-Za-z]+)://(?:(?P<login>(?:{LOGIN_CHARACTER}|{SECRET_IN_TEXT.pattern})*)@)?"
    r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?\])(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[^\s?#@]*)?(?:\?(?P<query>[^\s#@]*))?"
)
CAMERA_SCHEMES = ("rtsp", "rtsps", "http", "https")
CONTROL_CODE = re.compile("%[01][0-9A-Fa-f]|%7[Ff]")
PASSWORD_IN_PATH = re.compile(r"(?i)(?<![a-z])(pass[a-z]*|pwd|psw|pw|token|key|auth|user[a-z]*|usr|login|secret)[=:].*")
HOURS = re.compile(r"(?:([a-z,-]+)\s+)?(\d{1,2}):(\d\d)-(\d{1,2}):(\d\d)")


def wrong(sentence: str, *below: str | int) -> PydanticCustomError:
    """A problem in our words, at the key `below` the mapping that is judged."""
    return PydanticCustomError("edged", "{sentence}", {"sentence": sentence, "below": below})


@dataclass(frozen=True, slots=True)
class Address:
    """A URL taken apart. Still percent-encoded, and secrets are still `{secret:NAME}`."""

    scheme: str
    login: str | None
    host: str
    port: int | None
    path: str
    query: str | None

    @property
    def place(self) -> str:
        return self.host if self.port is None else f"{self.host}:{self.port}"

    @property
    def shown(self) -> str:
        """Without login and query, and without anything in the path that looks like a password."""
        path = PASSWORD_IN_PATH.sub(r"\1=***", SECRET_IN_TEXT.sub("***", self.path))
        return f"{self.scheme}://{self.place}{path}{'' if self.query is None else '?…'}"


def address(text: str) -> Address | None:
    """None where there is more than one way to read it: then any piece of it may belong to a password."""
    match = ADDRESS.fullmatch(text)
    if not match or not _sound_host(match["host"]) or (match["port"] and not 0 < int(match["port"]) < 65536):
        return None
    port = int(match["port"]) if match["port"] else None
    return Address(match["scheme"].lower(), match["login"], match["host"], port, match["path"] or "", match["query"])


def _sound_host(host: str) -> bool:
    if not host.startswith("["):
        # What is longer makes a UnicodeError of Python's resolver, where an OSError is expected.
        return len(host) <= 253 and all(0 < len(label) <= 63 for label in host.removesuffix(".").split("."))
    try:
        ipaddress.IPv6Address(host[1:-1])
    except ValueError:
        return False
    return True


def duration_s(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise wrong(f"needs a unit: {value:g}s, {value:g}m or {value:g}h")
    match = DURATION.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise wrong(f"must be a duration such as 30s, 10m or 1h, not {said(value)}")
    seconds = float(match[1]) * UNITS_S[match[2]]
    if not SHORTEST_S <= seconds <= LONGEST_S:
        raise wrong(f"{said(value)} is out of bounds (from 100ms to 31d)")
    return seconds


def said(value: Any) -> str:
    """The value as its owner would write it, for a message. Not for anything that may be a secret."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str() if "://" in value or "@" in value:
            return "an address"  # with a login in it, perhaps
        case str():
            short = value if len(value) <= 60 else value[:59] + "…"
            return '"' + "".join(c if c.isprintable() else "·" for c in short) + '"'
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case _:
            return str(value)


def name_problem(name: str, reserved: tuple[str, ...], what: str) -> str | None:
    if not NAME.fullmatch(name):
        return f"{what} {said(name)}: a name is made of a-z, 0-9, _ and - only, because it becomes part of a topic"
    if len(name) > NAME_LENGTH:
        return f"{what} {said(name)}: a name has at most {NAME_LENGTH} characters"
    return f"{what} {said(name)}: this name is reserved" if name in reserved else None


def _source(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if re.match(r"(?i)(rtsps?|https?):", value):
        if why := address_problem(value):
            raise wrong(why)
    elif value.startswith("usb:"):
        if not re.fullmatch(r"usb:([0-9]{1,4}|/dev/[^\s@]+)", value):
            raise wrong("is not a USB camera: write usb: and a number, or usb: and a path in /dev")
    elif not value or "://" in value or "{secret:" in value or _looks_like_a_login(value):
        raise wrong(f"must be {SOURCES}")
    return value


def _looks_like_a_login(text: str) -> bool:
    """`me:password@host/x` without its scheme, or `me@host`, which would be shown as the path of a file."""
    return "@" in text and (":" in text.rpartition("@")[0] or "/" not in text.partition("@")[0])


def address_problem(text: str) -> str | None:
    """Why this cannot be the address of a camera: the end of a sentence, which holds no piece of the text."""
    parts = address(text)
    if parts and parts.scheme not in CAMERA_SCHEMES:
        return f"must begin with {', '.join(f'{scheme}://' for scheme in CAMERA_SCHEMES[:-1])} or https://"
    if parts and CONTROL_CODE.search(parts.login or ""):
        return "has a control character in its user or password"
    if parts:
        return None
    if "{secret:" in SECRET_IN_TEXT.sub("", text):
        return "has a secret that is not {secret:NAME}, where NAME is a file's name without a folder"
    if "@" in text or "#" in text:
        return (
            "has a character that must be percent-encoded: in the user, the password and the path write %2F for /, "
            "%3F for ?, %23 for #, %40 for @, %25 for % (or put the password into a file: {secret:NAME})"
        )
    return "is not a valid address (such as rtsp://10.0.0.9/stream1)"


def _prompt(value: Any) -> Any:
    if isinstance(value, str):
        if not value.strip():
            raise wrong("is empty")
        _judge_words(value)
    return value


def _instruction(value: Any) -> Any:
    if isinstance(value, str):
        _judge_words(value)
    return value


def _judge_words(text: str) -> None:
    """What becomes part of a prompt, from a file or from the command line."""
    if why := text_problem(text):
        raise wrong(why)
    if token := SPECIAL_TOKEN.search(text):
        raise wrong(f"holds {said(token[0])}, which is a special token of the model")


def _word(value: Any) -> Any:
    if isinstance(value, str) and not _sound_label(value):
        raise wrong(f"{said(value)} cannot be an answer (one line, no space around it, no special token)")
    return value


def _title(value: Any) -> Any:
    if isinstance(value, str) and "\n" in value:
        raise wrong("must be a single line")
    return value


def _answer(value: Any) -> Any:
    if isinstance(value, list):
        return {"choices": _choices({_label(item): item for item in value}, len(value))}
    if isinstance(value, dict):
        if value.keys() == {"choices"} and isinstance(value["choices"], list):
            return _answer(value["choices"])
        if value.keys() == {"choices"} and isinstance(value["choices"], dict):
            return {"choices": _choices(value["choices"], len(value["choices"]))}
        if value.keys() == {"json"} and isinstance(value["json"], dict):
            _judge_schema(value["json"])
            return value
        raise wrong("must be a type, a list of choices, {choices: {label: value}} or {json: SCHEMA}")
    if value == "json":
        raise wrong("json needs its schema: {json: SCHEMA}")
    if value not in TYPES:
        hint = suggestion(value, TYPES) if isinstance(value, str) else ""
        raise wrong(
            f"{said(value)} is not a type ({', '.join(TYPES)}, or a list of choices).{hint or ' Did you mean a list?'}"
        )
    return value


def _judge_schema(schema: Any) -> None:
    if isinstance(schema, dict):
        if schema.get("type") == "object" and not isinstance(schema.get("properties", {}), dict):
            raise wrong("has a JSON schema whose properties are not a mapping")
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            _judge_schema(part)


def _label(item: Any) -> str:
    if isinstance(item, dict | list) or item is None:
        raise wrong("has a choice that is not a word, a number, true or false")
    return item if isinstance(item, str) else json.dumps(item)


def _choices(options: dict[str, Any], count: int) -> dict[str, Any]:
    if len(options) < count:
        raise wrong("has the same choice twice")
    if count < 2:
        raise wrong("needs at least two choices")
    if count > CHOICES:
        raise wrong(f"has more than {CHOICES} choices")
    for label in options:
        if not _sound_label(label):
            raise wrong(f"{said(label)} cannot be a choice (one line, no space around it, no special token)")
    return options


def _sound_label(text: str) -> bool:
    return bool(text) and text == text.strip() and text.isprintable() and not SPECIAL_TOKEN.search(text)


def _cron(value: Any) -> Any:
    if isinstance(value, str):
        try:
            parse_cron(value)
        except ValueError as error:
            raise wrong(str(error)) from None
    return value


def _hours(value: Any) -> tuple[Hours, ...]:
    texts = value if isinstance(value, list) else [value]
    return tuple(_window(text) for text in texts)


def _window(value: Any) -> Hours:
    match = HOURS.fullmatch(value.strip().lower()) if isinstance(value, str) else None
    try:
        if not match:
            raise ValueError
        days = _days(match[1]) if match[1] else frozenset(range(7))
        return Hours(days, _clock(match[2], match[3]), _clock(match[4], match[5]))
    except ValueError:
        what = "a time window such as 06:00-22:00 or mon-fri 06:00-22:00"
        raise wrong(f"must be {what}, not {said(value)}") from None


def _clock(hour: str, minute: str) -> time:
    return time(0) if (hour, minute) == ("24", "00") else time(int(hour), int(minute))


def _days(text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        begin, end = WEEK.index(first), WEEK.index(last or first)
        found |= {day % 7 for day in range(begin, end + 1 if end >= begin else end + 8)}
    return frozenset(found)


def _zone(value: Any) -> Any:
    if isinstance(value, str):
        try:
            named_zone(value)
        except ValueError as error:
            raise wrong(str(error)) from None
    return value


def _node(value: Any) -> Any:
    if isinstance(value, str) and not NAME.fullmatch(value):
        raise wrong(f"{said(value)} may contain only a-z, 0-9, _ and -, because it becomes part of every topic")
    return value


def _prefix(value: Any) -> Any:
    if isinstance(value, str) and not all(NAME.fullmatch(part.lower()) for part in value.split("/")):
        raise wrong(f"{said(value)} is not a topic prefix (names joined by /, without + and #)")
    return value


def _url(value: Any) -> Any:
    parts = address(value) if isinstance(value, str) else None
    if isinstance(value, str) and "@" in value:
        raise wrong("must not hold a user or password: write them as username: and password: {secret: NAME}")
    sound = parts and parts.scheme in ("mqtt", "mqtts") and parts.path in ("", "/") and parts.query is None
    if not sound:
        raise wrong("is not the address of a broker (mqtt://host:1883, or mqtts://host:8883 for TLS)")
    return value


def _cores(value: Any) -> Any:
    if isinstance(value, str):
        try:
            cores.parsed(value)
        except ValueError as error:
            raise wrong(f"{said(value)} {error}") from None
    return value


def _secret(value: Any) -> Any:
    if isinstance(value, dict):
        if (
            value.keys() == {"secret"}
            and isinstance(value["secret"], str)
            and re.fullmatch(SECRET_NAME, value["secret"])
        ):
            return value
        raise wrong("must be {secret: NAME}, where NAME is a file's name without a folder")
    if not isinstance(value, str):
        raise wrong("must be text or {secret: NAME}")
    if not value:
        raise wrong("is empty")
    return value


def _checked(check: Callable[[Any], Any], schema: dict[str, Any]) -> list[Any]:
    return [BeforeValidator(check), WithJsonSchema(schema)]


_DURATION_SCHEMA = {"type": "string", "pattern": f"^{DURATION.pattern}$"}
_ANSWER_SCHEMA = {
    "anyOf": [
        {"enum": [kind for kind in TYPES if kind != "json"]},
        {"type": "array", "minItems": 2},
        {"type": "object", "properties": {"choices": {"type": ["object", "array"]}}, "required": ["choices"]},
        {"type": "object", "properties": {"json": {"type": "object"}}, "required": ["json"]},
    ]
}
_HOURS_SCHEMA = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
_SECRET_SCHEMA = {
    "anyOf": [
        {"type": "string"},
        {"type": "object", "properties": {"secret": {"type": "string", "pattern": f"^{SECRET_NAME}$"}}},
    ]
}

Duration = Annotated[float, *_checked(duration_s, _DURATION_SCHEMA)]
Prompt = Annotated[str, BeforeValidator(_prompt)]
Title = Annotated[str, BeforeValidator(_title), Field(max_length=200)]
Word = Annotated[str, BeforeValidator(_word), Field(max_length=200)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Point = Annotated[tuple[Share, Share], Field(strict=False)]


class Form(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class GenerationForm(Form):
    max_new_tokens: Annotated[int, Field(ge=1, le=4096)] | None = None
    temperature: Annotated[float, Field(ge=0.0, le=5.0)] | None = None
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    top_k: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0.0, le=10.0)] | None = None
    deadline: Duration | None = None


class AlertForm(Form):
    when: Any
    after: Annotated[int, Field(ge=1, le=10_000)] = 1


class WordsForm(Form):
    true_: Annotated[Word, Field(alias="true")]
    false_: Annotated[Word, Field(alias="false")]

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.true_ == self.false_:
            raise wrong("must differ for true and false")
        return self


class PromptForm(GenerationForm):
    """What a question and a follow-up have in common."""

    prompt: Prompt | None = None  # a shared question may give it
    title: Title = ""
    answer: Annotated[Any, *_checked(_answer, _ANSWER_SCHEMA)] = "text"
    range: Annotated[tuple[float, float], Field(strict=False)] | None = None
    instruction: Annotated[str, BeforeValidator(_instruction)] | None = None
    language: Literal["en", "ko"] | None = None
    words: WordsForm | None = None
    min_confidence: Share | None = None
    alert: AlertForm | None = None
    then: dict[str, FollowUpForm] = {}

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.range is not None:
            self._check_range(*self.range)
        if self.words is not None and self.answer != "yes_no":
            raise wrong("words are for answer: yes_no only", "words")
        if self.min_confidence is not None and self.answer == "text":
            raise wrong("a text answer has no confidence; give the question a type", "min_confidence")
        return self

    def _check_range(self, low: float, high: float) -> None:
        if self.answer not in ("integer", "number"):
            raise wrong("range is for answer: integer or number only", "range")
        if self.answer == "integer" and not (low.is_integer() and high.is_integer()):
            raise wrong("the bounds of an integer's range must be whole numbers", "range")
        if low > high or max(abs(low), abs(high)) > 999_999_999:
            raise wrong("range is [lowest, highest], each of at most 9 digits", "range")


class FollowUpForm(PromptForm):
    when: Any = None


class QuestionForm(PromptForm):
    every: Duration | None = None


class MaskForm(Form):
    polygon: Annotated[list[Point], Field(min_length=3)] | None = None
    box: Annotated[tuple[Share, Share, Share, Share], Field(strict=False)] | None = None

    @model_validator(mode="after")
    def _one_shape(self) -> Self:
        if (self.polygon is None) == (self.box is None):
            raise wrong("must be either {polygon: [[x, y], …]} or {box: [left, top, right, bottom]}")
        if self.box and not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise wrong("a box is [left, top, right, bottom], left before right and top before bottom", "box")
        return self

    def points(self) -> tuple[tuple[float, float], ...]:
        """The corners, as shares of width and height."""
        if self.box:
            left, top, right, bottom = self.box
            return ((left, top), (right, top), (right, bottom), (left, bottom))
        return tuple(self.polygon or ())


class ChangeForm(Form):
    at_least_every: Duration


class CameraForm(Form):
    source: Annotated[str, BeforeValidator(_source), Field(max_length=PATH_LENGTH)]
    title: Title = ""
    every: Duration | None = None
    cron: Annotated[str, BeforeValidator(_cron)] | None = None
    hours: Annotated[tuple[Hours, ...], *_checked(_hours, _HOURS_SCHEMA)] = ()
    max_age: Duration | None = None
    mask: list[MaskForm] = []
    when_changed: ChangeForm | None = None
    image: bool = False
    ask: dict[str, QuestionForm] = {}

    @model_validator(mode="after")
    def _one_schedule(self) -> Self:
        if self.every is not None and self.cron is not None:
            raise wrong("every and cron both say when to look; keep one of them", "cron")
        if self.cron and (why := why_never(Cron(self.cron), self.hours)):
            raise wrong(why, "cron")
        return self


class CoresForm(Form):
    text: Annotated[str, BeforeValidator(_cores), Field(max_length=NAME_LENGTH)] | None = None
    vision: Annotated[str, BeforeValidator(_cores), Field(max_length=NAME_LENGTH)] | None = None

    def words(self) -> dict[str, str]:
        return {part: word for part, word in (("text", self.text), ("vision", self.vision)) if word}


class ModelForm(GenerationForm):
    path: Annotated[str, Field(min_length=1, max_length=PATH_LENGTH)]
    cores: CoresForm = CoresForm()
    workers: list[CoresForm] = []
    fit: Literal["stretch", "letterbox"] = "stretch"

    @model_validator(mode="after")
    def _workers_apart(self) -> Self:
        if self.workers and self.cores.words():
            raise wrong("cores and workers both say where the model runs; keep one of them", "workers")
        taken: dict[str, int] = {}
        for number, worker in enumerate(self.workers):
            words = worker.words()
            if len(words) < 2:
                raise wrong("each worker needs its cores for text and for vision", "workers", number)
            for core in sorted({core for word in words.values() for core in cores.parsed(word).occupied()}):
                if taken.setdefault(core, number) != number:
                    raise wrong(
                        f"worker {number + 1} has core {core} of worker {taken[core] + 1}, so one would wait for the "
                        "other",
                        "workers",
                        number,
                    )
        return self


class MqttForm(Form):
    url: Annotated[str, BeforeValidator(_url)] = "mqtt://localhost:1883"
    username: Annotated[str, Field(min_length=1)] | None = None
    password: Annotated[Any, *_checked(_secret, _SECRET_SCHEMA)] = None
    prefix: Annotated[str, BeforeValidator(_prefix), Field(max_length=200)] = "edged"
    client_id: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    ca: Annotated[str, Field(min_length=1, max_length=PATH_LENGTH)] | None = None


class ConfigForm(Form):
    """edged.yaml"""

    version: Literal[1] = 1
    node: Annotated[str, BeforeValidator(_node), Field(max_length=NAME_LENGTH)] | None = None
    language: Literal["en", "ko"] = "en"
    timezone: Annotated[str, BeforeValidator(_zone)] | None = None
    model: ModelForm
    mqtt: MqttForm = MqttForm()
    questions: dict[str, QuestionForm] = {}
    cameras: dict[str, CameraForm] = {}


def json_schema() -> dict[str, Any]:
    """What an editor needs to complete and check edged.yaml."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **ConfigForm.model_json_schema()}
