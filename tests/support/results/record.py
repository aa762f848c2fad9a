"""With --record on its command line, a script writes what it has measured to tests/results/NAME.json.

The file is complete: RESULTS.md is rendered from these files alone.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from support.results.environment import ROOT, commit, machine, priority, versions
from support.results.figures import Figure, Table
from support.results.render import render
from support.results.storms import Run, gathered

FOLDER = ROOT / "tests"  # of RESULTS.md, and of the folder results
OPTION = "--record"


class Recording:
    """One run of a script. `words` are the command line without --record.

    `command` is what repeats the run, if it is not the script itself.
    """

    def __init__(self, script: str, about: str | None, folder: Path = FOLDER, command: str = "") -> None:
        self._folder = folder
        self._command = command
        self._script = Path(script).resolve()
        self._about = (about or "").split("\n\n")[0].replace("\n", " ")
        self._load_before = os.getloadavg()[0]
        self.wanted = OPTION in sys.argv
        self.words = [word for word in sys.argv[1:] if word != OPTION]

    @property
    def name(self) -> str:
        return self._script.stem.removeprefix("bench_")

    def finish(self, figures: Sequence[Figure], tables: Sequence[Table] = ()) -> int:
        """Write the results if that was asked for. The exit code: 1 if a target was missed."""
        if self.wanted:
            content = self.head() | {"figures": [figure.stored() for figure in figures]}
            write(
                self._folder, self.name, content | ({"tables": [asdict(table) for table in tables]} if tables else {})
            )
        missed = [figure.what for figure in figures if figure.reached() is False]
        for what in missed:
            print(f"target missed: {what}")
        return 1 if missed else 0

    def add_storms(self, runs: Sequence[Run]) -> None:
        """Add the results of storms to those of earlier runs, if that was asked for and they are not there yet."""
        if not self.wanted:
            return
        earlier = read(self._folder).get(self.name, {}).get("storms", [])
        storms = gathered(earlier, runs)
        if storms != earlier:
            head = self.head()
            head["run"].pop("load")  # of one moment; the storms ran at many
            write(self._folder, self.name, head | {"storms": storms})

    def head(self) -> dict[str, Any]:
        """What stands above the figures."""
        path = self._script.relative_to(ROOT)
        load = [round(self._load_before, 1), round(os.getloadavg()[0], 1)]
        return {
            "about": self._about,
            "command": self._command or shlex.join(["python", str(path), *_portable(self.words), OPTION]),
            "run": run() | {"load": load, "niceness": priority()},
        }


def _portable(words: Sequence[str]) -> list[str]:
    """Without folders of this machine, and the options that name them."""
    kept: list[str] = []
    for word in words:
        if not word.startswith("/"):
            kept.append(word)
        elif kept and kept[-1].startswith("--"):
            kept.pop()
    return kept


def run() -> dict[str, Any]:
    """When, where and with what this process measures."""
    return {"date": now(), "commit": commit(), "machine": machine(), "versions": versions()}


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def write(folder: Path, name: str, content: Mapping[str, Any]) -> None:
    """Write a file of results, and RESULTS.md anew."""
    (folder / "results").mkdir(exist_ok=True)
    (folder / "results" / f"{name}.json").write_text(as_text(content))
    write_document(folder)


def write_document(folder: Path = FOLDER) -> None:
    (folder / "RESULTS.md").write_text(render(read(folder)))


def read(folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """All results, by the name of their file."""
    return {path.stem: json.loads(path.read_text()) for path in sorted((folder / "results").glob("*.json"))}


def as_text(content: Mapping[str, Any]) -> str:
    """JSON with a line for each key and each item of a list, which shows well in a diff."""
    return "{\n" + ",\n".join(f" {json.dumps(key)}: {_as_lines(value)}" for key, value in content.items()) + "\n}\n"


def _as_lines(value: Any) -> str:
    if not isinstance(value, list) or not value:
        return json.dumps(value, ensure_ascii=False)
    return "[\n  " + ",\n  ".join(json.dumps(item, ensure_ascii=False) for item in value) + "\n ]"
