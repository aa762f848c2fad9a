"""RESULTS.md from the files of results: for each script a heading, the command that repeats it, and its tables.

Each figure has an anchor, #SCRIPT-NAME, to which the README links.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from support.results.figures import Figure, Spread, Table, rounded
from support.results.storms import storm_tables

HEAD = """# Results

What was measured, and where. `python tests/bench/results.py` writes this file from `tests/results/`, whose files the
scripts write with `--record`; nothing here is written by hand. A figure is a single value, or a median with minimum,
maximum and number of measurements. The commit is the newest one that changed edged itself. The load average (before and
after) says how busy the machine was, the script included: if it is above the number of cores, times are worth less,
unless the script ran before all others (a niceness below 0).
"""
SHOWN = 3  # significant digits
COLUMNS = ("figure", "value", "min to max (n)", "target", "compared with")


def render(results: Mapping[str, Mapping[str, Any]]) -> str:
    parts = [HEAD, *_targets(results)]
    for name, content in results.items():
        parts += _section(name, content)
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def figures(content: Mapping[str, Any]) -> list[Figure]:
    return [Figure(**one | {"value": _value(one["value"])}) for one in content.get("figures", ())]


def _value(stored: Any) -> float | Spread:
    return Spread(**stored) if isinstance(stored, dict) else stored


def anchor(name: str, figure: Figure) -> str:
    return f"{name}-{figure.name}"


def _targets(results: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    judged = [(anchor(name, one), one) for name, content in results.items() for one in figures(content)]
    judged = [(link, one) for link, one in judged if one.reached() is not None]
    missed = [f"- [{one.what}](#{link}): {_shown(one)}, {_target(one)}" for link, one in judged if not one.reached()]
    yield f"Of {len(judged)} targets, {len(judged) - len(missed)} are reached" + ("; missed:" if missed else ".")
    if missed:
        yield "\n".join(missed)


def _section(name: str, content: Mapping[str, Any]) -> Iterator[str]:
    yield f"## {name}"
    yield content["about"]
    yield f"```sh\n{content['command']}\n```"
    if "run" in content:
        yield _run(content["run"])
    measured = figures(content)
    if measured:
        yield _table(COLUMNS, [_row(name, figure) for figure in measured])
    for table in [Table(**one) for one in content.get("tables", ())] + storm_tables(content.get("storms", ())):
        yield f"### {table.title}"
        yield markdown(table)


def markdown(table: Table) -> str:
    return _table(table.columns, [[_number(cell) for cell in row] for row in table.rows])


def _run(run: Mapping[str, Any]) -> str:
    machine = run["machine"]
    versions = ", ".join(f"{package} {version}" for package, version in run["versions"].items())
    load = "; load average {:.1f} and {:.1f}".format(*run["load"]) if "load" in run else ""
    load += f", niceness {run['niceness']}" if run.get("niceness") else ""
    return (
        f"{run['date']}, commit {run['commit']}; {machine['cores']} cores of {machine['cpu']}, {machine['memory']}, "
        f"{machine['system']}{load}; {versions}."
    )


def _row(name: str, figure: Figure) -> list[str]:
    value = figure.value
    spread = f"{_number(value.min)} to {_number(value.max)} ({value.n})" if isinstance(value, Spread) else ""
    what = f'<a id="{anchor(name, figure)}"></a>{figure.what}'
    return [what, _shown(figure), spread, _target(figure), figure.against]


def _shown(figure: Figure) -> str:
    return f"{_number(figure.central())} {figure.unit}".strip()


def _target(figure: Figure) -> str:
    bounds = [("at most", figure.at_most), ("at least", figure.at_least)]
    told = " and ".join(f"{words} {_number(bound)}" for words, bound in bounds if bound is not None)
    return told + ("" if figure.reached() is not False else ", **missed**")


def _number(value: str | float) -> str:
    """Three significant digits, without an exponent; whole numbers in full."""
    if isinstance(value, str):
        return value
    whole = isinstance(value, int) or abs(value) >= 1000
    return f"{value:,.0f}" if whole else f"{rounded(value, SHOWN):.10f}".rstrip("0").rstrip(".")


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
