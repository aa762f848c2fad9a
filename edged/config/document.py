"""Reads files of limited size, and YAML 1.2 as plain values with the line of every key.

In YAML 1.2 `yes`, `no`, `on` and `off` are words. Keys are always text. Messages of this module contain no value of the
file, because any value may be a password.
"""

from __future__ import annotations

import errno
import math
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import MarkedYAMLError, StreamMark, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.scanner import Scanner, ScannerError

from edged.config.places import KeyPath, subject
from edged.config.yaml_errors import diagnose

MAX_BYTES = 1024 * 1024
MAX_VALUES = 10_000  # ruamel needs about 50 us for each, and aliases of aliases grow without end
MAX_DEPTH = 40  # ruamel, pydantic, json and llguidance all recurse
MAX_TEXT = 8_000
MAX_KEY = 200
EXOTIC_SPACES = "\u00a0\u2002\u2003\u2009\u200b\u202f\u3000\ufeff"
MAX_NUMBER = 32  # int() of thousands of digits is slow or refused
NUMBER = re.compile(  # of YAML 1.2: ruamel takes 1_000 and 0b11 for numbers too, and after %YAML 1.1 also 1:30
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|0o[0-7]+|0x[0-9a-fA-F]+"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # byte order marks
VERSIONS = ((1, 2), (1, 1))  # that may be named; either is read as 1.2
TAG = "tag:yaml.org,2002:"
TAGS = {
    ScalarNode: {f"{TAG}{kind}" for kind in ("null", "bool", "int", "float", "str", "timestamp", "merge", "value")},
    SequenceNode: {f"{TAG}seq"},
    MappingNode: {f"{TAG}map"},
}


class FileRefused(OSError):
    """A file of a kind or size that is not read. `strerror` ends a sentence: `is not a regular file`."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """A sentence and its line (0: the file as a whole)."""

    line: int
    text: str


@dataclass(slots=True)
class Document:
    """The file's values, the line of each, and the problems of its form.

    A value in `unreadable` was replaced by None; the reason is among the problems.
    """

    tree: Any = None
    text: str = ""
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    unreadable: set[KeyPath] = field(default_factory=set)
    values: int = 0

    def line(self, path: KeyPath) -> int:
        """The line of that key, or of the nearest key above it that is in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)


class _Composer(Composer):
    """Refuses a document that is too deep or too long before it is built; ruamel would recurse to Python's limit."""

    def __init__(self, loader: Any = None) -> None:
        super().__init__(loader)
        self.warn_double_anchors = False  # the warning would show a piece of the file
        self._levels = 0
        self._nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        mark = self.parser.peek_event().start_mark
        self._nodes += 1
        if self._nodes > 2 * MAX_VALUES:  # a key is a node too
            raise _TooMuch(mark, _too_many())
        if self._levels > MAX_DEPTH:
            raise _TooMuch(mark, _too_deep())
        self._levels += 1
        node = super().compose_node(parent, index)
        self._levels -= 1
        return node


class _Scanner(Scanner):
    """Refuses brackets that are nested too deeply, before the composer sees the first of them.

    Each may begin a key, which may have 1024 characters: ruamel reads so far ahead, and compares all with all.
    It asserts that it knows the version after %YAML.
    """

    def scan_yaml_directive_value(self, start_mark: Any) -> Any:
        version = super().scan_yaml_directive_value(start_mark)
        if version not in VERSIONS:
            raise ScannerError(None, None, "the version after %YAML must be 1.2 or 1.1", start_mark)
        return version

    def fetch_flow_collection_start(self, token: Any, to_push: str) -> None:
        if self.flow_level > MAX_DEPTH:
            raise _TooMuch(self.reader.get_mark(), _too_deep())
        super().fetch_flow_collection_start(token, to_push)


class _TooMuch(Exception):
    """The document exceeds a bound; nothing of it is used."""

    def __init__(self, mark: StreamMark, text: str) -> None:
        super().__init__(text)
        self.problem = Problem(mark.line + 1, text)


def read_bytes(path: Path) -> bytes:
    """The content of a regular file. Never blocks on a FIFO.

    Raises OSError; its subclass FileRefused for a FIFO, device or folder, and for a file of more than MAX_BYTES.
    """
    # Without O_NONBLOCK, opening a FIFO blocks until a writer opens it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise FileRefused(errno.EINVAL, "is not a regular file", str(path))
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > MAX_BYTES:
        raise FileRefused(errno.EFBIG, f"is larger than {MAX_BYTES // 1024} KiB", str(path))
    return content


def read(path: Path) -> Document:
    """The file as a Document; if it cannot be read at all, that is its only problem."""
    try:
        content = read_bytes(path)
        return parse(content.decode("utf-8-sig"))
    except FileNotFoundError:
        return _failed("file not found")
    except UnicodeDecodeError as error:
        utf_16 = content.startswith(UTF_16)
        return _failed("is UTF-16; save it as UTF-8" if utf_16 else f"is not UTF-8 text (byte {error.start})")
    except FileRefused as error:
        return _failed(str(error.strerror))
    except OSError as error:
        return _failed(f"cannot be read: {error.strerror}")


def _failed(why: str) -> Document:
    return Document(problems=[Problem(0, why)])


def parse(text: str) -> Document:
    document = Document(text=text)
    if forbidden := FORBIDDEN.search(text):
        line = text.count("\n", 0, forbidden.start()) + 1
        document.problems.append(Problem(line, f"is not YAML: {_forbidden(forbidden)}"))
        return document
    try:
        root = _yaml().compose(text)
        document.tree = _value(document, root, ()) if root else None
    except _TooMuch as error:
        document.problems.append(error.problem)
    except MarkedYAMLError as error:
        diagnosis = diagnose(error, text)
        document.problems.append(Problem(diagnosis.line, f"is not YAML: {diagnosis.text}"))
    except YAMLError:
        document.problems.append(Problem(0, "is not YAML"))
    return document


def text_problem(text: str) -> str | None:
    """Why this text is not allowed in a config, as the end of a sentence."""
    if len(text) > MAX_TEXT:
        return f"has {len(text)} characters; the limit is {MAX_TEXT}"
    forbidden = FORBIDDEN.search(text)
    return f"contains a control character ({_code_point(forbidden)})" if forbidden else None


def _yaml() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.Scanner, yaml.Composer = _Scanner, _Composer
    return yaml


def _too_many() -> str:
    return f"has more than {MAX_VALUES} values"


def _too_deep() -> str:
    return f"is nested more than {MAX_DEPTH} levels deep"


def _forbidden(match: re.Match[str]) -> str:
    if match[0] == "\0":
        return "a NUL byte (U+0000); the file is damaged or is not UTF-8 text"
    return f"control character {_code_point(match)} is not allowed"


def _code_point(match: re.Match[str]) -> str:
    return f"U+{ord(match[0]):04X}"


def _value(document: Document, node: Node, path: KeyPath) -> Any:
    document.values += 1
    if document.values > MAX_VALUES:
        raise _TooMuch(node.start_mark, _too_many())
    if len(path) > MAX_DEPTH:  # through an alias
        raise _TooMuch(node.start_mark, _too_deep())
    document.lines.setdefault(path, node.start_mark.line + 1)
    if str(node.tag) not in TAGS[type(node)]:
        return _unreadable(document, node, path, "has a tag; a text that begins with ! needs quotes")
    if isinstance(node, MappingNode):
        return _mapping(document, node, path)
    if isinstance(node, SequenceNode):
        return [_value(document, item, (*path, index)) for index, item in enumerate(node.value)]
    return _scalar(document, node, path) if isinstance(node, ScalarNode) else None


def _unreadable(document: Document, node: Node, path: KeyPath, why: str) -> None:
    document.unreadable.add(path)
    document.problems.append(Problem(node.start_mark.line + 1, f"{subject(path) or 'the value'} {why}"))


def _mapping(document: Document, node: MappingNode, path: KeyPath) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if why := _key_problem(key_node):
            document.problems.append(Problem(line, why))
            continue
        key = key_node.value
        if key in mapping:
            first = document.lines[(*path, key)]
            document.problems.append(Problem(line, f'duplicate key "{key}" (first in line {first})'))
            continue
        document.lines[(*path, key)] = line
        mapping[key] = _value(document, value_node, (*path, key))
    return _merged(document, mapping, path)


def _merged(document: Document, mapping: dict[str, Any], path: KeyPath) -> dict[str, Any]:
    """Reports a merge key, and applies it, so that the keys that it was meant to add are not reported as missing."""
    if "<<" not in mapping:
        return mapping
    line = document.lines[(*path, "<<")]
    document.problems.append(Problem(line, "merge keys (<<) are not supported; share questions under questions:"))
    merged = mapping.pop("<<")
    for source in merged if isinstance(merged, list) else [merged]:
        mapping = {**source, **mapping} if isinstance(source, dict) else mapping
    return mapping


def _key_problem(node: Node) -> str | None:
    if not isinstance(node, ScalarNode):
        return "a key must be text, not a list or a mapping"
    if len(node.value) > MAX_KEY:
        return f"a key is longer than {MAX_KEY} characters"
    if FORBIDDEN.search(node.value) or "\n" in node.value:
        return "a key contains a line break or a control character"
    if node.value.strip(EXOTIC_SPACES) != node.value:
        return "a key begins or ends with a no-break space or another special space; use plain spaces"
    return None


def _scalar(document: Document, node: ScalarNode, path: KeyPath) -> Any:
    text, kind = node.value, str(node.tag).removeprefix(TAG)
    if kind == "null":
        return None
    if kind == "bool" and text.lower() in ("true", "false"):  # after %YAML 1.1, `yes` is one for ruamel
        return text.lower() == "true"
    if kind in ("int", "float") and NUMBER.fullmatch(text):
        number = _number(text, kind)
        unsound = f"is not a finite number of at most {MAX_NUMBER} characters"
        return _unreadable(document, node, path, unsound) if number is None else number
    why = text_problem(text)
    return _unreadable(document, node, path, why) if why else text


def _number(text: str, kind: str) -> int | float | None:
    """None if it is not a finite number, or too long."""
    if len(text) > MAX_NUMBER:
        return None
    try:
        if kind == "int":
            return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
