"""pyproject.toml declares what edged imports, and a wheel carries what an installed edged needs."""

from __future__ import annotations

import ast
import functools
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
DEPENDENCIES = [Requirement(line) for line in PROJECT["dependencies"]]
REQUIREMENTS = [*DEPENDENCIES, *(Requirement(line) for lines in EXTRAS.values() for line in lines)]
THIRD_PARTY = [requirement for requirement in REQUIREMENTS if requirement.name != "edged"]  # not edged[demo]
LOADED_BY_NAME = {"mblt-model-zoo"}  # vlm/mobilint.py tries two packages in turn
PINNED_BY_ANOTHER = {"pydantic-core"}


def importers() -> dict[str, set[str]]:
    """The packages that edged's modules import, each with the files that do."""
    files: dict[str, set[str]] = {}
    for path in sorted((ROOT / "edged").rglob("*.py")):
        for package in imported_packages(path) - set(sys.stdlib_module_names) - {"edged", "_typeshed"}:
            files.setdefault(package, set()).add(str(path.relative_to(ROOT)))
    return files


@functools.cache
def installed() -> Mapping[str, list[str]]:
    """The installed distributions of each package; to look for them takes a second."""
    return metadata.packages_distributions()


def distributions(package: str) -> set[str]:
    """The installed distributions that provide a package; more than one if it is a namespace."""
    return {canonicalize_name(name) for name in installed().get(package, [])}


def imported_packages(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {
        name.split(".")[0] for name in plain | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    }


def names(requirements: list[Requirement]) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in requirements}


def test_every_imported_package_is_declared():
    extras = [Requirement(line) for extra in ("page", "demo") for line in EXTRAS[extra]]
    declared = names(DEPENDENCIES) | names(extras)
    assert {package: files for package, files in importers().items() if not distributions(package) & declared} == {}


def test_every_declared_package_is_imported():
    imported = {name for package in importers() for name in distributions(package)}
    assert names(DEPENDENCIES) - imported == LOADED_BY_NAME


@pytest.mark.parametrize("requirement", THIRD_PARTY, ids=str)
def test_declared_bounds_admit_the_installed_version(requirement: Requirement):
    version = metadata.version(requirement.name)
    assert requirement.specifier.contains(version, prereleases=True), f"{requirement} does not admit {version}"


@pytest.mark.parametrize("requirement", DEPENDENCIES, ids=str)
def test_a_dependency_has_both_bounds(requirement: Requirement):
    if requirement.name not in PINNED_BY_ANOTHER:
        assert {">=", "<"} == {part.operator for part in requirement.specifier}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """A wheel of the working tree, built beside it: setuptools writes into the folder that it builds."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("edged", "config", "systemd"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    build = "from setuptools import build_meta; build_meta.build_wheel('dist')"
    built = subprocess.run([sys.executable, "-c", build], cwd=folder, capture_output=True, text=True, timeout=180)
    assert built.returncode == 0, built.stderr
    (path,) = (folder / "dist").iterdir()
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_the_wheel_carries_every_module_but_those_of_the_training(wheel: zipfile.ZipFile):
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "edged").rglob("*.py")}
    packed = {name for name in wheel.namelist() if name.endswith(".py")}
    assert packed == {name for name in modules if not name.startswith("edged/demo/training/")}
    assert not any("training" in name for name in wheel.namelist())


def test_the_wheel_carries_the_demo_model_and_the_type_marker(wheel: zipfile.ZipFile):
    model = {path.relative_to(ROOT).as_posix() for path in (ROOT / "edged/demo/model").iterdir()}
    assert {*model, "edged/py.typed"} <= set(wheel.namelist())


def test_the_wheel_carries_the_example_config_and_the_service_files(wheel: zipfile.ZipFile):
    service = sorted(path for path in (ROOT / "systemd").rglob("*") if path.is_file())
    sources = [ROOT / "config/edged.yaml", ROOT / "config/edged.schema.json", *service]
    for source in sources:
        packed = f"edged/share/{source.relative_to(ROOT).as_posix()}"
        assert wheel.read(packed) == source.read_bytes()


def test_an_installed_edged_finds_its_example_config(wheel: zipfile.ZipFile, tmp_path: Path):
    wheel.extractall(tmp_path)
    program = (
        "from importlib.resources import files; from edged.cli import main; "
        "raise SystemExit(main(['check', str(files('edged') / 'share/config/edged.yaml')]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    checked = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert checked.returncode == 0, checked.stderr


def test_a_container_that_is_made_again_keeps_the_name_of_its_node():
    compose = YAML(typ="safe").load(ROOT / "systemd/compose.yaml")
    assert compose["services"]["edged"]["hostname"] == "edged"  # docker's default is a random number
