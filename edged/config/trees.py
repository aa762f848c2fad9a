"""The values of a config as plain mappings and lists: shared questions filled in, mistakes left out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from edged.config.form import ConfigForm
from edged.config.levels import Level, Table, level_below
from edged.config.places import KeyPath
from edged.config.problems import Report

STAND_INS: dict[str | int, Any] = {
    "model": {"path": "."},
    "path": ".",
    "source": ".",
    "prompt": "?",
    "username": "?",
    "box": [0, 0, 1, 1],
    "polygon": [[0, 0], [1, 0], [1, 1]],
}
INDIVISIBLE = {"words", "alert", "when_changed", "client_certificate"}  # left out as a whole if one key is wrong
OF_THE_ANSWER = ("answer", "range", "words", "min_confidence", "alert")


def with_shared_questions(tree: dict[str, Any], report: Report) -> dict[str, Any]:
    """The tree in which each camera's questions have the keys of the shared question of the same name."""
    filled = dict(tree)
    shared, cameras = mapping(tree.get("questions")), tree.get("cameras")
    if isinstance(cameras, dict):
        filled["cameras"] = {name: _filled(name, camera, shared, report) for name, camera in cameras.items()}
    return filled


def _filled(name: str, camera: Any, shared: dict[str, Any], report: Report) -> Any:
    if not isinstance(camera, dict) or not isinstance(camera.get("ask"), dict):
        return camera
    asked = {}
    for question, own in camera["ask"].items():
        common = _shared_question(shared, question)
        given = {} if own is None else own
        asked[question] = {**common, **given} if isinstance(given, dict) else given
        for key in common.keys() - mapping(given).keys():
            report.origins["cameras", name, "ask", question, key] = ("questions", question, key)
    return {**camera, "ask": asked}


def _shared_question(shared: dict[str, Any], name: str) -> dict[str, Any]:
    """Not a mapping: that has a problem of its own, and must not lead to others."""
    return mapping(shared[name]) or {"prompt": STAND_INS["prompt"]} if name in shared else {}


def mapping(value: Any) -> dict[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, dict) else {}


def size(value: Any, sizes: dict[int, int] | None = None) -> int:
    """The number of values when each is written out wherever it is used."""
    sizes = {} if sizes is None else sizes
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in sizes:
        parts: Iterable[Any] = value.values() if isinstance(value, dict) else value
        sizes[id(value)] = 1 + sum(size(part, sizes) for part in parts)
    return sizes[id(value)]


def copied(value: Any) -> Any:
    """The same values, none of them shared."""
    if isinstance(value, dict):
        return {key: copied(part) for key, part in value.items()}
    return [copied(part) for part in value] if isinstance(value, list) else value


def leave_out(tree: dict[str, Any], path: KeyPath) -> None:
    """Remove the value at this path, and the values that cannot be used without it."""
    node: Any = tree
    level: Level = ConfigForm
    parent: tuple[dict[str, Any], str | int, bool] | None = None
    for key in path:
        if not isinstance(node, dict):
            break
        is_name = isinstance(level, Table)
        parent = (node, key, is_name)
        if key in INDIVISIBLE and not is_name:
            break
        node, level = node.get(str(key)), level_below(level, key)
    if parent:
        _remove(*parent)


def _remove(node: dict[str, Any], key: Any, is_name: bool) -> None:
    node.pop(key, None)
    if not is_name and key in STAND_INS:
        node[key] = copied(STAND_INS[key])
    if not is_name and key == "answer":
        _remove_answer(node)


def _remove_answer(question: dict[str, Any]) -> None:
    for key in OF_THE_ANSWER:
        question.pop(key, None)
    for follow_up in mapping(question.get("then")).values():
        mapping(follow_up).pop("when", None)
