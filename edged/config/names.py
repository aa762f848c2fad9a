"""Names of cameras, questions and regions. Those of cameras and questions become parts of topics."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from edged.config.phrases import shown
from edged.config.places import KeyPath
from edged.config.problems import Report
from edged.config.trees import mapping
from edged.config.values import NAME, NAME_LENGTH

RESERVED_CAMERAS = ("bridge",)
RESERVED_QUESTIONS = ("availability", "active", "image", "event", "late")


def check_names(tree: dict[str, Any], report: Report) -> None:
    """Report every name that cannot be a topic, is reserved, or is used twice within a camera, and unknown regions."""
    for name in mapping(tree.get("questions")):
        _check(("questions", name), RESERVED_QUESTIONS, "question", report)
    for name, camera in mapping(tree.get("cameras")).items():
        _check(("cameras", name), RESERVED_CAMERAS, "camera", report)
        _check_questions(("cameras", name, "ask"), mapping(camera).get("ask"), report)
        _check_regions(("cameras", name), mapping(camera), report)


def _check_questions(path: KeyPath, asked: Any, report: Report) -> None:
    first: dict[str, KeyPath] = {}
    for place in _question_paths(asked, path):
        _check(place, RESERVED_QUESTIONS, "question", report)
        question = str(place[-1])
        if question in first:
            line = report.line(first[question])
            report.problem(place[:-1], f"duplicate question name {shown(question)} (first in line {line})")
        first.setdefault(question, place)


def _check_regions(path: KeyPath, camera: dict[str, Any], report: Report) -> None:
    """The names of a camera's regions, and those that its questions refer to."""
    regions = camera.get("regions", {})
    if not isinstance(regions, dict):
        return
    for name in regions:
        _check((*path, "regions", name), (), "region", report)
    for question, keys in mapping(camera.get("ask")).items():
        region = mapping(keys).get("region")
        if isinstance(region, str) and region not in regions:
            camera_name = f"camera {shown(path[-1])}"
            hint = report.hint(region, regions) if regions else ", which has none"
            report.about((*path, "ask", question, "region"), f"{shown(region)} is not a region of {camera_name}{hint}")


def _check(path: KeyPath, reserved: tuple[str, ...], kind: str, report: Report) -> None:
    if why := _name_problem(str(path[-1]), reserved, kind):
        report.bare(path, f"{kind} {shown(path[-1])}: {why}")


def _name_problem(name: str, reserved: tuple[str, ...], kind: str) -> str | None:
    if not NAME.fullmatch(name):
        why = "" if kind == "region" else ", because it becomes part of a topic"
        return f"a name consists of a-z, 0-9, _ and -{why}{_valid_name(name)}"
    if len(name) > NAME_LENGTH:
        return f"a name has at most {NAME_LENGTH} characters"
    return "this name is reserved" if name in reserved else None


def _valid_name(name: str) -> str:
    """`. Did you mean "loading-dock"?`; nothing for a name that may contain a password."""
    valid = re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-")
    return f". Did you mean {shown(valid)}?" if 0 < len(valid) <= 40 and not {"@", ":"} & set(name) else ""


def _question_paths(asked: Any, path: KeyPath) -> Iterator[KeyPath]:
    for name, question in mapping(asked).items():
        yield (*path, name)
        yield from _question_paths(mapping(question).get("then"), (*path, name, "then"))
