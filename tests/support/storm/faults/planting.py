"""Turns failures on and off that are planted in the process of edged; see support/storm/daemon.py."""

from __future__ import annotations

import json
from pathlib import Path

from support.storm.faults.kinds import Running
from support.storm.parts import Parts


def planted(parts: Parts, name: str, value: object) -> Running:
    effects = parts.failures.with_name(parts.failures.name + ".effects")
    effects.touch()
    before = effects.stat().st_size
    _plant(parts.failures, {**_read(parts.failures), name: value})
    yield
    _plant(parts.failures, {each: value for each, value in _read(parts.failures).items() if each != name})
    return effects.read_bytes()[before:].decode().split("\n").count(name)


def _read(path: Path) -> dict[str, object]:
    """The failures that are on; {} without the file."""
    try:
        content: dict[str, object] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return content


def _plant(path: Path, failures: dict[str, object]) -> None:
    new = path.with_suffix(".new")
    new.write_text(json.dumps(failures))
    new.replace(path)
