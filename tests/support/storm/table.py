"""The results of many storms: one line for each kind of fault."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HEAD = ("fault", "injected", "took effect", "overlaps", "in storms with violations")


@dataclass(frozen=True, slots=True)
class Result:
    """One storm. `faults` are, in order, kind, effect, and how many others were on at the same time."""

    seed: int
    faults: Sequence[tuple[str, int, int]]
    violations: Sequence[str]
    answers: int

    def save(self, folder: Path) -> None:
        content = {"seed": self.seed, "faults": self.faults, "violations": self.violations, "answers": self.answers}
        (folder / f"{self.seed}.result.json").write_text(json.dumps(content, indent=1) + "\n")


def read(folder: Path) -> dict[int, Result]:
    """The results in a folder, by seed."""
    contents: Iterable[Mapping[str, Any]] = (json.loads(path.read_text()) for path in folder.glob("*.result.json"))
    return {
        content["seed"]: Result(
            content["seed"], [tuple(fault) for fault in content["faults"]], content["violations"], content["answers"]
        )
        for content in contents
    }


def by_kind(results: Iterable[Result]) -> dict[str, tuple[int, int, int]]:
    """How often each kind was injected, took effect, and overlapped another fault."""
    counts: dict[str, tuple[int, int, int]] = {}
    for kind, effect, others in (fault for result in results for fault in result.faults):
        injected, effective, overlaps = counts.get(kind, (0, 0, 0))
        counts[kind] = (injected + 1, effective + (effect > 0), overlaps + others)
    return counts


def table(results: Iterable[Result], kinds: Iterable[str]) -> str:
    """As Markdown. Kinds that were never drawn have zeros."""
    all_ = list(results)
    counts = by_kind(all_)
    broken = Counter(kind for each in all_ if each.violations for kind in by_kind([each]))
    rows = [HEAD, tuple("---" for _ in HEAD)]
    rows += [(kind, *map(str, counts.get(kind, (0, 0, 0))), str(broken[kind])) for kind in sorted(kinds)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
