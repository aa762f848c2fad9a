"""The result of a check, and how a check is run. No result contains a credential."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Check:
    """One result, and the next step if something has to be done.

    `ok` is False if edged cannot work like this, or not well. It is None if the check does not apply, or could not be
    made because something else is missing or a running edged uses the device; that is not a failure.
    """

    name: str
    ok: bool | None
    detail: str
    next: str | None = None


def run_checks(checks: Callable[[], Iterable[Check]]) -> list[Check]:
    """The results; an unexpected error is a result of its own and does not hide the other checks."""
    try:
        return list(checks())
    except Exception as error:
        return [Check("doctor", None, f"unexpected error in a check: {location(error)}", "report this error")]


def location(error: Exception) -> str:
    """The class and line of an error, without its text, which could contain a credential."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    place = f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
    return f"{type(error).__name__}{place}"


def import_failure(error: ImportError) -> str:
    return f"{type(error).__name__}: {error}"


def spoken_size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.1f} {unit}" if count < 10 and unit != "bytes" else f"{count:.0f} {unit}"
        count /= 1000
    raise AssertionError
