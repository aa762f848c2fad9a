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


NARROW = 64  # columns, below which a line is stacked


WORDS = {True: "ok", False: "wrong", None: "-"}


COLOURS = {True: "green", False: "red", None: "bright_black"}


def healthy(checks: Sequence[Check]) -> bool:
    return not any(check.ok is False for check in checks)


def as_json(checks: Sequence[Check]) -> str:
    whole = {"ok": healthy(checks), "checks": [asdict(check) for check in checks]}
    return json.dumps(whole, ensure_ascii=False, indent=2)


def show(checks: Sequence[Check], console: Console) -> None:
    """A table in a terminal, else a line for each check."""
    if console.is_terminal:
        console.print(table(checks, console.width))
    else:
        for check in checks:
            todo = f" -> {check.next}" if check.next else ""
            console.file.write(f"{WORDS[check.ok]:5} {check.name}: {check.detail}{todo}\n")
    console.file.write(f"{_summary(checks)}\n")


def table(checks: Sequence[Check], width: int) -> Table:
    from rich.table import Table
    from rich.text import Text

    narrow = width < NARROW
    made = Table(box=None, show_header=False, padding=(0, 1, 0, 0), width=width)
    made.add_column(width=5)
    if not narrow:
        made.add_column(max_width=31, overflow="fold")
    made.add_column(ratio=1, overflow="fold")
    for check in checks:
        said = Text(check.detail)
        if check.next:
            said = Text.assemble(said, "\n", (f"→ {check.next}", "yellow" if check.ok is False else "bright_black"))
        verdict, name = Text(WORDS[check.ok], style=COLOURS[check.ok]), Text(check.name, style="bold")
        cells = [verdict, Text.assemble(name, "\n", said)] if narrow else [verdict, name, said]
        made.add_row(*cells)
    return made


def _summary(checks: Sequence[Check]) -> str:
    count = {ok: sum(1 for check in checks if check.ok is ok) for ok in WORDS}
    return f"{count[False]} wrong, {count[True]} ok, {count[None]} not checked or not needed"
