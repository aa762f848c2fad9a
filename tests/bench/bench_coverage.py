"""How many of edged's lines and branches the ordinary tests run, those of its processes included.

bench_coverage.py [pytest's arguments]: runs the tests as tests/run does, about 40 minutes, and prints the lines and
branches that no test has run. Exits 1 if less than 95 % of either were run; whether tests failed is printed only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.results.environment import ROOT
from support.results.figures import Figure, Table
from support.results.record import Recording

INI = Path(__file__).with_name("coverage.ini")
TARGET = 95.0  # percent
TOGETHER = ("-n", "4", "--dist", "loadfile", "--no-loadscope-reorder", "--alone", "no")
NO_TESTS = 5
ALONE = ("-n", "0", "--alone", "only")


def measured(arguments: Sequence[str], folder: Path) -> dict[str, Any]:
    """The report of coverage, as its JSON."""
    environment = os.environ | {"COVERAGE_FILE": str(folder / "data"), "PYTHONPATH": str(ROOT)}

    def coverage(*words: str) -> int:
        command = [sys.executable, "-m", "coverage", *words]
        return subprocess.run(command, cwd=ROOT, env=environment).returncode

    for how in (TOGETHER, ALONE):
        if coverage("run", f"--rcfile={INI}", "-m", "pytest", "-q", *arguments, *how) not in (0, NO_TESTS):
            print("some tests failed; what they ran counts")
    coverage("combine", f"--rcfile={INI}", "--quiet")
    coverage("report", f"--rcfile={INI}", "--show-missing", "--skip-covered", "--sort=miss")
    coverage("json", f"--rcfile={INI}", "--quiet", "-o", str(folder / "report.json"))
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return report


def figures(totals: dict[str, Any]) -> list[Figure]:
    lines = 100 * totals["covered_lines"] / totals["num_statements"]
    branches = 100 * totals["covered_branches"] / totals["num_branches"]
    return [
        Figure("lines", "lines of edged that the ordinary tests run", round(lines, 2), "%", at_least=TARGET),
        Figure("branches", "branches of edged that they take", round(branches, 2), "%", at_least=TARGET),
    ]


def lowest(files: dict[str, Any]) -> Table:
    """The files below the target."""
    shares = {name: round(file["summary"]["percent_covered"], 1) for name, file in files.items()}
    below = sorted((share, name) for name, share in shares.items() if share < TARGET)
    return Table("Files below 95 %", ("file", "% of lines and branches"), [[name, share] for share, name in below])


if __name__ == "__main__":
    recording = Recording(__file__, __doc__)
    with tempfile.TemporaryDirectory() as folder:
        report = measured(recording.words, Path(folder))
    sys.exit(recording.finish(figures(report["totals"]), [lowest(report["files"])]))
