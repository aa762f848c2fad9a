"""The checks as a table, lines or JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from edged.tools.doctor.check import Check

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


NARROW = 64  # columns; below that, the name is printed above the detail
VERDICTS = {True: "ok", False: "FAIL", None: "-"}
COLOURS = {True: "green", False: "red", None: "bright_black"}


def healthy(checks: Sequence[Check]) -> bool:
    return not any(check.ok is False for check in checks)


def as_json(checks: Sequence[Check]) -> str:
    document = {"ok": healthy(checks), "checks": [asdict(check) for check in checks]}
    return json.dumps(document, ensure_ascii=False, indent=2)


def show(checks: Sequence[Check], console: Console) -> None:
    """A table in a terminal, else one line per check."""
    if console.is_terminal:
        console.print(table(checks, console.width))
    else:
        for check in checks:
            step = f" -> {check.next}" if check.next else ""
            console.file.write(f"{VERDICTS[check.ok]:5} {check.name}: {check.detail}{step}\n")
    console.file.write(f"{_summary(checks)}\n")


def table(checks: Sequence[Check], width: int) -> Table:
    from rich.table import Table
    from rich.text import Text

    narrow = width < NARROW
    grid = Table(box=None, show_header=False, padding=(0, 1, 0, 0), width=width)
    grid.add_column(width=5)
    if not narrow:
        grid.add_column(max_width=31, overflow="fold")
    grid.add_column(ratio=1, overflow="fold")
    for check in checks:
        detail = Text(check.detail)
        if check.next:
            step = (f"→ {check.next}", "yellow" if check.ok is False else "bright_black")
            detail = Text.assemble(detail, "\n", step)
        verdict, name = Text(VERDICTS[check.ok], style=COLOURS[check.ok]), Text(check.name, style="bold")
        cells = [verdict, Text.assemble(name, "\n", detail)] if narrow else [verdict, name, detail]
        grid.add_row(*cells)
    return grid


def _summary(checks: Sequence[Check]) -> str:
    count = {ok: sum(1 for check in checks if check.ok is ok) for ok in VERDICTS}
    return f"{count[False]} failed, {count[True]} ok, {count[None]} not checked or not needed"
