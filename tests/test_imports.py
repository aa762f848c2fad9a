"""Imports run downward only, and each library has one place that knows it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "edged"
FLOORS = [
    {"cli"},
    {"demo"},
    {"daemon", "watch", "starter", "doctor", "bench"},
    {"reload"},
    {"service"},
    {"look", "view"},
    {"runtime", "turns", "plan"},
    {"judge", "pulse", "watched"},
    {"config"},
    {"form"},
    {"schedule", "document", "cameras", "vlm", "mqtt", "systemd", "clock"},
    {"alerts"},
    {"specs", "cores", "lateness"},
    {"answers"},
    {"outage"},
    {"core"},
]
ONE_PLACE = {
    "cv2": {"cameras"},
    "torch": {"vlm"},
    "transformers": {"vlm"},
    "llguidance": {"vlm"},
    "paho": {"mqtt"},
    "apscheduler": {"schedule"},
    "tzlocal": {"schedule"},
    "ruamel": {"document"},
    "pydantic": {"form", "config"},
    "pydantic_core": {"form"},
}
FLOOR = {room: number for number, rooms in enumerate(reversed(FLOORS)) for room in rooms}
# a demo may know everything
FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if not {"demo", "__main__.py"} & set(path.parts)]


def imports(path: Path) -> set[tuple[str, ...]]:
    """What a file imports at run time, as dotted names in parts."""
    found: set[tuple[str, ...]] = set()
    for node in _run_time(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {tuple(alias.name.split(".")) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = tuple((node.module or "").split("."))
            found |= {(*base, alias.name) for alias in node.names}
    return found


def _run_time(tree: ast.AST):
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        yield from _run_time(node)


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downward(path: Path):
    here = room(path)
    if here == "__init__":
        return
    for parts in imports(path):
        if parts[0] == "edged":
            there = parts[1]
            light = parts[:3] == ("edged", "cameras", "environment")  # names and words only
            assert there == here or FLOOR[there] < FLOOR[here] or light, f"{here} imports {'.'.join(parts)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_each_library_has_one_place(path: Path):
    for parts in imports(path):
        if parts[0] in ONE_PLACE:
            assert room(path) in ONE_PLACE[parts[0]], f"{room(path)} imports {parts[0]}"


def test_package_files_are_empty():
    assert [path for path in PACKAGE.rglob("__init__.py") if path.read_text()] == []


def test_check_needs_neither_torch_nor_cv2_nor_paho():
    barred = "import sys; sys.modules.update(dict.fromkeys(['torch', 'cv2', 'paho', 'transformers']))"
    config = PACKAGE.parent / "config" / "edged.yaml"
    program = f"{barred}; from edged.cli import main; sys.exit(main(['check', {str(config)!r}]))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
