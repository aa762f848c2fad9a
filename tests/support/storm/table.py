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


def table(results: Iterable[Result], kinds: Iterable[str]) -> str:
    """As Markdown. Kinds that were never drawn have zeros."""
    injected, effective, overlaps, broken = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for result in results:
        for kind, effect, others in result.faults:
            injected[kind] += 1
            effective[kind] += effect > 0
            overlaps[kind] += others
        broken.update({kind for kind, *_ in result.faults} if result.violations else ())
    rows = [HEAD, tuple("---" for _ in HEAD)]
    rows += [(kind, *(str(count[kind]) for count in (injected, effective, overlaps, broken))) for kind in sorted(kinds)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
