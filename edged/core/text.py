"""Durations, counts and long texts as people read them."""

from __future__ import annotations


def spoken(seconds: float) -> str:
    """`0.4 s`, `2 s`, `12 s`, `3 min 30 s`, `2 h 5 min`, `3 d 4 h`."""
    if seconds < 10 and round(seconds, 1) % 1:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, size, below, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit} {rest} {below}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def counted(count: int, one: str, more: str = "") -> str:
    """`1 camera`, `2 cameras`; `more` is for words that do not end in s."""
    return f"{count} {one if count == 1 else more or one + 's'}"


def shorten(text: str, length: int = 60) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
