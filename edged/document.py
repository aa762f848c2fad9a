"""YAML 1.2 as plain values, with the line of every key.

In YAML 1.2 `yes`, `no`, `on` and `off` are words. Keys are always text. Nothing of the file's values goes into a
message of this module, because any of them may be a password.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

KeyPath: TypeAlias = tuple[str | int, ...]

MAX_NODES = 50_000  # aliases of aliases grow without end


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """What is wrong, and in which line (0: the file as a whole)."""

    line: int
    text: str


@dataclass(slots=True)
class Document:
    """The file's values, where each of them stands, and what is wrong with its form."""

    tree: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    nodes: int = 0

    def line(self, path: KeyPath) -> int:
        """The line of that key, or of the nearest one above it that stands in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)


class _TooLarge(Exception):
    pass


def read(path: Path) -> Document:
    """The file as a Document; what cannot be read at all is one of its problems."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Document(problems=[Problem(0, "there is no such file")])
    except UnicodeDecodeError as error:
        return Document(problems=[Problem(0, f"is not UTF-8 text (byte {error.start})")])
    except OSError as error:
        return Document(problems=[Problem(0, f"cannot be read: {error.strerror}")])
    return parse(text)


def parse(text: str) -> Document:
    document = Document()
    try:
        root = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        document.problems.append(Problem(line, f"is not YAML: {error.problem or error.context}"))
        return document
    except YAMLError:
        document.problems.append(Problem(0, "is not YAML"))
        return document
    try:
        document.tree = _value(document, root, ()) if root else None
    except (_TooLarge, RecursionError):
        document.problems.append(Problem(0, f"has more than {MAX_NODES} values, or one that holds itself"))
    return document


def suggestion(word: str, known: Iterable[str]) -> str:
    """` Did you mean "…"?`, or nothing when no known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f' Did you mean "{near[0]}"?' if near else ""


def _value(document: Document, node: Node, path: KeyPath) -> Any:
    document.nodes += 1
    if document.nodes > MAX_NODES:
        raise _TooLarge
    document.lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, MappingNode):
        return _mapping(document, node, path)
    if isinstance(node, SequenceNode):
        return [_value(document, item, (*path, index)) for index, item in enumerate(node.value)]
    return _scalar(document, node, path) if isinstance(node, ScalarNode) else None


def _mapping(document: Document, node: MappingNode, path: KeyPath) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, ScalarNode):
            document.problems.append(Problem(line, "a key has to be one word"))
            continue
        key = key_node.value
        if key in found:
            first = document.lines[(*path, key)]
            document.problems.append(Problem(line, f'"{key}" stands here a second time (first in line {first})'))
            continue
        document.lines[(*path, key)] = line
        found[key] = _value(document, value_node, (*path, key))
    return found


def _scalar(document: Document, node: ScalarNode, path: KeyPath) -> Any:
    text, kind = node.value, str(node.tag).rpartition(":")[2]
    try:
        match kind:
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int":
                return int(text.replace("_", ""), 0) if text.lstrip("+-")[:2] in ("0x", "0o") else int(text)
            case "float":
                return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        document.problems.append(Problem(node.start_mark.line + 1, f'"{path[-1]}" is not a number that can be read'))
        return None
    return text
