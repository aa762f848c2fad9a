"""Types of single values: durations, time windows, cron, names on the broker, texts."""

from __future__ import annotations

import re
from datetime import time
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from pydantic import BeforeValidator, Field, WithJsonSchema

from edged.config.document import text_problem
from edged.config.phrases import concealed, shown, suggestion
from edged.config.problems import wrong
from edged.core import npu_cores
from edged.core.cron import parse_cron
from edged.core.json_values import is_number
from edged.core.specs import WEEK, Hours
from edged.core.time_zones import named_zone

NAME = re.compile(r"[a-z0-9_-]+")  # of anything that becomes part of a topic
NAME_LENGTH = 64
PREFIX_LEVEL = re.compile(r"[A-Za-z0-9_-]+")
SPECIAL_TOKEN = re.compile(r"<\|[^|<>]*\|>")
UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
LOOSE_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|[smhdw])[a-z]*\s*")  # `1m30s`, `5 m`, `2 hours`
SHORTEST_S, LONGEST_S = 0.1, 31 * 86400.0
MOST_ANSWERS = 10_000
SHORTEST_KEPT_S, LONGEST_KEPT_S = 60.0, 3650 * 86400.0
LONGEST_WARM_UP_S = 60.0
BYTES = re.compile(r"(\d+(?:\.\d+)?)(kB|MB|GB)")
LOOSE_BYTES = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt])(?:i?b)?\s*")  # `200 MB`, `200mb`, `200M`, `200MiB`
UNITS_BYTES = {"kB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000}
LEAST_BYTES, MOST_BYTES = 1_000_000, 1_000_000_000_000
IMAGES = ("never", "on_event", "each")
SIZE = re.compile(r"([1-9]\d{1,4})x([1-9]\d{1,4})")
REPLY_RULE = "it must be one line without special tokens, and must not begin or end with a space"
SPAN = re.compile(r"(\d{1,2}):(\d\d)-(\d{1,2}):(\d\d)")
WINDOW = re.compile(r"(?:(\D*)\s)?(.*)", re.DOTALL)  # days and span


def duration_s(value: Any) -> float:
    return _duration_between(value, SHORTEST_S, LONGEST_S, "100ms to 31d")


def kept_s(value: Any) -> float:
    """A duration of the history: at least a minute, at most ten years."""
    return _duration_between(value, SHORTEST_KEPT_S, LONGEST_KEPT_S, "1m to 3650d")


def _duration_between(value: Any, least: float, most: float, span: str) -> float:
    if is_number(value):
        raise wrong(f"needs a unit: {value:g}s, {value:g}m or {value:g}h")
    match = DURATION.fullmatch(value) if isinstance(value, str) else None
    if not match:
        hint = _duration_hint(value) if isinstance(value, str) else ""
        raise wrong(f"must be a duration such as 30s, 10m or 1h, not {shown(value)}{hint}")
    seconds = float(match[1]) * UNITS_S[match[2]]
    if not least <= seconds <= most:
        raise wrong(f"{shown(value)} is out of range ({span})")
    return seconds


def _duration_hint(text: str) -> str:
    """`; write 90s` for `1m30s`, `; write 5m` for `5 m`."""
    if len(text) > 40:  # the pattern's time grows with the square of the length
        return ""
    parts = LOOSE_DURATION.findall(text.lower())
    if not parts or LOOSE_DURATION.sub("", text.lower()):
        return ""
    units = {**UNITS_S, "w": 7 * UNITS_S["d"]}
    seconds = sum(float(number) * units[unit] for number, unit in parts)
    wholes = [unit for unit in ("d", "h", "m", "s") if seconds >= UNITS_S[unit] and not seconds % UNITS_S[unit]]
    unit = wholes[0] if wholes else "ms"
    return f"; write {seconds / UNITS_S[unit]:.15g}{unit}"


def count_or_duration(value: Any) -> int | float:
    """A number of answers, or a duration in seconds, which is a float."""
    if isinstance(value, str):
        return duration_s(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_ANSWERS:
        raise wrong(f"must be a number of answers such as 3, or a duration such as 2m, not {shown(value)}")
    return value


def size_bytes(value: Any) -> int:
    """A size such as 200MB; 1 MB is 1,000,000 bytes."""
    if is_number(value):
        raise wrong(f"needs a unit: {value:.15g}MB or {value:.15g}GB")
    match = BYTES.fullmatch(value) if isinstance(value, str) and len(value) <= 40 else None
    if not match:
        hint = _size_hint(value) if isinstance(value, str) else ""
        raise wrong(f"must be a size such as 200MB or 2GB, not {shown(value)}{hint}")
    size = round(float(match[1]) * UNITS_BYTES[match[2]])
    if not LEAST_BYTES <= size <= MOST_BYTES:
        raise wrong(f"{shown(value)} is out of range (1MB to 1000GB)")
    return size


def _size_hint(text: str) -> str:
    """`; write 200MB` for `200 mb`, `200M` and `200MiB`."""
    match = LOOSE_BYTES.fullmatch(text.lower()) if len(text) <= 40 else None
    if not match:
        return ""
    number, unit = (float(match[1]) * 1000, "g") if match[2] == "t" else (float(match[1]), match[2])
    written = {"k": "kB", "m": "MB", "g": "GB"}[unit]
    return f"; write {number:.15g}{written}"


def hours(value: Any) -> tuple[Hours, ...]:
    return tuple(_window(text) for text in (value if isinstance(value, list) else [value]))


def _window(value: Any) -> Hours:
    if not isinstance(value, str):
        raise wrong(f"must be a time window such as 06:00-22:00 or mon-fri 06:00-22:00, not {shown(value)}")
    if "–" in value:
        raise wrong(f"{shown(value)} contains a dash (–); write a hyphen (-)")
    match = WINDOW.fullmatch(value.strip().lower())
    days_text, span_text = (match[1], match[2]) if match else (None, value)
    days = _days(days_text.strip()) if days_text else frozenset(range(7))
    span = _span(span_text)
    if isinstance(days, frozenset) and isinstance(span, tuple):
        return Hours(days, *span)
    mistakes = [part for part in (days, span) if isinstance(part, str)]
    raise wrong(f"{shown(value)}: {'; '.join(mistakes)}")


def _span(text: str) -> tuple[time, time] | str:
    """Begin and end, or why this is not a span."""
    match = SPAN.fullmatch(text)
    if not match and not re.search(r"\d", text):
        return "the time is missing, such as 06:00-22:00"
    if not match:
        several = "; write several windows as a list" if "," in text else ""
        return f"{shown(text)} is not a time range such as 06:00-22:00{several}"
    try:
        return _clock(match[1], match[2]), _clock(match[3], match[4])
    except ValueError:
        return f"{shown(text)} has a time that is not between 00:00 and 24:00"


def _clock(hour: str, minute: str) -> time:
    return time(0) if (hour, minute) == ("24", "00") else time(int(hour), int(minute))


def _days(text: str) -> frozenset[int] | str:
    """Weekdays from 0, Monday, or why these are none."""
    if re.search(r"\s", text):
        return f"{shown(text)} contains a space; write days as mon,tue or mon-fri"
    days: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        for day in (first, last) if dash else (first,):
            if day not in WEEK:
                return f"{shown(day)} is not a day ({', '.join(WEEK)})"
        begin, end = WEEK.index(first), WEEK.index(last or first)
        days |= {day % 7 for day in range(begin, end + 1 if end >= begin else end + 8)}
    return frozenset(days)


def _warm_up(value: Any) -> float:
    if value == "0s":
        return 0.0
    seconds = duration_s(value)
    if seconds > LONGEST_WARM_UP_S:
        raise wrong(f"must be at most {LONGEST_WARM_UP_S:g}s, not {shown(value)}")
    return seconds


def _frozen_after(value: Any) -> float | Literal[False]:
    if value is False:
        return False
    if value is True or (isinstance(value, str) and not re.search(r"\d", value)):
        raise wrong(f"must be a duration such as 30s, or false for never, not {shown(value)}")
    return duration_s(value)


def _image(value: Any) -> Any:
    if isinstance(value, bool):
        return "each" if value else "never"
    if value not in IMAGES:
        hint = suggestion(value, IMAGES) if isinstance(value, str) else ""
        raise wrong(f"must be {', '.join(IMAGES)}, true or false, not {shown(value)}{hint}")
    return value


def _size(value: Any) -> tuple[int, int]:
    match = SIZE.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise wrong(f"must be a width and a height in pixels such as 1280x720, not {shown(value)}")
    return int(match[1]), int(match[2])


def _path(value: Any) -> Any:
    if isinstance(value, str) and "://" in value:
        raise wrong(f"must be a path, not {shown(value)}")
    return value


def _cron(value: Any) -> Any:
    if isinstance(value, str):
        if kind := concealed(value):
            raise wrong(f"must have five fields (minute hour day month weekday), not {kind}")
        try:
            parse_cron(value)
        except ValueError as error:
            raise wrong(str(error)) from None
    return value


def _zone(value: Any) -> Any:
    if isinstance(value, str):
        if kind := concealed(value):
            raise wrong(f"must be a time zone (such as Asia/Seoul or UTC), not {kind}")
        try:
            named_zone(value)
        except ValueError as error:
            spelling = {name.lower(): name for name in available_timezones()}.get(value.lower())
            raise wrong(str(error) + (f". Did you mean {shown(spelling)}?" if spelling else "")) from None
    return value


def _node(value: Any) -> Any:
    if isinstance(value, str) and not NAME.fullmatch(value):
        raise wrong(f"{shown(value)} may contain only a-z, 0-9, _ and -, because it becomes part of every topic")
    return value


def _prefix(value: Any) -> Any:
    if isinstance(value, str) and not all(map(PREFIX_LEVEL.fullmatch, value.split("/"))):
        raise wrong(f"{shown(value)} is not a topic prefix (names joined by /, without + and #)")
    return value


def _cores(value: Any) -> Any:
    if isinstance(value, str):
        try:
            npu_cores.parsed(value)
        except ValueError as error:
            raise wrong(f"{shown(value)} {error}") from None
    return value


def _prompt(value: Any) -> Any:
    if isinstance(value, str) and not value.strip():
        raise wrong("is empty")
    return _instruction(value)


def _instruction(value: Any) -> Any:
    """Text that becomes part of a prompt, from a file or from the command line."""
    if isinstance(value, str):
        if why := text_problem(value):
            raise wrong(why)
        if token := SPECIAL_TOKEN.search(value):
            raise wrong(f"contains {shown(token[0])}, which is a special token of the model")
    return value


def _title(value: Any) -> Any:
    if isinstance(value, str) and "\n" in value:
        raise wrong("must be a single line")
    return value


def _reply(value: Any) -> Any:
    if isinstance(value, str) and not valid_reply(value):
        raise wrong(f"{shown(value)} cannot be a reply; {REPLY_RULE}")
    return value


def valid_reply(text: str) -> bool:
    """True if the model can be made to say exactly this."""
    return bool(text) and text == text.strip() and text.isprintable() and not SPECIAL_TOKEN.search(text)


_DURATION_SCHEMA = {"type": "string", "pattern": f"^{DURATION.pattern}$"}
_BYTES_SCHEMA = {"type": "string", "pattern": f"^{BYTES.pattern}$"}
_HOURS_SCHEMA = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}

Duration = Annotated[float, BeforeValidator(duration_s), WithJsonSchema(_DURATION_SCHEMA)]
CountOrDuration = Annotated[
    int | float,
    BeforeValidator(count_or_duration),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1, "maximum": MOST_ANSWERS}, _DURATION_SCHEMA]}),
]
Keep = Annotated[float, BeforeValidator(kept_s), WithJsonSchema(_DURATION_SCHEMA)]
Bytes = Annotated[int, BeforeValidator(size_bytes), WithJsonSchema(_BYTES_SCHEMA)]
FrozenAfter = Annotated[
    float | Literal[False],
    BeforeValidator(_frozen_after),
    WithJsonSchema({"anyOf": [_DURATION_SCHEMA, {"const": False}]}),
]
Image = Annotated[
    Literal["never", "on_event", "each"],
    BeforeValidator(_image),
    WithJsonSchema({"enum": [*IMAGES, True, False]}),
]
WarmUp = Annotated[float, BeforeValidator(_warm_up), WithJsonSchema(_DURATION_SCHEMA)]
PictureSize = Annotated[
    tuple[int, int], BeforeValidator(_size), WithJsonSchema({"type": "string", "pattern": f"^{SIZE.pattern}$"})
]
Windows = Annotated[tuple[Hours, ...], BeforeValidator(hours), WithJsonSchema(_HOURS_SCHEMA)]
FilePath = Annotated[str, BeforeValidator(_path)]
CronText = Annotated[str, BeforeValidator(_cron)]
Zone = Annotated[str, BeforeValidator(_zone)]
Node = Annotated[str, BeforeValidator(_node)]
Prefix = Annotated[str, BeforeValidator(_prefix), Field(max_length=200)]
CoresText = Annotated[str, BeforeValidator(_cores)]
Prompt = Annotated[str, BeforeValidator(_prompt)]
Instruction = Annotated[str, BeforeValidator(_instruction)]
Title = Annotated[str, BeforeValidator(_title), Field(max_length=200)]
Reply = Annotated[str, BeforeValidator(_reply), Field(max_length=200)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
