"""Durations, counts, addresses and long texts in a readable form."""

from __future__ import annotations

UNITS = (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1))  # with the next smaller one, in seconds


def spoken(seconds: float) -> str:
    """`0.4 s`, `2 s`, `12 s`, `3 min 30 s`, `2 h 5 min`, `3 d 4 h`: two units at most."""
    if seconds < 10 and round(seconds, 1) % 1:
        return f"{seconds:.1f} s"
    rounded = round(seconds)
    for unit, size, smaller_unit, smaller_size in UNITS:
        if rounded >= size:
            rest = rounded % size // smaller_size
            return f"{rounded // size} {unit} {rest} {smaller_unit}" if rest else f"{rounded // size} {unit}"
    return f"{rounded} s"


def counted(count: int, one: str, more: str = "") -> str:
    """`1 camera`, `2 cameras`. `more` is an irregular plural."""
    return f"{count} {one if count == 1 else more or one + 's'}"


def system_text(error: OSError) -> str:
    """`connection refused`: the system's text, or the error's own if it has none."""
    return (error.strerror or str(error)).lower()


def host_port(host: str, port: int) -> str:
    """`box.lan:80`, `[::1]:80`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def shorten(text: str, length: int = 60) -> str:
    """At most `length` characters; an ellipsis replaces the rest."""
    return text if len(text) <= length else text[: length - 1] + "…"


def abridge(text: str, length: int) -> str:
    """At most `length` characters; an ellipsis replaces the middle: a sentence often says at its end what is wrong."""
    kept = length - 1
    return text if len(text) <= length else f"{text[: kept // 2]}…{text[-(kept - kept // 2) :]}"


def printable(text: str) -> str:
    """The text without characters that a terminal could take for a command."""
    return "".join(char if char.isprintable() else "·" for char in text)
