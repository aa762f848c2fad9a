"""Which config file a command reads when none is named."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edged.tools.config_file import NoConfig, config_file
from edged.tools.invocation import command_line


def test_the_named_file_is_taken_as_it_is(tmp_path: Path):
    assert config_file(tmp_path / "none.yaml", tmp_path, tmp_path) == tmp_path / "none.yaml"


def test_the_file_of_the_system_comes_first_and_is_not_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    system, local = tmp_path / "system.yaml", tmp_path / "local.yaml"
    system.touch()
    local.touch()
    assert config_file(None, system, local) == system
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("system", ["none.yaml", "none/edged.yaml", "file/edged.yaml"])
def test_without_it_the_file_in_the_working_directory_is_taken_and_reported(
    system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "file").touch()
    (tmp_path / "edged.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert config_file(None, tmp_path / system) == Path("edged.yaml")
    assert capsys.readouterr() == ("", "edged: using ./edged.yaml\n")


def test_a_dangling_link_of_the_system_is_not_passed_over(tmp_path: Path):
    (tmp_path / "system.yaml").symlink_to("none")
    (tmp_path / "local.yaml").touch()
    assert config_file(None, tmp_path / "system.yaml", tmp_path / "local.yaml") == tmp_path / "system.yaml"


def test_neither_is_an_error_that_names_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NoConfig, match=r"^no config: neither \S+/none.yaml nor ./edged.yaml exists; edged init writes"):
        config_file(None, tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("started_as", "on_path", "expected"),
    [
        ("bin/edged", True, "edged"),
        ("bin/edged", False, "bin/edged"),
        ("lib/edged/__main__.py", True, "{python} -m edged"),
        ("pytest", False, "edged"),
    ],
)
def test_printed_commands_run_the_program_that_was_started(
    started_as: str, on_path: bool, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "edged").touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [started_as, "init"])
    monkeypatch.setenv("PATH", str(tmp_path / "bin") if on_path else "/none")
    line = command_line("check", "my box.yaml")
    assert line == expected.format(python=sys.executable) + " check 'my box.yaml'"
