"""The results of storms: runs of seeds that are gathered over days, and a line for each kind of fault."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from support.results.environment import ROOT, commit
from support.results.figures import Table

Run = Mapping[str, Any]  # a Storm as it is in the file
RESULT = ".result.json"  # behind the seed
FIVE_MINUTES_S = 300.0
COLUMNS = ("fault", "injected", "took effect", "overlaps", "violating storms", "of these left")


@dataclass(frozen=True, slots=True)
class Storm:
    """`faults` has for each kind how often it was injected, took effect, and overlapped another fault.

    `quiet_s` is how long edged was watched after it had recovered; 0: for three looks of each camera. `date` and
    `commit` are those of the run.
    """

    seed: int
    seconds: float
    answers: int
    faults: Mapping[str, tuple[int, int, int]]
    violations: Sequence[str]
    quiet_s: float = 0.0
    date: str = ""
    commit: str = ""

    def save(self, folder: Path) -> None:
        (folder / f"{self.seed}{RESULT}").write_text(json.dumps(asdict(self), indent=1) + "\n")


def saved(folder: Path) -> dict[int, Storm]:
    """The storms in a folder, by seed."""
    return {storm.seed: storm for storm in map(_read, folder.glob(f"*{RESULT}"))}


def set_aside_broken(folder: Path) -> None:
    """Storms that broke a promise have no result any more, so that they run again; what they found stays beside it."""
    for seed, storm in saved(folder).items():
        if storm.violations:
            earlier = len(list(folder.glob(f"{seed}.broken-*.json")))
            (folder / f"{seed}{RESULT}").rename(folder / f"{seed}.broken-{earlier + 1}.json")


def kept_folder() -> Path:
    """Where test_storm_long.py leaves the results of its storms: those of other commits no longer count."""
    return ROOT / ".storm" / commit()


def all_runs(folder: Path) -> list[Storm]:
    """The storms in a folder, by seed; one that was set aside comes before the one that replaced it."""
    paths = [*sorted(folder.glob("*.broken-*.json")), *folder.glob(f"*{RESULT}")]
    return sorted(map(_read, paths), key=lambda storm: storm.seed)


def _read(path: Path) -> Storm:
    return Storm(**json.loads(path.read_text()))


def counted(faults: Iterable[tuple[str, int, int]]) -> dict[str, tuple[int, int, int]]:
    """By kind, from what each fault was: its kind, its effect, and how many others were on at the same time."""
    counts: dict[str, tuple[int, int, int]] = {}
    for kind, effect, others in faults:
        injected, effective, overlaps = counts.get(kind, (0, 0, 0))
        counts[kind] = (injected + 1, effective + (effect > 0), overlaps + others)
    return counts


def gathered(runs: Sequence[Run], new: Sequence[Run]) -> list[Run]:
    """All of them by date, but of the runs of the same seed only the newest and those with violations: they were found,
    whatever came of them.
    """
    merged = sorted([*runs, *(run for run in new if run not in runs)], key=lambda run: run["date"])
    return [
        run
        for number, run in enumerate(merged)
        if run["violations"] or not any(same(run, later) for later in merged[number + 1 :])
    ]


def same(one: Run, other: Run) -> bool:
    return bool(one["seed"] == other["seed"] and one["seconds"] == other["seconds"])


def storm_tables(runs: Sequence[Run]) -> list[Table]:
    """Empty without runs."""
    return [kinds_table(runs), *_violations(runs)] if runs else []


def kinds_table(runs: Sequence[Run]) -> Table:
    """A line for each kind of fault."""
    title = f"{len(runs)} storms, {sum(run['answers'] for run in runs)} answers"
    watched = sum(run.get("quiet_s", 0.0) >= FIVE_MINUTES_S for run in runs)
    title += f"; {watched} watched for five quiet minutes" * bool(watched)
    return Table(title, COLUMNS, _rows(runs))


def left(runs: Sequence[Run]) -> list[Run]:
    """The runs with violations that are the newest of their seed."""
    return [
        run
        for number, run in enumerate(runs)
        if run["violations"] and not any(same(run, later) for later in runs[number + 1 :])
    ]


def _rows(runs: Sequence[Run]) -> list[list[str | float]]:
    totals: dict[str, Counter[str]] = {}
    now = left(runs)
    for run in runs:
        for kind, counts in run["faults"].items():
            total = totals.setdefault(kind, Counter())
            total.update(dict(zip(COLUMNS[1:4], counts, strict=True)))
            total.update({COLUMNS[4]: bool(run["violations"]), COLUMNS[5]: run in now})
    return [[kind, *(totals[kind][column] for column in COLUMNS[1:])] for kind in sorted(totals)]


def _violations(runs: Sequence[Run]) -> list[Table]:
    now = left(runs)
    rows = [
        [str(run["seed"]), run["commit"], run["date"], "left" if run in now else "gone at its next run", text]
        for run in runs
        for text in run["violations"]
    ]
    return [Table("Violations", ("seed", "commit", "date", "state", "violation"), rows)] if rows else []
