"""Where a value is in the file, in the words of a message: `camera "dock": question "gate": alert.when`."""

from __future__ import annotations

from typing import TypeAlias

from edged.config.phrases import shown

KeyPath: TypeAlias = tuple[str | int, ...]

TABLES = {"cameras": "camera", "ask": "question", "questions": "question", "then": "follow-up", "regions": "region"}


def context(path: KeyPath) -> str:
    """`camera "dock": question "gate": `, the named parts above this key; `model: ` for a key of another section."""
    names, keys = _split(path)
    return "".join(f"{name}: " for name in names) if names or len(keys) < 2 else f"{keys[0]}: "


def subject(path: KeyPath) -> str:
    """The value itself: `camera "dock"`, `camera "dock": mask[1].polygon[0]`, `model: path`."""
    names, keys = _split(path)
    if not names and len(keys) > 1:
        names, keys = [str(keys[0])], keys[1:]
    dotted = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).lstrip(".")
    return ": ".join([*names, dotted] if dotted else names)


def _split(path: KeyPath) -> tuple[list[str], list[str | int]]:
    """The cameras, questions and follow-ups along the path, and the keys below the last of them."""
    names: list[str] = []
    keys: list[str | int] = []
    rest = iter(path)
    for key in rest:
        name = next(rest, None) if key in TABLES else None
        if name is None:
            keys.append(key)
        else:
            names.append(f"{TABLES[str(key)]} {shown(name)}")
            keys = []
    return names, keys
