"""The log on standard error, for people, for systemd's journal, and as JSON."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edged.tools.log import JsonFormatter, Prioritised, journal_reads

LOG = "from edged.tools.log import to_stderr; import logging, sys; to_stderr(False, sys.argv[1] == 'json'); "
EVENT = "logging.getLogger('edged').warning('camera %s: no packet for 5 s\\nsecond line', 'dock')"


def logged(program: str, form: str, file: Path, journal: bool) -> list[str]:
    """Standard error of a program, which goes to a file, as to the socket of the journal."""
    with file.open("w") as errors:
        status = os.fstat(errors.fileno())
        stream = f"{status.st_dev}:{status.st_ino}" if journal else "1:2"
        command = [sys.executable, "-c", program, form]
        subprocess.run(command, stderr=errors, env=os.environ | {"JOURNAL_STREAM": stream}, check=True, timeout=180)
    return file.read_text().splitlines()


def record(level: int, message: str = "x") -> logging.LogRecord:
    return logging.LogRecord("edged", level, "f", 1, message, None, None)


def test_every_line_has_its_priority_where_the_journal_reads(tmp_path: Path):
    lines = logged(LOG + EVENT, "text", tmp_path / "log", journal=True)
    assert lines == ["<4>WARNING camera dock: no packet for 5 s", "<4>second line"]


def test_lines_have_a_stamp_and_no_priority_where_a_pipe_was_put_before_the_journal(tmp_path: Path):
    first, second = logged(LOG + EVENT, "text", tmp_path / "log", journal=False)
    assert first.split(" ", 2)[2] == "WARNING camera dock: no packet for 5 s"
    assert second == "second line"


@pytest.mark.parametrize(
    ("level", "priority"),
    [("CRITICAL", 2), ("ERROR", 3), ("WARNING", 4), ("INFO", 6), ("DEBUG", 7)],
)
def test_levels_are_the_priorities_of_syslog(level: str, priority: int):
    formatted = Prioritised(logging.Formatter()).format(record(getattr(logging, level)))
    assert formatted == f"<{priority}>x"


def test_a_json_line_has_the_fields_of_the_event(tmp_path: Path):
    (line,) = logged(LOG + EVENT, "json", tmp_path / "log", journal=True)
    event = json.loads(line.removeprefix("<4>"))
    assert event.pop("ts").endswith("+00:00")
    message = "camera dock: no packet for 5 s\nsecond line"
    assert event == {"level": "warning", "logger": "edged", "message": message, "camera": "dock"}


def test_a_traceback_is_a_field_of_its_event():
    try:
        raise ValueError("what")
    except ValueError:
        failed = record(logging.ERROR, "unexpected error")
        failed.exc_info = sys.exc_info()
    event = json.loads(JsonFormatter().format(failed))
    assert event["message"] == "unexpected error"
    assert event["traceback"].endswith("ValueError: what")
    assert "camera" not in event


def test_an_error_of_a_command_is_an_error_in_the_journal(tmp_path: Path):
    program = "import sys; from edged.cli import main; main(['reload', '--config', '/none.yaml'])"
    lines = logged(program, "text", tmp_path / "log", journal=True)
    assert lines == ["<3>/none.yaml: file not found", "<3>edged: not reloaded"]


def test_a_warning_of_a_command_is_a_warning_in_the_journal(tmp_path: Path):
    config = tmp_path / "edged.yaml"
    config.write_text("model: {path: none}\ncameras: {}\n")
    program = f"from edged.cli import main; main(['check', {str(config)!r}])"
    lines = logged(program, "text", tmp_path / "log", journal=True)
    assert lines
    assert [line[:12] for line in lines] == ["<4>warning: "] * len(lines)


@pytest.mark.parametrize(
    ("note", "call"),
    [
        ("edged: using ./edged.yaml", "main(['check'], Path('none'))"),
        ("edged: reading kept.db", "command.file_of('box', {'XDG_STATE_HOME': '/none'}, Path('kept.db'))"),
        ("standard output is not a terminal; printing a line for each answer (--plain)", "_plain(False)"),
    ],
)
def test_a_note_of_a_command_is_no_error_in_the_journal(
    tmp_path: Path, note: str, call: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("edged.yaml").write_text("mqtt: {url: 'mqtt://broker'}\n")
    Path("kept.db").touch()
    imports = "from pathlib import Path\nfrom edged.cli import _plain, main\nfrom edged.tools.history import command\n"
    assert logged(imports + call, "text", tmp_path / "log", journal=True)[0] == f"<6>{note}"


def test_a_stream_without_a_descriptor_is_not_the_journals():
    assert not journal_reads(None, {"JOURNAL_STREAM": "1:2"})
    assert not journal_reads(sys.stderr, {})
