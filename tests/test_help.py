"""The help of every command: there, complete, and readable at 80 columns."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from edged import cli

README = Path(__file__).parent.parent / "README.md"
COMMANDS = [
    "acl",
    "ask",
    "bench",
    "check",
    "demo",
    "doctor",
    "history",
    "init",
    "install",
    "labels",
    "look",
    "prepare",
    "reload",
    "run",
    "watch",
]


def test_every_documented_command_exists_and_every_command_is_documented(capsys: pytest.CaptureFixture[str]):
    cli.main(["--help"])
    existing = re.findall(r"^    ([a-z]+) ", capsys.readouterr().out, re.MULTILINE)
    assert sorted(existing) == COMMANDS
    readme = README.read_text()
    assert set(re.findall(r"^\| `edged ([a-z]+)", readme, re.MULTILINE)) <= set(COMMANDS)
    assert [command for command in COMMANDS if not re.search(rf"\bedged {command}\b", readme)] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command_fits_80_columns(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main([command, "--help"]) == 0
    text, errors = capsys.readouterr()
    assert errors == ""
    assert text.startswith(f"usage: edged {command} ")
    assert max(map(len, text.splitlines())) <= 80
    assert "-v, --verbose" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_argument_and_option_is_explained(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "80")
    cli.main([command, "--help"])
    text = capsys.readouterr().out.partition("examples:")[0]
    entries = re.split(r"\n(?=  \S)", text.partition("\n\n")[2])[1:]
    assert len(entries) >= 2
    assert [entry for entry in entries if not re.search(r"\S(  +|\n +)\S", entry)] == []


def test_without_a_command_the_help_is_printed_and_the_exit_code_is_that_of_usage(
    capsys: pytest.CaptureFixture[str],
):
    assert cli.main([]) == 2
    text, errors = capsys.readouterr()
    assert errors == ""
    assert all(f"    {command} " in text for command in COMMANDS)


def test_the_module_prints_the_same_help_as_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "edged", "run", "-v", "--help"], capture_output=True, text=True, timeout=180
    )
    assert (done.returncode, done.stdout.split()[:3]) == (0, ["usage:", "edged", "run"])
