"""Config files that nobody meant to write: most were valid before a few changes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar

from hypothesis import strategies as st

from support.config import ASK, SHIPPED

# Every key of the config occurs in one of these.
CAMERAS = """\
version: 1
node: box
language: en
timezone: Asia/Seoul
model: {path: m, max_new_tokens: 64, temperature: 0.5, top_p: 0.9, top_k: 50, repetition_penalty: 1.1, deadline: 60s}
mqtt:
  url: mqtts://10.0.0.2:8883
  username: me
  password: hunter2
  prefix: site
  client_id: edged-box
  insecure: true
  allow_prompts: true
metrics: 127.0.0.1:9817
page: {listen: "127.0.0.1:8311", token: {secret: page-token}, hosts: [box.example.com]}
cameras:
  dock:
    title: Loading dock
    source: rtsp://viewer:hunter2@10.0.0.9:554/stream1
    cron: "*/5 6-22 * * mon-fri"
    hours: [mon-fri 06:00-22:00, "sat 10:00-12:00"]
    max_age: 5s
    frozen_after: 30s
    rotate: 90
    mask:
      - polygon: [[0.0, 0.6], [0.3, 0.6], [0.3, 1.0]]
      - box: [0.8, 0.0, 1.0, 0.2]
    regions:
      gate: {box: [0.1, 0.2, 0.6, 0.9]}
      door: {polygon: [[0.7, 0.3], [0.9, 0.3], [0.9, 0.8]]}
    when_changed: {at_least_every: 1h}
    image: on_event
    ask:
      gate_open: {prompt: "Is the gate open?", answer: yes_no, region: gate}
  shop:
    source: usb:0
    every: 30s
    size: 1280x720
    fps: 15
    warm_up: 2s
    ask: {scene: {prompt: Describe the scene.}}
  uploads: {source: pics, new_only: true, max_age: 1h, ask: {scene: {prompt: What is this?}}}
"""
QUESTIONS = """\
model:
  path: m
  workers: [{text: "0:0", vision: "0:1"}, {text: "1:0", vision: "1:1"}]
  fit: letterbox
history: {keep: 7d, max: 200MB}
frames: {unsure: true, changed: false, sample: 0.02, max: 2GB}
homeassistant: {prefix: ha}
questions:
  people: &people
    prompt: How many people are in this image?
    title: People
    answer: integer
    range: [0, 40]
    every: 10m
    alert: {when: "> 3", after: 2, for: 2m, clear_when: "<= 1", clear_after: 3, quiet: [22:00-06:00]}
  gate:
    prompt: >-
      Is the gate
      open?
    answer: yes_no
    words: {true: Open, false: Shut}
    instruction: Answer Open or Shut.
    language: ko
    min_confidence: 0.7
    max_new_tokens: 8
    temperature: 0
    then:
      vehicle: {when: true, prompt: 'Is there a vehicle?', answer: yes_no, then: {colour: {prompt: Which colour?}}}
cameras:
  dock:
    source: pics
    ask:
      people: {}
      gate: {min_confidence: 0.9}
      weather: {prompt: What is the weather?, answer: [clear, rain, snow], alert: {when: [rain, snow]}}
      place: {prompt: Where?, answer: {choices: {in front: front, no vehicle: none}}}
      danger:
        prompt: Is anyone in danger?
        answer: {json: {type: object, properties: {danger: {type: boolean}, why: {type: string, maxLength: 80}}}}
  yard: {source: "http://10.0.0.8/snapshot.jpg", ask: {people: {every: 1m}, level: {prompt: How full?, answer: number}}}
"""
SHIPPED_CONFIG = re.sub(r"(?m)^\s*#.*\n|\s+#.*$", "", (SHIPPED / "edged.yaml").read_text())  # without its comments
VALID = {"cameras": CAMERAS, "questions": QUESTIONS, "shipped": SHIPPED_CONFIG}

# What stands where something else should: keys, values of every kind, and the characters that YAML is made of.
PIECES = [
    "model", "path", "cameras", "ask", "questions", "then", "answer", "json", "choices", "source", "prompt", "when",
    "alert", "words", "true", "false", "range", "mask", "polygon", "every", "hours", "cron", "mqtt", "password",
    "secret", "url", "version", "language", "workers", "cores", "null", "~", "1", "-0", "0x1F", "1e9", ".inf", ".nan",
    "010", "yes", "<<", "2024-01-01", "rtsp://a:b@c/", "usb:0", "30s", "", "&a x", "*a", "!!str 1", "!x y",
    "!!set {a}", "'", '"', "|", ">", "%", "@", "`", "- ", "? ", ": ", ", ", "[", "]", "{", "}", "#", "\n", "\n  ",
    "\n    ", "\t", "---\n", "...\n", "\u2028", "\x85", "\ufeff", "\u202e", "가", "\x7f", "\0", '"\\x00"', '"\\ud800"',
]  # fmt: skip
VALUES = [
    "", "null", "{}", "[]", "[[]]", "{a: b}", "{secret: x}", "{secret: ../x}", "{secret:x}", "true", "-1", "1.5",
    "1e400", "99999999999999999999", "0x", ".nan", "-.inf", "''", '"\\u0000"', '"\\ud83d"', "~", "!!binary aGk=",
    "!!float 1", "30", "0s", "99d", "-5m", "1.5h", "５s", "'> 3'", "'>'", "'> nan'", "'> 1e999'", "[1, true, x]",
    "24:00-24:00", "mon-sun", "[22:00-06:00, x]", "'* * * * *'", "'61 * * * *'", "'0 0 31 2 *'", "'*/0 * * * *'",
    "usb:99999", "usb:/dev/../x", "rtsp://", "rtsp://:@/", "rtsp://[::1/", "'http://h:99999/'", "ftp://x", "//x",
    "rtsp://é:x@h/", "mqtt://", "mqtts://h:0", "'mqtt://h:x'", "0.0.0.0:80", "'[::]:0'", "::1:1", "Europe/Nowhere",
    "../../etc/passwd", "yes_no", "integer", "number", "text", "json", "[a, a]", "[a]", "[yes, no]", "{choices: {}}",
    "{choices: {a: 1, b: 1}}", "{json: {}}", "{json: {$ref: '#'}}", "{json: {type: [x]}}",
    "{json: {pattern: '(((((a*)*)*)*)*'}}", "{json: 5}", "[5, 1]", "[.inf, 1]", "[0, 1, 2, 3]", "[[0, 0], [1, 1]]",
    "[[2, 2], [0, x], []]", "[0.5, 0.5, 0.5, 0.5]", "0x0", "1x", "\u202e", "'a\u200bb'", "1280X720", "'0:9'",
    "multi:x", "global8", "letterbox", "0B", "5TB", "-1GB", "1e3MB",
]  # fmt: skip
KEYS = PIECES[:30]
SIGNS = PIECES[PIECES.index("<<") :]
ENCODINGS = ["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-7", "latin-1", "cp949", "cp1252"]
WORD = re.compile(r"(?<=[ \[{,:])[^ ,:\]}\n][^,:\]}\n]*")
REST_OF_LINE = re.compile(r"(?<=[:-]) .*")
T = TypeVar("T")
MAX_CHARACTERS = 20_000

Mutation: TypeAlias = Callable[[st.DrawFn, str], str]


def _one(draw: st.DrawFn, values: Sequence[T]) -> T:
    """As st.sampled_from, which looks at all values each time."""
    return values[draw(st.integers(0, len(values) - 1))]


def _lines(draw: st.DrawFn, text: str) -> tuple[list[str], int, int]:
    """The lines, and the begin and end of a few of them that follow each other."""
    lines = text.splitlines(keepends=True) or [""]
    begin = draw(st.integers(0, len(lines) - 1))
    return lines, begin, min(len(lines), begin + draw(st.integers(1, 4)))


def _delete_lines(draw: st.DrawFn, text: str) -> str:
    lines, begin, end = _lines(draw, text)
    return "".join(lines[:begin] + lines[end:])


def _copy_lines(draw: st.DrawFn, text: str) -> str:
    lines, begin, end = _lines(draw, text)
    to = draw(st.integers(0, len(lines)))
    return "".join(lines[:to] + lines[begin:end] * draw(st.integers(1, 3)) + lines[to:])


def _move_lines(draw: st.DrawFn, text: str) -> str:
    lines, begin, end = _lines(draw, text)
    rest = lines[:begin] + lines[end:]
    to = draw(st.integers(0, len(rest)))
    return "".join(rest[:to] + lines[begin:end] + rest[to:])


def _indent_lines(draw: st.DrawFn, text: str) -> str:
    lines, begin, end = _lines(draw, text)
    indentation = _one(draw, ["", " ", "  ", "      ", "\t", "\u00a0"])
    changed = [indentation + line.lstrip(" ") if indentation == "" else indentation + line for line in lines[begin:end]]
    return "".join(lines[:begin] + changed + lines[end:])


def _match(draw: st.DrawFn, text: str, pattern: re.Pattern[str]) -> tuple[int, int]:
    return _one(draw, [match.span() for match in pattern.finditer(text)] or [(0, 0)])


def _word(draw: st.DrawFn, text: str) -> tuple[int, int]:
    """The begin and end of a key or value."""
    return _match(draw, text, WORD)


def _replace_value(draw: st.DrawFn, text: str) -> str:
    """A value in the style of a flow or a block, up to the end of the line."""
    begin, end = _match(draw, text, REST_OF_LINE)
    return f"{text[:begin]} {_one(draw, VALUES)}{text[end:]}"


def _replace_word(draw: st.DrawFn, text: str) -> str:
    begin, end = _word(draw, text)
    return text[:begin] + _one(draw, VALUES + PIECES) + text[end:]


def _exchange_words(draw: st.DrawFn, text: str) -> str:
    (begin, end), (other, other_end) = sorted([_word(draw, text), _word(draw, text)])
    if other < end:
        return text
    return text[:begin] + text[other:other_end] + text[end:other] + text[begin:end] + text[other_end:]


def _insert(draw: st.DrawFn, text: str) -> str:
    at = draw(st.integers(0, len(text)))
    return text[:at] + _one(draw, PIECES) + text[at + draw(st.integers(0, 9)) :]


def _truncate(draw: st.DrawFn, text: str) -> str:
    return text[: draw(st.integers(0, len(text)))]


def _alias(draw: st.DrawFn, text: str) -> str:
    """A value gets an anchor; another place refers to it, which may be inside of it."""
    begin, _ = _word(draw, text)
    text = f"{text[:begin]} &here {text[begin:]}"
    begin, end = _word(draw, text)
    return f"{text[:begin]} {_one(draw, ['*here', '<<: *here', '[*here, *here]'])}{text[end:]}"


def _nest(draw: st.DrawFn, text: str) -> str:
    begin, end = _word(draw, text)
    deep = _one(draw, [3, 38, 45, 1000])
    opening, closing = _one(draw, [("[", "]"), ("{a: ", "}"), ("- ", ""), ("? ", ""), ("\n - ", "")])
    inner = _one(draw, ["", "x", "*here"])
    return text[:begin] + opening * deep + inner + closing * deep + text[end:]


def _long_line(draw: st.DrawFn, text: str) -> str:
    begin, end = _word(draw, text)
    piece = _one(draw, ["x", "a ", "9", "x:", "'", '\\"', "가", "%41", "(", "@", "-", "[],", "{}, ", "a: 1,"])
    length = _one(draw, [70, 300, 1500] if "," in piece else [70, 300, 9000])
    return text[:begin] + (piece * length)[:length] + text[end:]


def _other_line_breaks(draw: st.DrawFn, text: str) -> str:
    return text.replace("\n", _one(draw, ["\r\n", "\r", "\n\n", "\x85", "\u2028", "\x0b"]))


MUTATIONS: list[Mutation] = [
    _delete_lines, _copy_lines, _move_lines, _indent_lines, _replace_value, _replace_value, _replace_word,
    _replace_word, _exchange_words, _insert, _insert, _truncate, _alias, _nest, _long_line, _other_line_breaks,
]  # fmt: skip


def _mutated(draw: st.DrawFn) -> str:
    text = VALID[_one(draw, [*VALID, *VALID, "cameras", "questions"])]
    for _ in range(draw(st.integers(1, 4))):
        text = _one(draw, MUTATIONS)(draw, text)
    return text[:MAX_CHARACTERS]


def _pieces(draw: st.DrawFn) -> str:
    return "".join(_one(draw, PIECES) for _ in range(draw(st.integers(0, 40))))


def _tree(draw: st.DrawFn) -> str:
    """The config's own keys with values that do not belong there."""
    begin = {"model": {"path": "m"}} if draw(st.booleans()) else {}
    return json.dumps(begin | {_one(draw, KEYS): _random_value(draw, 0) for _ in range(4)})


def _random_value(draw: st.DrawFn, depth: int) -> object:
    kind = draw(st.integers(0, 9))
    if kind < 4 or depth > 6:
        return _one(draw, [None, True, 0, -1, 1.5, 10**31, "x", "30s", "yes_no", "a" * 70, [], {}, *PIECES])
    if kind < 7:
        return [_random_value(draw, depth + 1) for _ in range(draw(st.integers(0, 3)))]
    return {_one(draw, KEYS): _random_value(draw, depth + 1) for _ in range(draw(st.integers(1, 4)))}


@st.composite
def hostile_files(draw: st.DrawFn) -> bytes:
    """Most are a valid file with a few changes; others are trees of its keys, or pieces without any order."""
    text = _one(draw, [_mutated] * 8 + [_tree, _pieces])(draw)
    if draw(st.integers(0, 19)) == 0:
        return text.encode(_one(draw, ENCODINGS), "replace")
    content = bytearray(text.encode("utf-8", "surrogatepass"))
    for _ in range(_one(draw, [0, 0, 0, 0, 1, 2])):
        if content:
            content[draw(st.integers(0, len(content) - 1))] ^= _one(draw, [1, 2, 4, 32, 64, 128, 255])
    return bytes(content)


@st.composite
def spoilt_passwords(draw: st.DrawFn, password: str) -> str:
    """A valid file, but for characters of YAML beside or inside of the password."""
    text = _one(
        draw,
        [
            f"{ASK}mqtt: {{username: me, password: {password}, prefix: x}}\n",
            f"{ASK}mqtt:\n  username: me\n  password: {password}\n  prefix: x\n",
            f"{ASK}mqtt:\n  username: me\n  password: '{password}'\n  prefix: x\n",
        ],
    )
    at = text.index(password) + _one(draw, [0, len(password)]) + _one(draw, [-1, 0, 0, 1])
    inserted = (_one(draw, SIGNS) for _ in range(draw(st.integers(1, 3))))
    return text[:at] + "".join(inserted) + text[at:]
