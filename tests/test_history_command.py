"""`edged history`: which answers it prints, in which form, and what it says if there are none."""

from __future__ import annotations

import csv
import io
import json
import os
import sqlite3
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.broker import an_answer
from support.history import Row, add, answered, database, refused

from edged.cli import main
from edged.core.payloads import answer_payload
from edged.tools.history import sheet
from edged.tools.history.command import HistoryOptions, file_of, history

NOW = time.time()
CONFIG = """\
node: box
timezone: Asia/Seoul
model: {path: m}
cameras:
  roof: {source: usb:1, ask: {snow: {prompt: Is there snow?, answer: yes_no}}}
  dock:
    source: usb:0
    ask:
      people: {prompt: How many?, answer: integer, then: {sure: {prompt: Sure?, answer: yes_no}}}
"""


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
    """The file of a node `box` that runs, and a config in the working directory."""
    monkeypatch.chdir(tmp_path)
    Path("edged.yaml").write_text(CONFIG)
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    connection = database(tmp_path / "state/edged.db")
    yield connection
    connection.close()


def run(*arguments: str) -> int:
    return main(["history", *arguments, "--config", "edged.yaml"])


def names(text: str) -> list[str]:
    """The questions of the lines in the output without a format."""
    return [line.split()[0] for line in text.splitlines()[2:-1]]


def test_there_is_a_line_for_each_question_in_the_order_of_the_config(
    stored: sqlite3.Connection, capsys: pytest.CaptureFixture[str]
):
    add(stored, [answered(NOW - 90_000, 3, question="removed")])
    add(stored, [answered(NOW - 60, 3), answered(NOW - 50, 1, camera="attic", question="old"), answered(NOW - 40, 4)])
    assert run() == 0
    printed = capsys.readouterr()
    assert (names(printed.out), printed.err) == (
        ["roof/snow", "dock/people", "dock/sure", "attic/old"],
        "",
    )
    assert "(Asia/Seoul)" in printed.out
    assert max(map(len, printed.out.splitlines())) <= 80
    assert printed.out.startswith("3 answers since ")


def test_a_camera_or_a_question_can_be_chosen(stored: sqlite3.Connection, capsys: pytest.CaptureFixture[str]):
    add(stored, [answered(NOW - 60, 3), answered(NOW - 50, True, "yes_no", question="sure")])
    assert run("dock") == 0
    assert names(capsys.readouterr().out) == ["dock/people", "dock/sure"]
    assert run("dock/sure") == 0
    assert names(capsys.readouterr().out) == ["dock/sure"]
    assert run("roof") == 0
    assert names(capsys.readouterr().out) == ["roof/snow"]


def test_answers_under_a_former_name_of_the_node_belong_to_the_question(
    stored: sqlite3.Connection, capsys: pytest.CaptureFixture[str]
):
    add(stored, [replace(answered(NOW - 60, 1), node="old-box"), answered(NOW, 2)])
    assert run("dock/people", "--json") == 0
    assert [json.loads(line)["value"] for line in capsys.readouterr().out.splitlines()] == [1, 2]
    assert run("dock/people") == 0
    printed = capsys.readouterr().out
    assert (names(printed), "1–2" in printed) == (["dock/people"], True)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ("dok", 'no camera "dok". Did you mean "dock"?'),
        ("xyz", 'no camera "xyz"; there are: roof, dock, attic'),
        ("dock/peple", 'camera "dock" has no question "peple". Did you mean "people"?'),
        ("dock/xyz", 'camera "dock" has no question "xyz"; there are: people, sure'),
        ("dock/", 'camera "dock" has no question ""; there are: people, sure'),
        ("/people", 'no camera ""; there are: roof, dock, attic'),
    ],
)
def test_a_name_that_does_not_exist_is_answered_with_those_that_do(
    stored: sqlite3.Connection, capsys: pytest.CaptureFixture[str], chosen: str, message: str
):
    add(stored, [answered(NOW, 1, camera="attic")])
    assert run(chosen) == 2
    assert capsys.readouterr().err == f"edged: {message}\n"


def test_json_is_one_answer_per_line_as_it_was_published(
    stored: sqlite3.Connection, capsys: pytest.CaptureFixture[str]
):
    rows = [
        answered(NOW - 60, '맑음 "x"\n', "text"),
        refused(NOW - 50, "unsure", question="sure"),
        answered(NOW - 90_000, 1),
        answered(NOW, 2),
    ]
    add(stored, [rows[2], rows[0], rows[1], Row(NOW, question=None, payload=b'{"event_type":"changed"}'), rows[3]])
    assert run("--json") == 0
    assert capsys.readouterr().out.encode().splitlines() == [row.payload for row in (rows[0], rows[1], rows[3])]
    assert run("--json", "--since", "2d", "dock/people") == 0
    assert [json.loads(line)["value"] for line in capsys.readouterr().out.splitlines()] == [1, '맑음 "x"\n', 2]


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_csv_has_a_column_for_each_key_of_an_answer():
    payload = answer_payload(an_answer("a"), "box", late=False)
    flat = {*payload.keys() - {"timing_ms"}, *(f"timing_ms_{name}" for name in payload["timing_ms"]), "time"}
    assert set(sheet.HEADER) == flat
    assert len(sheet.HEADER) == len(flat)


def test_csv_is_rfc_4180_with_times_in_the_time_zone_of_the_config(
    stored: sqlite3.Connection, capsys: pytest.CaptureFixture[str]
):
    add(stored, [answered(NOW, 'a "b", c\nd', "text"), refused(NOW, "unsure"), answered(NOW, -3)])
    add(stored, [answered(NOW, True, "yes_no"), answered(NOW, {"danger": False, "because": "맑음"}, "json")])
    assert run("--csv") == 0
    text = capsys.readouterr().out
    assert text.count("\r\n") == 6
    assert '"a ""b"", c\nd"' in text
    rows = rows_of(text)
    assert [row["value"] for row in rows] == ['a "b", c\nd', "", "-3", "true", '{"danger":false,"because":"맑음"}']
    assert [row["status"] for row in rows] == ["ok", "unsure", "ok", "ok", "ok"]
    assert (rows[0]["late"], rows[0]["region"], rows[0]["timing_ms_encode"]) == ("false", "", "310.0")
    assert rows[0]["time"].endswith("+09:00")
    assert float(rows[0]["answered_ts"]) == pytest.approx(NOW)


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=HYPERLINK(A1)", "'=HYPERLINK(A1)"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("＝1+1", "'＝1+1"),
        ("\t=1", "'\t=1"),
        ("-3", "-3"),
        ("+3.5", "+3.5"),
        ("-", "'-"),
        ("a=b", "a=b"),
        ("'quoted'", "'quoted'"),
        (-3, "-3"),
        ([-1, "=x"], '[-1,"=x"]'),
    ],
)
def test_no_cell_is_a_formula_for_a_spreadsheet(
    stored: sqlite3.Connection, capsys: pytest.CaptureFixture[str], value: Any, cell: str
):
    add(stored, [answered(NOW, value, "text")])
    assert run("--csv") == 0
    assert [row["value"] for row in rows_of(capsys.readouterr().out)] == [cell]


def test_without_answers_json_is_empty_and_csv_is_its_header(
    stored: sqlite3.Connection, capsys: pytest.CaptureFixture[str]
):
    assert run("--json") == 0
    assert capsys.readouterr().out == ""
    assert run("--csv") == 0
    assert capsys.readouterr().out == ",".join(sheet.HEADER) + "\r\n"
    assert run() == 0
    assert capsys.readouterr().out.startswith("0 answers since ")


def test_rows_that_are_no_answers_are_left_out(stored: sqlite3.Connection, capsys: pytest.CaptureFixture[str]):
    odd = [b"\xff", b"[]", b"{}", b'{"answered_ts":"x"}', b'{"answered_ts":1e300}', b'{"answered_ts":NaN}', b"1"]
    add(stored, [*(Row(NOW, payload=payload) for payload in odd), answered(NOW, 7)])
    assert run() == 0
    assert capsys.readouterr().out.startswith("1 answer since ")
    assert run("--csv") == 0
    assert [row["value"] for row in rows_of(capsys.readouterr().out)] == ["7"]


@pytest.mark.parametrize("since", ["0", "yesterday", "1s", "-1h", "9999d"])
def test_a_period_that_is_none_is_a_usage_error(capsys: pytest.CaptureFixture[str], since: str):
    assert main(["history", f"--since={since}"]) == 2
    assert "argument --since: " in capsys.readouterr().err


def test_a_file_can_be_named_without_a_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    connection = database(tmp_path / "copy.db")
    add(connection, [answered(NOW, 3)])
    connection.close()
    assert main(["history", "--file", "copy.db"]) == 0
    assert names(capsys.readouterr().out) == ["dock/people"]
    assert main(["history", "--file", "none.db"]) == 1
    assert capsys.readouterr().err == "edged: none.db cannot be read: no such file or directory\n"


def test_without_a_file_the_places_are_named(
    stored: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "none"))
    assert run() == 1
    assert capsys.readouterr().err == (
        f"edged: no stored answers: {tmp_path}/none/edged.db does not exist; --file names another file\n"
    )


def test_the_file_of_the_service_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    service = tmp_path / "edged.db"
    service.write_bytes(b"x")
    assert file_of("box", {"XDG_STATE_HOME": str(tmp_path / "none")}, service) == service
    assert capsys.readouterr().err == f"edged: reading {service}\n"


def test_a_pager_that_is_closed_ends_it_without_a_word(stored: sqlite3.Connection, tmp_path: Path):
    add(stored, (answered(NOW, number) for number in range(2000)))
    command = f"{sys.executable} -m edged history --json --config edged.yaml | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=180, env=os.environ)
    assert (done.stdout.count("\n"), done.stderr) == (1, "")


@pytest.mark.slow
@pytest.mark.parametrize("form", [None, "json", "csv"])
def test_memory_does_not_grow_with_the_number_of_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Any):
    connection = database(tmp_path / "edged.db")
    add(connection, (answered(NOW - number / 10, number, question=f"q{number % 8}") for number in range(20_000)))
    connection.close()
    assert (tmp_path / "edged.db").stat().st_size > 12_000_000
    with Path(os.devnull).open("w") as nowhere:
        monkeypatch.setattr(sys, "stdout", nowhere)
        tracemalloc.start()
        try:
            assert history(None, tmp_path / "edged.db", HistoryOptions(form=form)) == 0
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 6_000_000
