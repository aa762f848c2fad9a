"""edged as a service of a real systemd, with the shipped unit: start, reload, stop, and what makes it start again.

In containers with Debian 12 (systemd 252) and, with --long, Debian 13 (257): support/service_box.py. Hangs are in
test_systemd_watchdog.py, the sandbox is in test_systemd_sandbox.py.
"""

# ruff: noqa: F401, F811  # fixtures are imported, and then named as arguments

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from support.broker import until
from support.service_box import COMPILED, CONFIG, QUICK, Box, booted, box

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def revision_in_force(box: Box) -> str:
    revision: str = json.loads(box.retained("edged/box/bridge/info"))["config_rev"]
    return revision


def test_it_starts_says_what_it_does_and_stops_with_every_part_of_the_model_disposed(box: Box):
    box.npu()
    box.configure(COMPILED)
    box.start()
    assert box.property("ActiveState") == "active"
    box.until("StatusText", "1 camera; broker connected")
    box.until_answered()
    begun = time.monotonic()
    box.systemctl("stop", "edged")
    assert time.monotonic() - begun < 10
    assert box.retained("edged/box/bridge/state") == '{"state":"offline"}'
    assert box.property("Result") == "success"
    parts = re.findall(r"simulated NPU: (\w+) (\w+) \d left", box.log())
    assert sorted(parts) == [("dispose", "text"), ("dispose", "vision"), ("launch", "text"), ("launch", "vision")]
    assert box.log("-p", "err") == ""


def test_a_reload_returns_when_the_new_config_is_in_force_and_fails_if_it_is_refused(box: Box):
    box.start()
    box.configure(CONFIG.replace("people are", "cars are"))
    box.systemctl("reload", "edged")
    in_force = re.findall(r"^config reloaded: revision (\w+) is in force$", box.log(), re.MULTILINE)
    until(lambda: [revision_in_force(box)] == in_force)

    box.configure(CONFIG.replace("every:", "evry:"))
    assert box.systemctl("reload", "edged", check=False).returncode != 0
    status = box.systemctl("status", "edged", check=False).stdout
    assert 'edged.yaml:7: camera "dock": unknown key "evry"' in status
    assert 'unknown key "evry"' in box.log("-p", "err")
    assert (box.property("ActiveState"), [revision_in_force(box)]) == ("active", in_force)

    box.configure(CONFIG)
    box.systemctl("reload", "edged")
    box.until("StatusText", "1 camera; broker connected")


@pytest.mark.long
def test_twenty_reloads_in_a_row_never_return_before_the_new_config_is_in_force(box: Box):
    box.start()
    for number in range(20):
        box.configure(CONFIG.replace("people are", f"people of {number} are"))
        box.systemctl("reload", "edged")
        revisions = re.findall(r"^config reloaded: revision (\w+) is in force$", box.log(), re.MULTILINE)
        assert len(set(revisions)) == len(revisions) == number + 1
    assert (box.property("ActiveState"), box.restarts()) == ("active", 0)


@pytest.mark.long
def test_a_reload_works_without_a_broker_and_changes_the_broker(box: Box):
    box.configure(CONFIG.replace("1883", "1884"))
    box.start()
    box.until("StatusText", "1 camera; broker not connected")
    box.configure(CONFIG)
    box.systemctl("reload", "edged")
    box.until("StatusText", "1 camera; broker connected")


@pytest.mark.long
def test_root_and_the_services_user_may_reload_by_hand(box: Box):
    box.start()
    command = ["/opt/edged/venv/bin/edged", "reload"]
    as_user = ["setpriv", "--reuid=edged", "--regid=edged", "--clear-groups", *command]
    for line in (command, as_user):
        assert re.fullmatch(r"config reloaded: revision \w{12} is in force\n", box.run(*line).stdout)


@pytest.mark.long
def test_a_notify_reload_is_not_early_either(box: Box):
    drop_in = (Path(__file__).parent.parent / "systemd/drop-ins/notify-reload.conf").read_text()
    box.drop_in(drop_in)
    if box.release == "bookworm":  # needs systemd 253
        assert "notify-reload" in box.run("systemd-analyze", "verify", "edged.service").stdout
        return
    box.start()
    for number in range(5):
        before = box.log().count("INFO config reloaded: ")
        box.configure(CONFIG.replace("people are", f"people of {number} are"))
        box.systemctl("reload", "edged")
        assert box.log().count("INFO config reloaded: ") > before


@pytest.mark.long
def test_a_stop_that_is_ignored_ends_by_sigkill(box: Box):
    box.drop_in("[Service]\nTimeoutStopSec=3s\n")
    box.start()
    box.plant("the stop")
    begun = time.monotonic()
    box.systemctl("stop", "edged")
    assert 2 < time.monotonic() - begun < 15
    assert box.property("Result") == "timeout"


@pytest.mark.long
def test_a_killed_process_is_started_again(box: Box):
    box.drop_in(QUICK)
    box.start()
    box.systemctl("kill", "--kill-whom=main", "--signal=KILL", "edged")
    until(lambda: box.restarts() == 1, 60)
    box.until("ActiveState", "active")
    until(lambda: '"state":"online"' in box.retained("edged/box/bridge/state"), 30)


@pytest.mark.long
def test_a_broken_config_is_not_started_again_and_the_status_says_why(box: Box):
    box.drop_in(QUICK)
    box.configure(CONFIG.replace("every:", "evry:"))
    assert box.systemctl("start", "edged", check=False).returncode != 0
    box.until("ActiveState", "failed")
    assert (box.property("ExecMainStatus"), box.restarts()) == ("78", 0)
    assert 'unknown key "evry"' in box.systemctl("status", "edged", check=False).stdout


@pytest.mark.long
def test_a_missing_npu_is_tried_again_until_it_is_there(box: Box):
    box.drop_in(QUICK)
    box.configure(COMPILED)
    box.npu(devices=[])
    assert box.systemctl("start", "edged", check=False).returncode != 0
    until(lambda: box.restarts() >= 2, 120)
    box.until("ExecMainStatus", "75")  # 0 while the next attempt runs
    assert "the NPU driver does not respond" in box.log("-p", "err")
    box.npu()
    box.until("ActiveState", "active")
    box.until_answered()


@pytest.mark.long
def test_a_missing_credential_is_tried_again_without_limit_until_it_is_there(box: Box):
    box.drop_in(f"{QUICK}LoadCredential=mqtt-password:/etc/edged/credentials/mqtt-password\n")
    box.configure(CONFIG.replace('1883"}', '1883", username: me, password: {secret: mqtt-password}}'))
    box.systemctl("start", "edged", check=False)
    until(lambda: box.restarts() > 12, 60)  # by default systemd gives up after 5
    box.put("/etc/edged/credentials/mqtt-password", "hunter2\n", "600")
    box.until("ActiveState", "active")
    box.until("StatusText", "1 camera; broker connected")
    assert "hunter2" not in box.log()
    box.run("rm", "-r", "/etc/edged/credentials")


@pytest.mark.long
def test_the_journal_has_the_priority_of_each_line_and_the_fields_of_json(box: Box):
    box.drop_in(
        "[Service]\nExecStart=\nExecStart=/opt/edged/venv/bin/edged run --log json --config /etc/edged/edged.yaml\n"
    )
    missing = "  yard: {source: none.png, every: 1s, ask: {people: {prompt: How many?}}}\n"
    box.configure(CONFIG + missing)
    box.start()
    box.until_logged("camera yard")
    box.configure(CONFIG.replace("every:", "evry:"))
    box.systemctl("reload", "edged", check=False)
    box.until_logged("config not reloaded")
    entries = [json.loads(line) for line in box.log("-o", "json").splitlines()]
    lines = [entry for entry in entries if entry["MESSAGE"].startswith("{")]
    events = [(entry["PRIORITY"], json.loads(entry["MESSAGE"])) for entry in lines]
    shown = {(priority, event["level"]) for priority, event in events}
    assert shown == {("6", "info"), ("4", "warning"), ("3", "error")}
    assert all(event.keys() >= {"ts", "level", "logger", "message"} for _, event in events)
    assert {event["camera"] for _, event in events if event["message"].startswith("camera yard: ")} == {"yard"}
    # what `edged reload` writes: an error
    assert {entry["PRIORITY"] for entry in entries if 'unknown key "evry"' in entry["MESSAGE"]} == {"3"}
