"""edged as a service of a real systemd, with the shipped unit: only with --long. Needs root, and Debian or Ubuntu.

252 of Debian 12 and 257 of Debian 13, each in a container (support/service_box.py), with mosquitto and the demo model.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from support.broker import until
from support.debian import why_not
from support.making import picture
from support.service_box import CONFIG, Box

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(why_not()), reason=str(why_not())),
]

QUICK = "[Service]\nRestartSec=100ms\n"
WATCHED = f"{QUICK}WatchdogSec=6s\n"
HANGS = [
    "a model call",
    "camera dock: publishing",
    "the schedule",
    "the publisher",
    "the store",
    "the main loop",
]
OPENED = """
import os, sys
for path in sys.argv[1:]:
    try:
        os.close(os.open(path, os.O_RDWR))
        print(path, "opened", flush=True)
    except OSError as error:
        print(path, error.strerror, flush=True)
"""
FUSE, TUN = "10 229", "10 200"  # numbers of drivers that the host has: only the filter is tested


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    folder.chmod(0o755)  # the service's user reads it
    Image.fromarray(picture(1)).save(folder / "dock.png")
    return folder


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def booted(request: pytest.FixtureRequest, pictures: Path) -> Iterator[Box]:
    with Box(request.param, pictures) as box:
        yield box


@pytest.fixture
def box(booted: Box) -> Box:
    booted.reset()
    return booted


def restarts(box: Box) -> int:
    return int(box.property("NRestarts"))


def test_it_starts_stops_within_its_bound_and_says_what_it_does(box: Box):
    box.start()
    assert box.property("ActiveState") == "active"
    box.until("StatusText", "1 camera; broker connected")
    until(lambda: '"status":"ok"' in box.retained("edged/box/dock/people"), 30)
    begun = time.monotonic()
    box.systemctl("stop", "edged")
    assert time.monotonic() - begun < 10
    assert box.retained("edged/box/bridge/state") == '{"state":"offline"}'
    assert box.property("Result") == "success"
    assert box.log("-p", "err") == ""


def test_a_reload_never_returns_before_the_new_config_is_in_force(box: Box):
    box.start()
    for number in range(20):
        box.configure(CONFIG.replace("people are", f"people of {number} are"))
        box.systemctl("reload", "edged")
        # `edged reload` prints the revision that is in force
        revisions = re.findall("^[0-9a-f]{12}$", box.log(), re.MULTILINE)
        assert len(set(revisions)) == len(revisions) == number + 1
    assert (box.property("ActiveState"), restarts(box)) == ("active", 0)


def test_a_reload_of_a_bad_config_fails_with_the_reason_and_keeps_the_old_one(box: Box):
    box.start()
    box.configure(CONFIG.replace("every:", "evry:"))
    assert box.systemctl("reload", "edged", check=False).returncode != 0
    status = box.systemctl("status", "edged", check=False).stdout
    assert 'edged.yaml:7: camera "dock": unknown key "evry"' in status
    assert 'unknown key "evry"' in box.log("-p", "err")
    assert box.property("ActiveState") == "active"
    box.configure(CONFIG)
    box.systemctl("reload", "edged")
    box.until("StatusText", "1 camera; broker connected")


def test_a_reload_works_without_a_broker_and_changes_the_broker(box: Box):
    box.configure(CONFIG.replace("1883", "1884"))
    box.start()
    box.configure(CONFIG)
    box.systemctl("reload", "edged")
    box.until("StatusText", "1 camera; broker connected")


def test_root_and_the_services_user_may_reload_by_hand(box: Box):
    box.start()
    command = ["/opt/edged/venv/bin/edged", "reload"]
    assert len(box.run(*command).stdout.strip()) > 8
    assert len(box.run("setpriv", "--reuid=edged", "--regid=edged", "--clear-groups", *command).stdout) > 8


def test_a_notify_reload_is_not_early_either(box: Box):
    if "systemd 252" in box.systemctl("--version").stdout:
        pytest.skip("needs systemd 253")
    drop_in = Path(__file__).parent.parent / "systemd/drop-ins/notify-reload.conf"
    box.drop_in(drop_in.read_text())
    box.start()
    for number in range(5):
        before = box.log().count("INFO config reloaded: ")
        box.configure(CONFIG.replace("people are", f"people of {number} are"))
        box.systemctl("reload", "edged")
        assert box.log().count("INFO config reloaded: ") > before


@pytest.mark.parametrize("part", HANGS)
def test_a_hang_ends_the_process_with_the_python_stacks_in_the_journal(box: Box, part: str):
    box.drop_in(WATCHED)
    box.start()
    until(lambda: '"status":"ok"' in box.retained("edged/box/dock/people"), 30)
    box.plant(part)
    until(lambda: restarts(box) > 0, 60)
    box.plant("")
    box.until("StatusText", "1 camera; broker connected")
    log = box.log()
    assert "Watchdog timeout" in log
    assert "Fatal Python error: Aborted" in log
    assert "in planted_hang" in log
    if part != "the main loop":
        assert f"no progress: {part}" in box.log("-p", "err")


def test_a_stop_that_is_ignored_ends_by_sigkill(box: Box):
    box.drop_in("[Service]\nTimeoutStopSec=3s\n")
    box.start()
    box.plant("the stop")
    begun = time.monotonic()
    box.systemctl("stop", "edged")
    assert 2 < time.monotonic() - begun < 15
    assert box.property("Result") == "timeout"


def test_a_killed_or_frozen_process_is_started_again(box: Box):
    box.drop_in(f"{WATCHED}TimeoutAbortSec=2s\n")
    box.start()
    for number, signal in enumerate(("KILL", "STOP"), start=1):
        box.systemctl("kill", "--kill-whom=main", f"--signal={signal}", "edged")
        until(lambda expected=number: restarts(box) == expected, 60)  # type: ignore[misc]
        box.until("ActiveState", "active")
    until(lambda: '"state":"online"' in box.retained("edged/box/bridge/state"), 30)


def test_a_broken_config_is_not_started_again_and_the_status_says_why(box: Box):
    box.drop_in(QUICK)
    box.configure(CONFIG.replace("every:", "evry:"))
    assert box.systemctl("start", "edged", check=False).returncode != 0
    box.until("ActiveState", "failed")
    assert (box.property("ExecMainStatus"), restarts(box)) == ("78", 0)
    assert 'unknown key "evry"' in box.systemctl("status", "edged", check=False).stdout


def test_a_missing_npu_is_tried_again_without_end(box: Box):
    box.drop_in(QUICK)
    box.plant("exit 75")
    box.systemctl("start", "edged", check=False)
    until(lambda: restarts(box) > 12, 60)
    box.plant("")
    box.until("ActiveState", "active")


def test_a_missing_credential_is_tried_again_until_it_is_there(box: Box):
    box.drop_in(f"{QUICK}LoadCredential=mqtt-password:/etc/edged/credentials/mqtt-password\n")
    box.configure(CONFIG.replace('1883"}', '1883", username: me, password: {secret: mqtt-password}}'))
    box.systemctl("start", "edged", check=False)
    until(lambda: restarts(box) > 12, 60)
    box.put("/etc/edged/credentials/mqtt-password", "hunter2\n", "600")
    box.until("ActiveState", "active")
    box.until("StatusText", "1 camera; broker connected")
    assert "hunter2" not in box.log()
    box.run("rm", "-r", "/etc/edged/credentials")


def opened(box: Box, settings: str) -> dict[str, str]:
    """What happens when the service's user opens the devices in the service's sandbox."""
    command = "/opt/edged/python/bin/python3 /etc/edged-open.py /dev/aries0 /dev/video0 /dev/forbidden"
    box.put("/etc/edged-open.py", OPENED)
    library = "Environment=LD_LIBRARY_PATH=/opt/edged/python/lib"
    box.drop_in(f"[Service]\nType=exec\nRestart=no\nExecStart=\nExecStart={command}\n{library}\n{settings}")
    box.systemctl("start", "edged")
    box.until("ActiveState", "inactive|failed")
    lines = [line for line in box.log().splitlines() if line.startswith("/dev/")]
    return {line.split(" ", 1)[0]: line.split(" ", 1)[1] for line in lines}


def test_only_the_npu_and_cameras_can_be_opened(box: Box):
    nodes = {"/dev/aries0": FUSE, "/dev/video0": "81 0", "/dev/forbidden": TUN}
    for node, numbers in nodes.items():
        box.run("rm", "-f", node)
        box.run("mknod", "-m", "660", node, "c", *numbers.split())
        box.run("chgrp", "edged", node)
    denied = "Operation not permitted"
    results = opened(box, "")
    assert results.keys() == nodes.keys()
    assert results["/dev/forbidden"] == denied
    assert denied not in (results["/dev/aries0"], results["/dev/video0"])
    box.reset()
    control = opened(box, "DevicePolicy=auto\nDeviceAllow=\nProtectClock=no\n")
    assert denied not in control.values(), "the filter, not something else, denied the device"
