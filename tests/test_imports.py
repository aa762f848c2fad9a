"""Folders are layers: imports point downwards only, and each library is imported in one place."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "edged"
LAYERS = [
    {"__main__"},
    {"cli"},
    {"demo"},
    {"tools"},
    {"page"},
    {"service"},
    {"cameras", "vlm", "mqtt", "store"},
    {"config"},
    {"core"},
]
HEIGHT = {folder: number for number, folders in enumerate(reversed(LAYERS)) for folder in folders}
# which folder may import which package; the standard library and edged itself are not listed
THIRD_PARTY = {
    "amqtt": {"demo"},
    "apscheduler": {"service"},
    "av": {"cameras"},
    "cv2": {"cameras", "demo", "service"},
    "h11": {"page"},
    "httpx": {"tools"},
    "huggingface_hub": {"tools"},
    "jinja2": {"page", "vlm"},
    "llguidance": {"vlm"},
    "mbltml": {"vlm"},
    "numpy": {"cameras", "core", "demo", "service", "tools", "vlm"},  # core: the type of a frame's pixels only
    "paho": {"mqtt"},
    "PIL": {"demo", "service", "tools", "vlm"},
    "prometheus_client": {"service"},
    "pydantic": {"config"},
    "pydantic_core": {"config"},
    "rich": {"cli", "tools"},
    "ruamel": {"config"},
    "safetensors": {"demo", "vlm"},
    "simplejpeg": {"cameras", "service"},
    "starlette": {"page"},
    "tokenizers": {"demo", "tools"},
    "torch": {"demo", "vlm"},
    "transformers": {"vlm"},
    "tzlocal": {"service"},
    "uvicorn": {"page"},
}
FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.name != "__init__.py"]


def imports(path: Path) -> Iterator[str]:
    """What a file imports, as dotted names: at run time, within functions, and for type checking."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer(name: str) -> str:
    """The folder (or file, at the top) of a module `edged.<folder>.<module>`."""
    return name.split(".")[1]


def module(path: Path) -> str:
    return ".".join(("edged", *path.relative_to(PACKAGE).with_suffix("").parts))


MODULES = {module(path) for path in FILES}


MODULES = {module(path) for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=module)
def test_imports_point_downwards(path: Path):
    own = layer(module(path))
    for name in imports(path):
        if name.startswith("edged."):
            other = layer(name)
            assert other == own or HEIGHT[other] < HEIGHT[own], f"{module(path)} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=module)
def test_each_library_has_its_place(path: Path):
    for name in imports(path):
        package = name.split(".")[0]
        if package not in {"edged", "_typeshed"} and package not in sys.stdlib_module_names:
            assert layer(module(path)) in THIRD_PARTY.get(package, set()), f"{module(path)} imports {package}"


def test_every_listed_place_is_used():
    used = {(name.split(".")[0], layer(module(path))) for path in FILES for name in imports(path)}
    assert {pair for package, places in THIRD_PARTY.items() for pair in product([package], places)} <= used


def test_no_modules_import_each_other_in_a_circle():
    edges = {module(path): {_module_of(name) for name in imports(path)} - {""} for path in FILES}
    while leaves := [name for name, targets in edges.items() if not targets & edges.keys()]:
        for name in leaves:
            del edges[name]
    assert edges == {}


def _module_of(name: str) -> str:
    """`edged.core.specs` for `edged.core.specs.Config`; empty for what is not edged's."""
    return next((part for part in (name, name.rpartition(".")[0]) if part in MODULES), "")


def test_no_two_classes_have_one_name():
    names = [
        (node.name, module(path))
        for path in FILES
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef)
    ]
    count = Counter(name for name, _ in names)
    assert [place for place in names if count[place[0]] > 1] == []


def test_package_files_are_empty():
    assert [path for path in PACKAGE.rglob("__init__.py") if path.read_text()] == []


@pytest.mark.parametrize(
    "command", [["--help"], ["run", "--help"], ["check", str(PACKAGE.parent / "config/edged.yaml")]]
)
def test_help_and_check_import_nothing_heavy(command: list[str]):
    heavy = ["torch", "cv2", "paho", "transformers", "numpy", "PIL", "apscheduler", "httpx", "rich"]
    barred = f"import sys; sys.modules.update(dict.fromkeys({heavy}))"
    program = f"{barred}; from edged.cli import main; sys.exit(main({command}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
