"""The Grafana dashboard and the Prometheus rules: every metric and label that they name exists."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from support.metered import complete, complete_text

EXAMPLES = Path(__file__).parent.parent / "config/examples"
DASHBOARD = json.loads((EXAMPLES / "grafana/edged.json").read_text())
GROUPS = YAML(typ="safe").load(EXAMPLES / "prometheus/edged.rules.yml")["groups"]
RULES = [rule for group in GROUPS for rule in group["rules"]]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
BY_PROMETHEUS = {"instance", "job"}  # the labels that a scrape adds
SELECTOR = re.compile(r"\b(edged_\w+|up)\b(?:\{([^}]*)\})?")

UP, ACTIVE = ('edged_camera_up{camera="dock"}', 'edged_camera_active{camera="dock"}')
LOOKS = 'edged_looks_total{camera="dock"}'
STALE = 'edged_answers_total{camera="dock",question="people",status="stale_frame"}'
OK = 'edged_answers_total{camera="dock",question="people",status="ok"}'
EVERY_30_MIN = "0x29 1x29 2x29 3x29 4x29"
# For promtool: an alert, samples once a minute, a moment, and whether the alert is on then
CASES: list[tuple[str, dict[str, str], str, bool]] = [
    ("EdgedCameraDown", {UP: "0x20", ACTIVE: "1x20"}, "9m", False),
    ("EdgedCameraDown", {UP: "0x20", ACTIVE: "1x20"}, "11m", True),
    ("EdgedCameraDown", {UP: "0x8 1x20", ACTIVE: "1x20"}, "15m", False),
    ("EdgedCameraDown", {UP: "0x20", ACTIVE: "0x20"}, "15m", False),
    (
        "EdgedNoLooks",
        {'edged_look_age_seconds{camera="dock"}': "0+60x20", 'edged_look_interval_seconds{camera="dock"}': "60x20"},
        "5m",
        False,
    ),
    (
        "EdgedNoLooks",
        {'edged_look_age_seconds{camera="dock"}': "0+60x20", 'edged_look_interval_seconds{camera="dock"}': "60x20"},
        "6m",
        True,
    ),
    ("EdgedNoAnswers", {LOOKS: "0+2x40", STALE: "0+2x40", OK: "5x40"}, "6m", False),
    ("EdgedNoAnswers", {LOOKS: "0+2x40", STALE: "0+2x40", OK: "5x40"}, "9m", True),
    ("EdgedNoAnswers", {LOOKS: "0+2x40", STALE: "0+2x40"}, "9m", True),
    ("EdgedNoAnswers", {LOOKS: "0+2x40", STALE: "0+1x40", OK: "0+1x40"}, "30m", False),
    ("EdgedNoAnswers", {LOOKS: "0+2x40", OK: "5x40"}, "30m", False),
    ("EdgedNoAnswers", {LOOKS: "0+2x41", STALE: "0x20 0+2x20", OK: "0+1x20 20x20"}, "25m", False),
    ("EdgedNoAnswers", {LOOKS: "0+2x41", STALE: "0x20 0+2x20", OK: "0+1x20 20x20"}, "40m", True),
    ("EdgedNoAnswers", {LOOKS: EVERY_30_MIN, STALE: EVERY_30_MIN, OK: "7x150"}, "80m", False),
    ("EdgedNoAnswers", {LOOKS: EVERY_30_MIN, STALE: EVERY_30_MIN, OK: "7x150"}, "100m", True),
    ("EdgedOutboxGrowing", {"edged_outbox_messages": "0+30x40"}, "25m", True),
    ("EdgedOutboxGrowing", {"edged_outbox_messages": "5000-30x40"}, "25m", False),
    ("EdgedOutboxGrowing", {"edged_outbox_messages": "0x20 8x20"}, "25m", False),
    (
        "EdgedMessagesDropped",
        {"edged_outbox_dropped_total": "0x10 7x10", "edged_store_lost_total": "0x20"},
        "12m",
        True,
    ),
    ("EdgedMessagesDropped", {"edged_outbox_dropped_total": "7x40", "edged_store_lost_total": "0x40"}, "30m", False),
    ("EdgedFallingBehind", {'edged_looks_skipped_total{camera="dock",reason="busy"}': "0+1x40"}, "30m", True),
    ("EdgedFallingBehind", {'edged_looks_skipped_total{camera="dock",reason="outside_hours"}': "0+1x40"}, "30m", False),
]


@pytest.fixture(scope="module")
def metrics() -> dict[str, set[str]]:
    return {**complete(), "up": set()}


def queries() -> Iterator[tuple[str, str]]:
    """Each expression with the texts that show its labels."""
    for panel in PANELS:
        for target in panel["targets"]:
            yield target["expr"], target["legendFormat"]
    for rule in RULES:
        yield rule["expr"], " ".join(rule["annotations"].values())


def test_every_metric_and_label_of_an_expression_exists(metrics: dict[str, set[str]]):
    assert len(list(queries())) > 35
    for expression, _ in queries():
        selected = SELECTOR.findall(expression)
        assert selected, expression
        for name, selector in selected:
            assert name in metrics, expression
            assert set(re.findall(r"(\w+)(?:=~|=|!=)", selector)) <= metrics[name] | BY_PROMETHEUS, expression


def test_every_label_by_which_an_expression_groups_or_that_a_text_shows_exists(metrics: dict[str, set[str]]):
    for expression, text in queries():
        labels = set.intersection(*(metrics[name] | BY_PROMETHEUS for name, _ in SELECTOR.findall(expression)))
        groups = re.findall(r"by \(([^)]*)\)", expression)
        grouped = {label.strip() for group in groups for label in group.split(",")}
        shown = set(re.findall(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}", text))
        assert grouped <= labels, expression
        assert shown <= (grouped or labels), expression


def test_no_two_panels_of_the_dashboard_overlap_or_have_one_id():
    placed = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    cells = [(x, y) for p in placed for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_the_dashboard_has_no_id_of_another_grafana():
    """Its data source is chosen when it is opened."""
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    assert variables == {"datasource", "instance"}
    assert "id" not in DASHBOARD
    assert {target["datasource"]["uid"] for panel in PANELS for target in panel["targets"]} == {"${datasource}"}


def test_an_alert_has_a_severity_and_a_summary():
    for rule in RULES:
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"]


@pytest.fixture(scope="module")
def promtool(tmp_path_factory: pytest.TempPathFactory) -> str:
    """That of this machine, else of Debian's package, which is unpacked and not installed."""
    if found := shutil.which("promtool"):
        return found
    folder = tmp_path_factory.mktemp("prometheus")
    run("apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", "prometheus", cwd=folder)
    (package,) = folder.glob("*.deb")
    run("dpkg-deb", "-x", package, folder, cwd=folder)
    return str(folder / "usr/bin/promtool")


def run(*command: str | Path, cwd: Path, given: str = "") -> str:
    done = subprocess.run(command, cwd=cwd, input=given, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.long
def test_promtool_accepts_the_examples(promtool: str):
    assert "11 rules found" in run(promtool, "check", "config", "prometheus.yml", cwd=EXAMPLES / "prometheus")


@pytest.mark.long
def test_promtool_accepts_the_names_of_the_metrics(promtool: str, tmp_path: Path):
    run(promtool, "check", "metrics", cwd=tmp_path, given=complete_text())


@pytest.mark.long
def test_promtool_accepts_the_expressions_of_the_dashboard(promtool: str, tmp_path: Path):
    expressions = [expression.replace("$__rate_interval", "1m") for expression, _ in queries()]
    rules = [{"record": f"r{number}", "expr": expression} for number, expression in enumerate(expressions)]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    run(promtool, "check", "rules", "rules.yml", cwd=tmp_path)


@pytest.mark.long
def test_the_alerts_go_on_and_off_as_they_say(promtool: str, tmp_path: Path):
    shutil.copy(EXAMPLES / "prometheus/edged.rules.yml", tmp_path)
    tests = [promtool_test(*case) for case in CASES]
    (tmp_path / "test.yml").write_text(json.dumps({"rule_files": ["edged.rules.yml"], "tests": tests}))
    run(promtool, "test", "rules", "test.yml", cwd=tmp_path)


def promtool_test(alert: str, series: dict[str, str], moment: str, on: bool) -> dict[str, Any]:
    firing = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)'
    expected = [{"labels": "{}", "value": int(on)}]
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": firing, "eval_time": moment, "exp_samples": expected}],
    }
