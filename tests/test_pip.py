"""The commands that edged prints for a missing package install it into the Python that runs edged."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from edged.core.pip import pip_install

PACKAGE = Path(__file__).parent.parent / "edged"


@pytest.mark.parametrize(("mode", "sudo"), [(0o755, ""), (0o555, "sudo ")])
def test_the_command_names_this_python_and_has_sudo_if_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, sudo: str
):
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    monkeypatch.setattr(sys, "executable", "/opt/my box/bin/python")
    tmp_path.chmod(mode)
    monkeypatch.setattr("os.access", lambda path, _: Path(path).stat().st_mode & 0o200 != 0)
    assert pip_install("edged[page]") == f"{sudo}'/opt/my box/bin/python' -m pip install 'edged[page]'"


def test_no_message_names_the_pip_of_the_path():
    sources = {path: path.read_text() for path in PACKAGE.rglob("*.py") if path.name != "pip.py"}
    assert [path for path, text in sources.items() if re.search(r"[\"' ]pip install", text)] == []
