"""What `edged doctor` finds out about the machine itself: its service, disks, clock, users and processes."""

from __future__ import annotations

import ctypes
import grp
import io
import math
import os
import pwd
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from support.config import open_folder, two_secrets  # noqa: F401  # a fixture
from support.small_disk import SmallDisk, small_disk  # noqa: F401  # a fixture

from edged.config.exposure import user_name
from edged.core.specs import BrokerSpec, ClientCertificate
from edged.service import clock
from edged.tools.doctor import host
from edged.tools.doctor.broker import next_step
from edged.tools.doctor.check import Check
from edged.tools.doctor.config import read_config
from edged.tools.doctor.machine import Machine, User, group_name, holders, users
from edged.tools.doctor.packages import opencv_from, python
from edged.tools.doctor.running import running
from edged.tools.doctor.table import show


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(state=tmp_path)


# the service


def with_systemctl(folder: Path, monkeypatch: pytest.MonkeyPatch, output: str, code: int = 0) -> Path:
    """A systemctl that answers like this, and writes down how it was called."""
    (folder / "output").write_text(output)
    program = folder / "systemctl"
    shown = f'while read -r line; do echo "$line"; done <{folder}/output'
    program.write_text(f'#!/bin/sh\necho "$@" >>{folder}/calls\n{shown}\nexit {code}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return folder / "calls"


def properties(**changed: str) -> str:
    state = {"LoadState": "loaded", "ActiveState": "active", "SubState": "running", "UnitFileState": "enabled"}
    state |= {"Result": "success", "NRestarts": "0", **changed}
    return "".join(f"{key}={value}\n" for key, value in state.items())


@pytest.mark.parametrize(
    ("output", "ok", "detail", "todo"),
    [
        (properties(), True, "edged.service is active (running), enabled", None),
        (properties(NRestarts="1"), True, "edged.service is active (running), enabled, restarted 1 time", None),
        (properties(NRestarts=""), True, "edged.service is active (running), enabled", None),
        (properties(UnitFileState=""), True, "edged.service is active (running), static", None),
        (
            properties(ActiveState="inactive", SubState="dead", UnitFileState="disabled"),
            True,
            "edged.service is inactive (dead), disabled",
            "systemctl enable edged.service, or it will not start at the next boot",
        ),
        (
            properties(ActiveState="failed", SubState="failed", Result="exit-code"),
            False,
            "edged.service has failed (exit-code)",
            "journalctl -u edged.service -n 50",
        ),
        (
            properties(LoadState="not-found", ActiveState="inactive", SubState="dead", UnitFileState=""),
            None,
            "edged.service is not installed",
            "to run edged as a service, see README: As a service",
        ),
        ("", None, "systemd is not running on this machine", None),
    ],
)
def test_the_state_of_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, ok: bool | None, detail: str, todo: str | None
):
    calls = with_systemctl(tmp_path, monkeypatch, output)
    assert host.unit(Machine()) == Check("systemd", ok, detail, todo)
    assert calls.read_text().startswith("show edged.service --property=LoadState --property=ActiveState")


def test_a_systemctl_that_fails_is_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with_systemctl(tmp_path, monkeypatch, properties(), code=1)
    failed = host.unit(Machine())
    monkeypatch.setenv("PATH", "/nowhere")
    assert failed == host.unit(Machine()) == Check("systemd", None, "systemd is not running on this machine")


@pytest.mark.parametrize(
    ("existing", "environment", "expected"),
    [
        ("own/edged/box/edged.db", {}, "own/edged/box"),  # an edged that is no service
        ("service/edged.db", {}, "service"),
        ("service/none", {}, "service"),  # installed, not started yet
        ("none", {}, "."),  # will be made
        ("own/edged/box/edged.db", {"STATE_DIRECTORY": "given"}, "given"),
    ],
)
def test_the_disk_is_that_of_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, existing: str, environment: dict[str, str], expected: str
):
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    for name, folder in {"XDG_STATE_HOME": "own", **environment}.items():
        monkeypatch.setenv(name, str(tmp_path / folder))
    (tmp_path / "given").mkdir()
    (tmp_path / existing).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / existing).touch()
    rows = host.disks(tmp_path / "edged.yaml", Machine(state=tmp_path / "service"), "box")
    assert rows[0].name == f"disk {tmp_path / expected}"


def test_a_second_disk_is_checked_too(machine: Machine):
    rows = host.disks(Path("/dev/edged.yaml"), machine)  # another file system than that of the state
    assert [row.name for row in rows] == [f"disk {machine.state}", "disk /dev"]


def test_a_disk_that_is_read_only_is_wrong_if_edged_writes_to_it(small_disk: SmallDisk):  # noqa: F811  # the fixture
    small_disk.make_read_only()
    row = host.disk(small_disk.folder, written=True, least_free=0)
    assert (row.ok, row.detail) == (False, "is mounted read-only")
    assert row.next == "check dmesg: a card or disk that fails is remounted read-only"
    assert host.disk(small_disk.folder, written=False, least_free=0).ok is True


CLOCK_IS_SET = Check("clock", True, "synchronised")
CLOCK_IS_NOT_SET = Check(
    "clock",
    False,
    "not synchronised: the time stamps of answers are not reliable",
    "timedatectl set-ntp true",
)


@pytest.mark.parametrize(
    ("state", "timesyncd", "row"),
    [
        (0, False, CLOCK_IS_SET),
        (5, True, CLOCK_IS_NOT_SET),  # TIME_ERROR
        (-1, True, CLOCK_IS_SET),  # forbidden in a sandbox; systemd-timesyncd tells
        (-1, False, CLOCK_IS_NOT_SET),
        (None, True, CLOCK_IS_SET),  # a C library without adjtimex
    ],
)
def test_the_kernel_tells_if_the_clock_is_synchronised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: int | None, timesyncd: bool, row: Check
):
    library = SimpleNamespace() if state is None else SimpleNamespace(adjtimex=lambda _: state)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: library)
    monkeypatch.setattr(clock, "TIMESYNCD", tmp_path / "synchronized")
    monkeypatch.setattr(clock, "_known", (-math.inf, False))  # the state before comes back with the end of the test
    if timesyncd:
        (tmp_path / "synchronized").touch()
    assert host.clock_check() == row


# users and processes


def test_the_users_are_that_of_this_process_and_that_of_the_service(monkeypatch: pytest.MonkeyPatch):
    def nobody(_: str) -> pwd.struct_passwd:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwnam", nobody)
    own = pwd.getpwuid(os.geteuid())
    assert [(user.name, user.uid) for user in users()] == [(own.pw_name, own.pw_uid)]
    service = pwd.struct_passwd(("edged", "x", 4242, 4343, "", "/var/lib/edged", "/usr/sbin/nologin"))
    monkeypatch.setattr(pwd, "getpwnam", {"edged": service}.__getitem__)
    assert users()[1] == User("edged", 4242, frozenset({4343, grp.getgrnam("video").gr_gid}))


def test_numbers_without_a_name_are_shown_as_numbers():
    assert (user_name(0), user_name(3_999_999)) == ("root", "3999999")
    assert (group_name(0), group_name(3_999_999)) == ("root", "3999999")


def test_the_processes_that_hold_the_npu_are_named(tmp_path: Path):
    node = tmp_path / "dev" / "aries0"

    def process(number: int, name: str, *targets: Path) -> None:
        handles = tmp_path / str(number) / "fd"
        handles.mkdir(parents=True)
        (handles.parent / "comm").write_text(f"{name}\n")
        for handle, target in enumerate(targets):
            (handles / str(handle)).symlink_to(target)

    process(7, "bench", Path("/dev/null"), node)
    process(12, "bash", Path("/dev/null"))
    process(os.getpid(), "doctor", node)
    process(13, "closing")
    (tmp_path / "13/fd/0").touch()  # closed meanwhile: no link can be read
    (tmp_path / "14").mkdir()  # ended meanwhile
    (tmp_path / "self").symlink_to("7")
    assert holders([node], tmp_path) == ["bench (pid 7)"]


# what is installed, and what runs


def test_another_python_is_wrong(monkeypatch: pytest.MonkeyPatch):
    assert python().ok is True
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    row = python()
    assert (row.ok, row.next) == (False, "install edged in an environment with Python 3.11 or 3.12")


def test_an_import_of_opencv_that_does_not_end_may_be_a_slow_disk():
    row = opencv_from(["/bin/sleep", "60"], 0.0)
    assert row == Check(
        "opencv", False, "cannot be imported: did not finish within 0 s", "check whether the disk is slow"
    )


def test_a_probe_whose_report_is_no_json_is_an_error_with_the_exit_code():
    row = opencv_from(["/bin/sh", "-c", "echo Segmentation; exit 3"], 20.0)
    assert row.detail == "cannot be imported: the process ended with exit code 3 and no report"


def test_without_a_config_nobody_is_asked_if_edged_runs():
    assert running(None, Machine()) == Check("edged", None, "not checked: there is no valid config")


def test_a_secret_that_others_can_read_is_wrong(open_folder: Path):  # noqa: F811  # the fixture
    path = two_secrets(open_folder)
    (open_folder / "credentials").mkdir(mode=0o755)
    for name in ("broker", "dock"):
        (open_folder / "credentials" / name).write_text("hunter2\n")
        (open_folder / "credentials" / name).chmod(0o644)
    _, [_, secrets] = read_config(path)
    assert (secrets.ok, secrets.next) == (
        False,
        f"the files must belong to {user_name(os.geteuid())} and have mode 0600",
    )
    assert f"other users can read {open_folder}/credentials/broker" in secrets.detail
    assert "hunter2" not in secrets.detail


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user; needs root")
@pytest.mark.parametrize(
    ("folder_of", "step"),
    [
        (65534, "give it to the user that runs edged: sudo chown {nobody} {folder}/NAME"),
        (0, "give it to the user that runs edged: sudo chown {nobody} {folder}/NAME"),
        (1, "run this as the user {other}: sudo -u {other} edged doctor --config {path}"),
    ],
)
def test_a_secret_of_root_is_to_be_given_to_the_user_that_runs_edged(
    open_folder: Path,  # noqa: F811  # the fixture
    monkeypatch: pytest.MonkeyPatch,
    folder_of: int,
    step: str,
):
    monkeypatch.setattr("sys.argv", ["edged"])
    path, folder = two_secrets(open_folder), open_folder / "credentials"
    path.chmod(0o644)
    folder.mkdir(mode=0o755)
    for name in ("broker", "dock"):
        (folder / name).write_text("hunter2\n")
        (folder / name).chmod(0o600)
    os.chown(folder, folder_of, 0)
    os.seteuid(65534)
    try:
        _, [_, secrets] = read_config(path)
    finally:
        os.seteuid(0)
    nobody, other = pwd.getpwuid(65534).pw_name, pwd.getpwuid(1).pw_name
    assert "cannot be read: Permission denied" in secrets.detail
    assert secrets.next == step.format(nobody=nobody, other=other, folder=folder, path=path)


# what is printed


@pytest.mark.parametrize(
    ("kind", "with_certificate", "step"),
    [
        ("client_certificate", True, "mqtt.client_certificate must be one that the broker accepts"),
        ("client_certificate", False, "set mqtt.client_certificate"),
        ("certificate", False, "mqtt.ca must name the CA that signed the broker's certificate"),
    ],
)
def test_each_refusal_of_a_certificate_has_its_own_next_step(kind: str, with_certificate: bool, step: str):
    certificate = ClientCertificate(Path("c"), Path("k")) if with_certificate else None
    assert next_step(kind, BrokerSpec(host="box", client_certificate=certificate)) == step


def test_a_terminal_gets_a_table():
    console = Console(force_terminal=True, file=io.StringIO(), width=80)
    show([Check("clock", True, "synchronised")], console)
    assert isinstance(console.file, io.StringIO)
    assert "\x1b[" in console.file.getvalue()
    assert "synchronised" in console.file.getvalue()
