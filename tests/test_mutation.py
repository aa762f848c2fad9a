"""What the mutation tests rely on: files that exist, reasons that are still about the code, and an equal copy."""

from __future__ import annotations

import re
import tomllib
from functools import lru_cache
from typing import Any

import pytest
from mutation.areas import AREAS
from mutation.mutate import EQUIVALENT, ROOT
from mutation.undecorate import undecorated

REASONS = tomllib.loads(EQUIVALENT.read_text())["mutant"]

DECORATED = '''
class Circle:
    def __init__(self, radius):
        self.radius = radius

    @property
    def diameter(self):
        """Twice the radius."""
        return 2 * self.radius

    @staticmethod
    def unit():
        return Circle(1)


@lru_cache(maxsize=2)
def area(radius):
    return 3 * radius * radius
'''


@pytest.mark.parametrize("area", AREAS)
def test_modules_and_tests_of_each_area_exist(area: str) -> None:
    modules = [ROOT / f"edged/{module}.py" for module in AREAS[area].modules]
    tests = [ROOT / f"tests/{test}.py" for test in AREAS[area].tests]
    assert [path for path in modules + tests if not path.is_file()] == []


@pytest.mark.parametrize("mutant", REASONS, ids=lambda mutant: mutant["function"])
def test_a_reason_is_about_a_line_that_exists(mutant: dict[str, str]) -> None:
    paths = [f"edged/{module}.py" for area in AREAS.values() for module in area.modules]
    (path,) = {path for path in paths if mutant["function"].startswith(path[:-3].replace("/", ".") + ".")}
    assert words(mutant["before"]) in words((ROOT / path).read_text())
    assert len(mutant["reason"]) > 10


def words(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def test_a_module_without_decorators_does_the_same() -> None:
    results = []
    for source in (DECORATED, undecorated(DECORATED)):
        names: dict[str, Any] = {"lru_cache": lru_cache}
        exec(source, names)
        results.append((names["Circle"].unit().diameter, names["area"](3)))
    assert results == [(2, 27)] * 2
    assert undecorated(DECORATED).count("@") == 1
    assert undecorated(DECORATED).count("diameter = property(diameter)") == 1
