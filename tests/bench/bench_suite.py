"""The tests, long ones included: how many there are, which failed, and how long their files took.

bench_suite.py COMMAND FILE...: the JUnit files of one run, in the order in which they were written. tests/run --record
calls it with its own command line. Exits 1 if a test failed in the last file that has it.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.results.figures import Figure, Table
from support.results.record import Recording

LISTED_S = 60.0  # files whose tests take less have no line of their own


@dataclass(frozen=True, slots=True)
class Tried:
    """One test; `seconds` with those of its fixtures."""

    file: str
    name: str
    seconds: float
    failed: bool


def read(report: Path) -> Iterator[Tried]:
    for case in ET.parse(report).iter("testcase"):
        failed = case.find("failure") is not None or case.find("error") is not None
        module = case.get("classname", "").rpartition(".")[2]
        yield Tried(f"{module}.py", case.get("name", ""), float(case.get("time", 0)), failed)


def last(tried: Iterable[Tried]) -> list[Tried]:
    """A test that ran twice counts once, as it ended the second time."""
    return list({(each.file, each.name): each for each in tried}.values())


def figures(first: list[Tried], tried: list[Tried]) -> list[Figure]:
    again = len(first) - len(tried)
    failed = sum(each.failed for each in tried)
    return [
        Figure("tests", "tests", len(tried)),
        Figure("again", "of these run again by themselves, after they had failed beside others", again),
        Figure("failed", "tests that failed", failed, at_most=0),
    ]


def slow_files(tried: Iterable[Tried]) -> Table:
    files: dict[str, list[Tried]] = {}
    for each in tried:
        files.setdefault(each.file, []).append(each)
    took = {file: sum(each.seconds for each in tests) for file, tests in files.items()}
    rows = [
        (file, len(files[file]), sum(each.failed for each in files[file]), took[file] / 60)
        for file in sorted(files, key=lambda file: -took[file])
        if took[file] >= LISTED_S
    ]
    return Table("Files that take a minute or more", ("file", "tests", "failed", "minutes"), rows)


if __name__ == "__main__":
    recording = Recording(__file__, __doc__, command=sys.argv[1])
    first = [each for file in recording.words[1:] for each in read(Path(file))]
    tried = last(first)
    sys.exit(recording.finish(figures(first, tried), [slow_files(tried)]))
