"""The figures of `edged bench` as tables for a terminal of 80 columns, or of 40 with wrapped lines."""

from __future__ import annotations

from typing import Literal, TypeAlias

from rich.console import Console
from rich.table import Table

from edged.core.text import counted
from edged.tools.bench.figures import BenchResult, Figure

Column: TypeAlias = tuple[str, Literal["left", "right"]]


def show(result: BenchResult, console: Console) -> None:
    width, height = result.picture
    loaded = f"picture {width}x{height}, loaded in {result.load_s:.1f} s"
    console.print(f"{result.model} ({result.revision}), {loaded}", style="bold")
    for table in (_speeds(result), _sharing(result), *([_cameras(result)] if result.cameras else [])):
        console.print()
        console.print(table)
    console.print()
    if result.cameras:
        console.print(_verdict(result))
    console.print(f"medians, number of samples in brackets; measured for {result.took_s:.0f} s", style="bright_black")


def _speeds(result: BenchResult) -> Table:
    table = _table(("", "left"), ("", "right"))
    prompt = f", prompt of {counted(result.prefill_tokens, 'token')}" if result.prefill_tokens else ""
    table.add_row("vision encode and prefix prefill", _figure(result.see_ms, "ms"))
    table.add_row(f"prefill{prompt}", _figure(result.prefill_tokens_per_s, "tokens/s"))
    table.add_row("decode, free text", _figure(result.decode_tokens_per_s, "tokens/s"))
    return table


def _sharing(result: BenchResult) -> Table:
    columns: tuple[Column, ...] = (
        ("questions per look", "right"),
        ("one encode", "right"),
        ("encode for each", "right"),
        ("ratio", "right"),
    )
    table = _table(*columns)
    for row in result.rows:
        shared, apart = row.shared_s.median, row.apart_s.median
        ratio = f"{shared / apart:.2f}" if shared and apart else ""
        table.add_row(str(row.questions), _figure(row.shared_s, "s"), _figure(row.apart_s, "s"), ratio)
    return table


def _cameras(result: BenchResult) -> Table:
    columns: tuple[Column, ...] = (
        ("camera", "left"),
        ("looks/min", "right"),
        ("time per look", "right"),
        ("share of the model's time", "right"),
    )
    table = _table(*columns)
    for need in result.cameras:
        busy_s = need.busy_s_per_minute
        share = "" if busy_s is None else f"{100 * busy_s / 60 / result.workers:.1f} %"
        table.add_row(need.camera, _number(need.looks_per_minute), _figure(need.look_s, "s"), share)
    return table


def _verdict(result: BenchResult) -> str:
    needed, possible = result.needed_looks_per_minute, result.possible_looks_per_minute
    if possible is None:
        unknown = "not every camera's look was measured (use more --seconds)"
        return f"The cameras need {_number(needed)} looks a minute; {unknown}."
    too_much = "" if needed <= possible else " That is too much: looks will be skipped."
    workers = f" with {result.workers} workers" if result.workers > 1 else ""
    return (
        f"The cameras need {_number(needed)} looks a minute; this box{workers} can do {_number(possible)}."
        f"{too_much} {result.costliest} needs the most time."
    )


def _table(*columns: Column) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=any(heading for heading, _ in columns))
    for heading, side in columns:
        table.add_column(heading, justify=side)
    return table


def _figure(figure: Figure, unit: str) -> str:
    return "no sample" if figure.median is None else f"{_number(figure.median)} {unit} ({figure.samples})"


def _number(value: float) -> str:
    """Three significant digits, and all of a large number's."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
