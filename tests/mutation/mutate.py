"""Mutation tests: mutmut changes one expression or statement of edged at a time, and the tests must notice it.

mutate.py [--fresh | --last] [--record] [AREA...]: without AREA all of areas.py, which takes about an hour. mutmut comes
into an environment of its own in .mutation, where it works on a copy. A run that was stopped is continued, and only
what no test has noticed is tried again; --fresh tries everything, --last nothing. --record writes the results to
tests/results. A change that cannot be noticed stands in equivalent.toml with the reason; the exit code is 1 if there
are others that no test notices.

Not changed: constants of a module, default values of a dataclass, and the arguments of decorators.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from mutation.areas import AREAS, Area
from mutation.undecorate import undecorated
from support.results.figures import Figure, Table
from support.results.record import FOLDER, OPTION, Recording, write

ROOT = Path(__file__).parent.parent.parent
WORK = ROOT / ".mutation"
EQUIVALENT = Path(__file__).parent / "equivalent.toml"
MUTMUT = "mutmut==3.8.1"
COPIED = ("edged", "tests", "config", "systemd", "pyproject.toml", "README.md")
TIMED_OUT = (36, 24, -24, 152, 255)
UNTESTED = (5, 33)  # no test calls the function
PRINT_DIFFS = """
import json, sys
from mutmut.mutation.diff_apply import get_diff_for_mutant
print(json.dumps([get_diff_for_mutant(name, path=sys.argv[1]) for name in sys.argv[2:]]))
"""
COLUMNS = ("area", "module", "mutants", "killed", "timed out", "equivalent", "survived")


@dataclass(frozen=True, slots=True)
class Mutant:
    """A change: the mutated function with its module, and the lines before and after."""

    function: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one module: its row of the table, and the mutants that no test noticed and that are not equivalent."""

    row: list[str | float]
    survivors: list[Mutant]


def main(words: list[str]) -> int:
    areas = [word for word in words if not word.startswith("--")] or list(AREAS)
    mutmut = _mutmut()
    for area in areas:
        if "--fresh" in words:
            shutil.rmtree(WORK / area, ignore_errors=True)
        if "--last" not in words:
            _run(mutmut, area)
    outcomes = [_outcome(mutmut, area, module) for area in areas for module in AREAS[area].modules]
    for outcome in outcomes:
        print(*outcome.row)
        for mutant in outcome.survivors:
            print(f"{mutant.function}\n  - {mutant.before}\n  + {mutant.after}")
    if OPTION in words:
        _record(outcomes)
    return 1 if any(outcome.survivors for outcome in outcomes) else 0


def _mutmut() -> Path:
    """The command, in an environment that has it and the packages of this one."""
    folder = WORK / "venv"
    command = folder / "bin/mutmut"
    if not command.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        packages = next(folder.glob("lib/*/site-packages"))
        own = next(path for path in map(Path, sys.path) if path.name == "site-packages")
        (packages / "packages_of_edged.pth").write_text(f"{own}\n")
        subprocess.run([folder / "bin/python", "-m", "pip", "install", "--quiet", MUTMUT], check=True)
    return command


def _run(mutmut: Path, area: str) -> None:
    folder = WORK / area
    _copy(folder, AREAS[area])
    again = [name for name, code in _exit_codes(folder, AREAS[area]) if _is_unnoticed(code)]
    # mutmut knows by this file which tests call a function; tests may have been added
    (folder / "mutants/mutmut-stats.json").unlink(missing_ok=True)
    for names in [[], again] if again else [[]]:
        result = subprocess.run([mutmut, "run", "--max-children", "1", *names], cwd=folder, env=_environment())
        result.check_returncode()


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def _copy(folder: Path, area: Area) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        source, target = ROOT / name, folder / name
        if source.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target, symlinks=False, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        else:
            shutil.copy(source, target)
    for module in area.modules:
        path = folder / f"edged/{module}.py"
        path.write_text(undecorated(path.read_text()))
    with (folder / "pyproject.toml").open("a") as config:
        config.write(_config(area))


def _config(area: Area) -> str:
    modules = [f"edged/{module}.py" for module in area.modules]
    tests = [f"tests/{test}.py" for test in area.tests]
    return f"""
[tool.mutmut]
source_paths = ["edged"]
only_mutate = {json.dumps(modules)}
pytest_add_cli_args_test_selection = {json.dumps(tests)}
pytest_add_cli_args = ["-m", "not slow", "-k", {json.dumps(area.only)}, "-p", "no:cacheprovider"]
also_copy = ["config", "systemd", "README.md"]
timeout_constant = 5.0
timeout_multiplier = 4.0
"""


def _exit_codes(folder: Path, area: Area) -> Iterator[tuple[str, int | None]]:
    for module in area.modules:
        path = folder / f"mutants/edged/{module}.py.meta"
        if path.exists():
            yield from json.loads(path.read_text())["exit_code_by_key"].items()


def _outcome(mutmut: Path, area: str, module: str) -> Outcome:
    codes = dict(_exit_codes(WORK / area, Area((module,), ())))
    if None in codes.values():
        sys.exit(f"{area}: mutmut has not finished")
    unnoticed = _mutants(mutmut, area, module, [name for name, code in codes.items() if _is_unnoticed(code)])
    equivalent = _equivalent()
    survivors = [mutant for mutant in unnoticed if mutant not in equivalent]
    timed_out = sum(code in TIMED_OUT for code in codes.values())
    killed = len(codes) - timed_out - len(unnoticed)
    counts = (len(codes), killed, timed_out, len(unnoticed) - len(survivors), len(survivors))
    return Outcome([area, f"edged/{module}.py", *counts], survivors)


def _is_unnoticed(code: int | None) -> bool:
    return code in (0, *UNTESTED)


def _mutants(mutmut: Path, area: str, module: str, names: list[str]) -> list[Mutant]:
    command: list[str | Path] = [mutmut.parent / "python", "-c", PRINT_DIFFS, f"edged/{module}.py", *names]
    printed = subprocess.run(command, cwd=WORK / area, env=_environment(), capture_output=True, text=True, check=True)
    return [_mutant(name, diff) for name, diff in zip(names, json.loads(printed.stdout), strict=True)]


def _mutant(name: str, diff: str) -> Mutant:
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++"))]
    before, after = (" ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+")
    return Mutant(_function(name), before, after)


def _function(name: str) -> str:
    """`edged.core.alerts.step` for `edged.core.alerts.x_step__mutmut_3`; a method has its class before its name."""
    module, _, mangled = name.rpartition(".")
    function = re.sub(r"__mutmut_\d+$", "", mangled).removeprefix("x")
    return f"{module}.{function.removeprefix('_').removeprefix('ǁ').replace('ǁ', '.')}"


def _equivalent() -> set[Mutant]:
    listed = tomllib.loads(EQUIVALENT.read_text())["mutant"]
    return {Mutant(each["function"], each["before"], each["after"]) for each in listed}


def _record(outcomes: list[Outcome]) -> None:
    rows = [outcome.row for outcome in outcomes]
    content = Recording(__file__, __doc__).head()
    content["command"] = content["command"].replace(" --last", "")
    content["run"]["versions"]["mutmut"] = MUTMUT.partition("==")[2]
    mutants, survived = (sum(int(row[column]) for row in rows) for column in (2, -1))
    figures = [
        Figure("mutants", "changes of one expression or statement", mutants),
        Figure("survived", "changes that no test notices and that make a difference", survived, at_most=0),
    ]
    table = Table("Mutants by module", COLUMNS, rows)
    write(FOLDER, "mutation", content | {"figures": [each.stored() for each in figures], "tables": [asdict(table)]})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
