"""tests/RESULTS.md is what the files of results say, and the README's measured numbers are those of RESULTS.md."""

from __future__ import annotations

import re
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from bench import bench_suite
from support.results.environment import ROOT, commit, of_session
from support.results.figures import Figure, Spread, Table
from support.results.record import Recording, as_text, read
from support.results.render import figures, render
from support.results.storms import Storm, all_runs, gathered, kinds_table, left, saved, set_aside_broken, storm_tables

README = (ROOT / "README.md").read_text()
RESULTS = (ROOT / "tests/RESULTS.md").read_text()
LINK = re.compile(r"\[([^\]]*)\]\(tests/RESULTS\.md#([\w.-]+)\)")
CODE = re.compile(r"^```.*?^```|<!-- keys -->.*?<!-- /keys -->|^\|.*?\n\n|`[^`\n]*`", re.MULTILINE | re.DOTALL)
MEASURABLE = re.compile(r"\d[\d.,]*\s(?:ms|kB|MB|GB|%|microseconds|of the CPU)(?!\w)")
LIMITS = {
    "4.4 GB": "the size of a download",
    "1 MB": "of a published picture",
    "200 MB": "of the outbox, and of the history",
    "2 %": "frames.sample",
    "2 GB": "frames.max",
    "64 MB": "free space below which no frame is kept",
}
SCRIPT = re.compile(r"tests/(?:bench|soak)/(?:bench_)?(\w+)\.py")
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
FIGURES = {f"{name}-{one.name}": one for name, content in read().items() for one in figures(content)}


def test_the_document_is_what_the_files_say():
    assert render(read()) == RESULTS, "run tests/bench/results.py"


@pytest.mark.parametrize("name", read())
def test_every_result_names_the_script_that_repeats_it(name: str):
    content = read()[name]
    assert (ROOT / content["command"].split()[1]).is_file()
    names = [one.name for one in figures(content)]
    assert len(names) == len(set(names))


def test_every_link_of_the_readme_leads_to_a_line_or_a_heading():
    places = set(re.findall(r'<a id="([\w.-]+)">', RESULTS)) | set(re.findall(r"^## (\w+)$", RESULTS, re.MULTILINE))
    assert [anchor for _, anchor in LINK.findall(README) if anchor not in places] == []


@pytest.mark.parametrize(("text", "anchor"), [pair for pair in LINK.findall(README) if NUMBER.search(pair[0])])
def test_a_linked_number_of_the_readme_is_that_of_its_line(text: str, anchor: str):
    figure = FIGURES[anchor]
    assert figure.unit in text
    numbers = NUMBER.findall(text.replace(figure.unit, "") if figure.unit else text)
    assert [number for number in numbers if not agrees(number, figure)] == []


def agrees(number: str, figure: Figure) -> bool:
    """As the value rounded to the digits of the number, or within the spread."""
    told, digits = float(number.replace(",", "")), len(number.partition(".")[2])
    within = isinstance(figure.value, Spread) and figure.value.min <= told <= figure.value.max
    return within or abs(told - figure.central()) <= 0.5 * 10**-digits * (1 + 1e-9)


def test_a_number_with_a_unit_is_a_limit_or_has_a_link_to_its_measurement():
    text = LINK.sub("", CODE.sub("", README))
    assert [number for number in MEASURABLE.findall(text) if " ".join(number.split()) not in LIMITS] == []


def test_a_paragraph_that_names_a_script_links_to_its_results():
    missing = [
        name
        for paragraph in re.split(r"\n\n|\n(?=- )", README)
        for name in set(SCRIPT.findall(paragraph)) & read().keys()
        if not any(re.match(rf"{name}\b", anchor) for _, anchor in LINK.findall(paragraph))
    ]
    assert missing == []


def test_the_table_of_the_yard_is_that_of_the_results():
    (table,) = read()["yard"]["tables"]
    rows = re.findall(r"^\| \**(0\.\d+)\** \| (.*) \|$", README, re.MULTILINE)
    assert rows
    measured = {threshold: [str(cell).replace("%", " %") for cell in cells] for threshold, *cells in table["rows"]}
    assert {threshold: cells.split(" | ") for threshold, cells in rows} == {
        threshold: measured[f"{float(threshold):g}"] for threshold, _ in rows
    }


def test_a_number_agrees_if_it_is_rounded_or_within_the_spread():
    spread = Figure("a", "A", Spread(2.2, 1.9, 3.4, 100), "ms")
    assert agrees("2", spread)
    assert agrees("3.0", spread)
    assert not agrees("3.5", spread)
    assert agrees("0.14", Figure("b", "B", 0.1449))
    assert not agrees("0.15", Figure("b", "B", 0.1449))


def test_a_target_is_compared_with_the_median():
    spread = Spread.of([1.0, 2.0, 9.0])
    assert spread == Spread(2.0, 1.0, 9.0, 3)
    assert Figure("a", "A", spread, at_most=2).reached()
    assert Figure("a", "A", spread, at_least=2.5).reached() is False
    assert Figure("a", "A", spread).reached() is None


def test_a_script_writes_its_figures_and_the_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    recording = recorded(tmp_path, monkeypatch, "10", "--record")
    assert recording.words == ["10"]
    missed = Figure("late", "Lateness", Spread(2.0, 1.0, 9.5, 3), "s", at_most=1, against="the truth")
    code = recording.finish([missed, Figure("exact", "Encodes", 1)], [Table("Kinds", ("kind", "n"), [("a|b", 3)])])
    assert code == 1
    document = (tmp_path / "RESULTS.md").read_text()
    assert "python tests/bench/bench_daemon.py 10 --record" in document
    assert "Of 1 targets, 0 are reached; missed:\n\n- [Lateness](#daemon-late): 2 s, at most 1, **missed**" in document
    row = '| <a id="daemon-late"></a>Lateness | 2 s | 1 to 9.5 (3) | at most 1, **missed** | the truth |'
    assert row in document
    assert '| <a id="daemon-exact"></a>Encodes | 1 |  |  |  |' in document
    assert "### Kinds\n\n| kind | n |\n| --- | --- |\n| a\\|b | 3 |" in document


def test_the_command_names_no_folder_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["bench_stop.py", "--keep", str(tmp_path), "60", "--record"])
    command = Recording(str(ROOT / "tests/bench/bench_stop.py"), "About.", tmp_path).head()["command"]
    assert command == "python tests/bench/bench_stop.py 60 --record"


def test_without_the_option_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert recorded(tmp_path, monkeypatch).finish([Figure("exact", "Encodes", 1, at_most=1)]) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("text", "niceness"), [("/autogroup-688 nice -5\n", -5), ("", 0), (None, 0)])
def test_the_niceness_of_a_session_is_0_where_linux_tells_none(tmp_path: Path, text: str | None, niceness: int):
    if text is not None:
        (tmp_path / "autogroup").write_text(text)
    assert of_session(tmp_path / "autogroup") == niceness


def test_files_without_their_history_have_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert commit(tmp_path) == "unknown"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit() == "unknown"


def recorded(folder: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> Recording:
    monkeypatch.setattr(sys, "argv", ["bench_daemon.py", *words])
    return Recording(str(ROOT / "tests/bench/bench_daemon.py"), "How soon.\n\nAnd more.", folder)


def test_storms_of_several_runs_are_gathered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for seed, violations in ((1, ["dock: lost"]), (2, []), (1, [])):
        faults = {"broker killed": (2, 2, 1), "disk full": (1, 0, 3)}
        storm = Storm(seed, 120.0, 50, faults, violations, quiet_s=300.0 * (seed == 2))
        recorded(tmp_path, monkeypatch, "--record").add_storms([asdict(storm)])
    document = (tmp_path / "RESULTS.md").read_text()
    assert "### 3 storms, 150 answers; 1 watched for five quiet minutes" in document
    assert "| broker killed | 6 | 6 | 3 | 1 | 0 |" in document
    assert "| gone at its next run | dock: lost |" in document
    assert "; load average" not in document


def test_a_violation_stays_in_the_results_and_is_left_until_its_seed_passes():
    broken = {"seed": 1, "seconds": 120.0, "violations": ["lost"], "faults": {}, "answers": 1, "date": "2026-11-02"}
    earlier, passed = (broken | {"violations": [], "date": date} for date in ("2026-11-01", "2026-11-03"))
    runs = gathered([earlier], [broken])
    assert runs == gathered(runs, [earlier, broken]) == [broken]
    assert left(runs) == [broken]
    assert gathered(runs, [passed]) == gathered([passed], [earlier, broken]) == [broken, passed]
    assert left([broken, passed]) == []
    assert left([broken, passed | {"seconds": 15.0}]) == [broken]
    assert storm_tables([]) == []
    assert kinds_table([broken]).title == "1 storms, 1 answers"


def test_a_broken_storm_runs_again_and_what_it_found_is_kept(tmp_path: Path):
    for _ in range(2):
        Storm(1, 2.0, 3, {}, ["lost"]).save(tmp_path)
        Storm(2, 2.0, 3, {}, []).save(tmp_path)
        set_aside_broken(tmp_path)
        assert list(saved(tmp_path)) == [2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.broken-1.json", "1.broken-2.json", "2.result.json"]
    Storm(1, 2.0, 3, {}, []).save(tmp_path)
    runs = [asdict(storm) for storm in all_runs(tmp_path)]
    assert [(run["seed"], run["violations"]) for run in runs] == [(1, ["lost"]), (1, ["lost"]), (1, []), (2, [])]
    assert not left(runs)


def test_the_files_have_a_line_for_each_item():
    text = as_text({"run": {"a": [1]}, "figures": [{"name": "x"}, {"name": "y"}], "empty": []})
    assert text == '{\n "run": {"a": [1]},\n "figures": [\n  {"name": "x"},\n  {"name": "y"}\n ],\n "empty": []\n}\n'


def test_a_test_that_ran_again_by_itself_counts_as_it_ended(tmp_path: Path):
    def report(number: int, *cases: str) -> list[bench_suite.Tried]:
        file = tmp_path / f"{number}.xml"
        file.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
        return list(bench_suite.read(file))

    failed = '<testcase classname="tests.test_a" name="one" time="61.5"><failure/></testcase>'
    broken = '<testcase classname="tests.test_b" name="two" time="70"><error/></testcase>'
    passed = '<testcase classname="tests.test_a" name="one" time="120" />'
    tried = report(1, failed, broken) + report(2, passed)
    last = bench_suite.last(tried)
    assert [figure.value for figure in bench_suite.figures(tried, last)] == [2, 1, 1]
    assert bench_suite.slow_files(last).rows == [("test_a.py", 1, 0, 2.0), ("test_b.py", 1, 1, 70 / 60)]
