"""Files read within bounds, and YAML 1.2 as plain values with the line of every key.

In YAML 1.2 `yes`, `no`, `on` and `off` are words. Keys are always text. No value of the file goes into a message of
this module, because any of them may be a password.
"""

from __future__ import annotations

import difflib
import errno
import math
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError
from ruamel.yaml.error import MarkedYAMLError, StreamMark, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

KeyPath: TypeAlias = tuple[str | int, ...]

MAX_BYTES = 1024 * 1024
MAX_VALUES = 10_000  # ruamel needs about 50 us for each, and aliases of aliases grow without end
MAX_DEPTH = 40  # ruamel, pydantic, json and llguidance all recurse
MAX_TEXT = 8_000
MAX_KEY = 200
MAX_CANDIDATES = 200  # difflib needs about 10 us for each
MAX_NUMBER = 32  # int() of thousands of digits is slow or refused
FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
TAG = "tag:yaml.org,2002:"
TAGS = {
    ScalarNode: {f"{TAG}{kind}" for kind in ("null", "bool", "int", "float", "str", "timestamp", "merge", "value")},
    SequenceNode: {f"{TAG}seq"},
    MappingNode: {f"{TAG}map"},
}


class FileRefused(OSError):
    """A file that is not read for what it is. `strerror` is the end of a sentence, such as `is not a regular file`."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """What is wrong, and in which line (0: the file as a whole)."""

    line: int
    text: str


@dataclass(slots=True)
class Document:
    """The file's values, where each of them stands, and what is wrong with its form.

    A value in `unreadable` was replaced by None, and the reason is among the problems.
    """

    tree: Any = None
    text: str = ""
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    unreadable: set[KeyPath] = field(default_factory=set)
    values: int = 0

    def line(self, path: KeyPath) -> int:
        """The line of that key, or of the nearest one above it that stands in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)


class _Composer(Composer):
    """Refuses what is too deep or too long before it is built; ruamel itself would recurse until Python gives up."""

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


class _TooMuch(Exception):
    """The document is over a bound, so that nothing of it is used."""

    def __init__(self, mark: StreamMark, text: str) -> None:
        super().__init__(text)
        self.problem = Problem(mark.line + 1, text)


def read_bytes(path: Path) -> bytes:
    """The content of a regular file, without ever waiting for a writer.

    Raises OSError, of which FileRefused for anything but a regular file (a FIFO, a device, a folder) and for a file of
    more than MAX_BYTES.
    """
    # Without O_NONBLOCK the opening of a FIFO waits until somebody writes to it.
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
    """The file as a Document; what cannot be read at all is one of its problems."""
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except FileNotFoundError:
        return Document(problems=[Problem(0, "there is no such file")])
    except UnicodeDecodeError as error:
        return Document(problems=[Problem(0, f"is not UTF-8 text (byte {error.start})")])
    except FileRefused as error:
        return Document(problems=[Problem(0, str(error.strerror))])
    except OSError as error:
        return Document(problems=[Problem(0, f"cannot be read: {error.strerror}")])
    return parse(text)


def parse(text: str) -> Document:
    document = Document(text=text)
    if forbidden := FORBIDDEN.search(text):
        line = text.count("\n", 0, forbidden.start()) + 1
        document.problems.append(Problem(line, f"is not YAML: {_no_control(forbidden)}"))
        return document
    try:
        root = _yaml().compose(text)
        document.tree = _value(document, root, ()) if root else None
    except _TooMuch as error:
        document.problems.append(error.problem)
    except MarkedYAMLError as error:
        document.problems.append(_not_yaml(error))
    except YAMLError:
        document.problems.append(Problem(0, "is not YAML"))
    return document


def text_problem(text: str) -> str | None:
    """Why this cannot be a text of a config, as the end of a sentence."""
    if len(text) > MAX_TEXT:
        return f"is longer than {MAX_TEXT} characters"
    forbidden = FORBIDDEN.search(text)
    return f"holds a control character ({_code_point(forbidden)})" if forbidden else None


def suggestion(word: str, known: Iterable[str]) -> str:
    """` Did you mean "…"?`, or nothing when no known word is near."""
    candidates = [other for other in known if abs(len(other) - len(word)) <= 8][:MAX_CANDIDATES]
    near = difflib.get_close_matches(word, candidates, n=1, cutoff=0.6)
    return f' Did you mean "{near[0]}"?' if near else ""


def _yaml() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _Composer
    return yaml


def _not_yaml(error: MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    why = error.problem or error.context
    if isinstance(error, ComposerError) and "alias" in str(why):
        why = "an alias without its anchor (a text that begins with * needs quotes)"
    elif "tag handle" in str(why):
        why = "an unknown tag (a text that begins with ! needs quotes)"
    return Problem(mark.line + 1 if mark else 0, f"is not YAML: {why}")


def _too_many() -> str:
    return f"has more than {MAX_VALUES} values"


def _too_deep() -> str:
    return f"is nested more than {MAX_DEPTH} levels deep"


def _no_control(match: re.Match[str]) -> str:
    return f"control character {_code_point(match)} is not allowed"


def _code_point(match: re.Match[str]) -> str:
    return f"U+{ord(match[0]):04X}"


def _value(document: Document, node: Node, path: KeyPath) -> Any:
    document.values += 1
    if document.values > MAX_VALUES:
        raise _TooMuch(node.start_mark, _too_many())
    if len(path) > MAX_DEPTH:  # by an alias
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
    key = next((str(part) for part in reversed(path) if isinstance(part, str)), "the file")
    document.unreadable.add(path)
    document.problems.append(Problem(node.start_mark.line + 1, f"{key} {why}"))


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
    return mapping


def _key_problem(node: Node) -> str | None:
    if not isinstance(node, ScalarNode):
        return "a key must be text, not a list or a mapping"
    if len(node.value) > MAX_KEY:
        return f"a key is longer than {MAX_KEY} characters"
    if FORBIDDEN.search(node.value) or "\n" in node.value:
        return "a key holds a line break or a control character"
    return None


def _scalar(document: Document, node: ScalarNode, path: KeyPath) -> Any:
    text, kind = node.value, str(node.tag).removeprefix(TAG)
    if kind == "null":
        return None
    if kind == "bool" and text.lower() in ("true", "false"):  # after %YAML 1.1, `yes` is one for ruamel
        return text.lower() == "true"
    if kind in ("int", "float"):
        number = _number(text, kind)
        unsound = f"is not a number that can be read (at most {MAX_NUMBER} characters, finite)"
        return _unreadable(document, node, path, unsound) if number is None else number
    why = text_problem(text)
    return _unreadable(document, node, path, why) if why else text


def _number(text: str, kind: str) -> int | float | None:
    """None for what is no finite number, or is too long."""
    if len(text) > MAX_NUMBER:
        return None
    try:
        if kind == "int":
            return int(text.replace("_", ""), 0) if text.lstrip("+-")[:2] in ("0x", "0o") else int(text)
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
