"""The keys that are allowed at each place of the file."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic.fields import FieldInfo

from edged.config.form import ConfigForm
from edged.config.keys import Form
from edged.config.places import KeyPath


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping of names to forms."""

    rows: type[Form]


Level = type[Form] | Table | None  # the owner of the keys at one place of the file; None: not keys of the config


def level_below(level: Level, part: str | int) -> Level:
    """The level under this key. An index of a list stays on the level of its items."""
    if isinstance(part, int) or level is None:
        return level
    if isinstance(level, Table):
        return level.rows
    info = fields(level).get(part)
    return _level_of(info.annotation) if info else None


def level_at(path: KeyPath) -> Level:
    level: Level = ConfigForm
    for part in path:
        level = level_below(level, part)
    return level


def fields(level: Level) -> Mapping[str, FieldInfo]:
    """The keys of a form, as they are written in the file."""
    if level is None or isinstance(level, Table):
        return {}
    return {info.alias or name: info for name, info in level.model_fields.items()}


def _level_of(annotation: Any) -> Level:
    """`CoresForm`, `list[CoresForm]` and `CoresForm | None` are a form, `dict[str, CameraForm]` is a table."""
    if isinstance(annotation, type) and issubclass(annotation, Form):
        return annotation
    levels = [level for argument in typing.get_args(annotation) if (level := _level_of(argument))]
    if levels and typing.get_origin(annotation) is dict and not isinstance(levels[0], Table):
        return Table(levels[0])
    return levels[0] if levels else None
