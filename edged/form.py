"""The form of the config file: which keys there are, what each may hold, and the JSON schema for editors.

Each check that needs no more than one mapping stands here; `config.py` puts the mappings together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import time
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from edged import cores, schedule
from edged.document import suggestion
from edged.specs import WEEK, Hours

TYPES = ("yes_no", "integer", "number", "text", "json")
NAME = re.compile(r"[a-z0-9_-]+")
SECRET_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"  # noqa: S105  # the form of a name, not a secret
RESERVED_CAMERAS = ("bridge",)
RESERVED_QUESTIONS = ("availability", "image", "event", "late")
SPECIAL_TOKEN = re.compile(r"<\|[^|<>]*\|>")
UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
HOURS = re.compile(r"(?:([a-z,-]+)\s+)?(\d{1,2}):(\d\d)-(\d{1,2}):(\d\d)")


def wrong(sentence: str, *below: str | int) -> PydanticCustomError:
    """A problem in our words, at the key `below` the mapping that is judged."""
    return PydanticCustomError("edged", "{sentence}", {"sentence": sentence, "below": below})


def duration_s(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise wrong(f"needs a unit: {value:g}s, {value:g}m or {value:g}h")
    match = DURATION.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise wrong(f"{said(value)} is not a duration (such as 30s, 10m or 1h)")
    seconds = float(match[1]) * UNITS_S[match[2]]
    if seconds <= 0:
        raise wrong("must be longer than nothing")
    return seconds


def said(value: Any) -> str:
    """The value as its owner would write it, for a message. Not for anything that may be a secret."""
    if isinstance(value, str):
        return f'"{value if len(value) <= 60 else value[:59] + "…"}"'
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return {None: "nothing", True: "true", False: "false"}.get(value, str(value))


def name_problem(name: str, reserved: tuple[str, ...], what: str) -> str | None:
    if not NAME.fullmatch(name):
        return f'{what} "{name}": a name is made of a-z, 0-9, _ and - only, because it becomes part of a topic'
    return f'{what} "{name}": this name is edged\'s own' if name in reserved else None


def _prompt(value: Any) -> Any:
    if isinstance(value, str):
        if not value.strip():
            raise wrong("is empty")
        if token := SPECIAL_TOKEN.search(value):
            raise wrong(f'holds "{token[0]}", which is a mark of the model\'s own')
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
            return value
        raise wrong("a mapping here is {choices: {label: value}} or {json: SCHEMA}")
    if value == "json":
        raise wrong("json needs its schema: {json: SCHEMA}")
    if value not in TYPES:
        hint = suggestion(value, TYPES) if isinstance(value, str) else ""
        raise wrong(
            f"{said(value)} is not a type ({', '.join(TYPES)}, or a list of choices).{hint or ' Did you mean a list?'}"
        )
    return value


def _label(item: Any) -> str:
    if isinstance(item, dict | list) or item is None:
        raise wrong("a choice is a word, a number, true or false")
    return item if isinstance(item, str) else json.dumps(item)


def _choices(options: dict[str, Any], count: int) -> dict[str, Any]:
    if len(options) < count:
        raise wrong("two choices are the same")
    if count < 2:
        raise wrong("needs at least two choices")
    for label in options:
        if not label or label != label.strip() or not label.isprintable() or SPECIAL_TOKEN.search(label):
            raise wrong(f"{said(label)} cannot be a choice")
    return options


def _cron(value: Any) -> Any:
    if isinstance(value, str):
        try:
            schedule.cron_trigger(value)
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
        raise wrong(f"{said(value)} is not hours (such as 06:00-22:00 or mon-fri 06:00-22:00)") from None


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
            schedule.zone(value)
        except ValueError as error:
            raise wrong(str(error)) from None
    return value


def _node(value: Any) -> Any:
    if isinstance(value, str) and not NAME.fullmatch(value):
        raise wrong(f"{said(value)} is not a name (a-z, 0-9, _ and -), and it becomes part of every topic")
    return value


def _prefix(value: Any) -> Any:
    if isinstance(value, str) and not all(NAME.fullmatch(part.lower()) for part in value.split("/")):
        raise wrong(f"{said(value)} is not a topic prefix (names joined by /, without + and #)")
    return value


def _url(value: Any) -> Any:
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
        sound = parts.scheme in ("mqtt", "mqtts") and parts.hostname and (parts.port or 1) > 0
    except ValueError:
        sound = False
    if not sound or parts.path not in ("", "/") or parts.query:
        raise wrong("is not the address of a broker (mqtt://host:1883, or mqtts://host:8883 for TLS)")
    if parts.username is not None or parts.password is not None:
        raise wrong("must not hold a user or password: write them as username: and password: {secret: NAME}")
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
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Point = Annotated[tuple[Share, Share], Field(strict=False)]


class Form(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class GenerationForm(Form):
    max_new_tokens: Annotated[int, Field(ge=1, le=4096)] | None = None
    temperature: Annotated[float, Field(ge=0.0, le=5.0)] | None = None
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    top_k: Annotated[int, Field(ge=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0.0, le=10.0)] | None = None
    deadline: Duration | None = None


class AlertForm(Form):
    when: Any
    after: Annotated[int, Field(ge=1)] = 1


class WordsForm(Form):
    true_: Annotated[str, Field(alias="true", min_length=1)]
    false_: Annotated[str, Field(alias="false", min_length=1)]

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.true_ == self.false_:
            raise wrong("the words for true and false are the same")
        return self


class PromptForm(GenerationForm):
    """What a question and a follow-up have in common."""

    prompt: Prompt | None = None  # a shared question may give it
    title: str = ""
    answer: Annotated[Any, *_checked(_answer, _ANSWER_SCHEMA)] = "text"
    range: Annotated[tuple[float, float], Field(strict=False)] | None = None
    instruction: str | None = None
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
        if self.instruction and SPECIAL_TOKEN.search(self.instruction):
            raise wrong("instruction holds a mark of the model's own", "instruction")
        return self

    def _check_range(self, low: float, high: float) -> None:
        if self.answer not in ("integer", "number"):
            raise wrong("range is for answer: integer or number only", "range")
        if self.answer == "integer" and not (low.is_integer() and high.is_integer()):
            raise wrong("the range of an integer has whole bounds", "range")
        if low > high or max(abs(low), abs(high)) > 999_999_999:
            raise wrong("range is [lowest, highest], each of at most 9 digits", "range")


class FollowUpForm(PromptForm):
    when: Any = None


class QuestionForm(PromptForm):
    every: Duration | None = None


class MaskForm(Form):
    polygon: Annotated[list[Point], Field(min_length=3)]


class ChangeForm(Form):
    at_least_every: Duration


class CameraForm(Form):
    source: str
    title: str = ""
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
        return self


class CoresForm(Form):
    text: Annotated[str, BeforeValidator(_cores)] | None = None
    vision: Annotated[str, BeforeValidator(_cores)] | None = None

    def words(self) -> dict[str, str]:
        return {part: word for part, word in (("text", self.text), ("vision", self.vision)) if word}


class ModelForm(GenerationForm):
    path: Annotated[str, Field(min_length=1)]
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
    username: str | None = None
    password: Annotated[Any, *_checked(_secret, _SECRET_SCHEMA)] = None
    prefix: Annotated[str, BeforeValidator(_prefix)] = "edged"
    client_id: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    ca: str | None = None


class ConfigForm(Form):
    """edged.yaml"""

    version: Literal[1] = 1
    node: Annotated[str, BeforeValidator(_node)] | None = None
    language: Literal["en", "ko"] = "en"
    timezone: Annotated[str, BeforeValidator(_zone)] | None = None
    model: ModelForm
    mqtt: MqttForm = MqttForm()
    questions: dict[str, QuestionForm] = {}
    cameras: dict[str, CameraForm] = {}


def json_schema() -> dict[str, Any]:
    """What an editor needs to complete and check edged.yaml."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **ConfigForm.model_json_schema()}
