"""`edged install` on a running system, below a folder: what it tells systemd and udev, and what their failures say."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from support.small_disk import mounted

from edged.tools.install import account
from edged.tools.install.account import Account, run
from edged.tools.install.command import SYSTEMD, UDEV, InstallOptions, install
from edged.tools.install.layout import OVERRIDE, own_command
from edged.tools.install.steps import Folder
from edged.tools.install.target import InstallError, Owner, Target

COMMAND = Path("/opt/edged/venv/bin/edged")
STARTED = "edged is running; this puts the installed version into service: systemctl restart edged"
ANNOUNCED = [
    "systemctl daemon-reload",
    "udevadm control --reload",
    "udevadm trigger --action=change --property-match=DEVNAME=/dev/aries*",
]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="files get the owners of a system; needs root")


class System:
    """A running system with systemd and udev, whose programs write down how they were called."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "system"
        self._programs = folder / "bin"
        self._calls = folder / "calls"
        (self.root / "etc").mkdir(parents=True)
        (self.root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        (self.root / "etc/group").write_text("root:x:0:\nvideo:x:44:\n")
        self.file(SYSTEMD).mkdir(parents=True)
        self.file(UDEV).parent.mkdir(parents=True)
        self.file(UDEV).touch()
        self._programs.mkdir()
        for name in ("systemctl", "udevadm"):
            self.program(name)
        for name in ("useradd", "groupadd", "usermod", "userdel", "groupdel", "mount", "umount"):
            found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
            assert found
            (self._programs / name).symlink_to(found)
        self.path = str(self._programs)

    def file(self, inside: str) -> Path:
        return self.root / inside.lstrip("/")

    def program(self, name: str, then: str = "") -> None:
        path = self._programs / name
        path.unlink(missing_ok=True)
        path.write_text(f'#!/bin/sh\necho "{name} $@" >>{self._calls}\n{then}\n')
        path.chmod(0o755)

    def without(self, *names: str) -> None:
        for name in names:
            (self._programs / name).unlink()

    def calls(self) -> list[str]:
        """Since the last time."""
        lines = self._calls.read_text().splitlines() if self._calls.exists() else []
        self._calls.unlink(missing_ok=True)
        return lines

    def install(self, dry_run: bool = False, uninstall: bool = False, purge: bool = False) -> int:
        return install(InstallOptions(None, dry_run, uninstall, purge), "# completion\n", lambda _: COMMAND, self.root)


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> System:
    made = System(tmp_path)
    monkeypatch.setenv("PATH", made.path)  # nothing of the system that the tests run on can be called
    return made


def test_systemd_and_udev_are_told_and_the_next_steps_printed(system: System, capsys: pytest.CaptureFixture[str]):
    system.program("systemctl", '[ "$1" != is-active ]')
    assert system.install() == 0
    assert system.calls() == [*ANNOUNCED, "systemctl is-active --quiet edged.service"]
    assert "\nnext:\n" in capsys.readouterr().out
    assert system.install() == 0
    assert system.calls() == ["systemctl is-active --quiet edged.service"], "nothing was changed"
    assert "everything is in place; nothing was changed\n" in capsys.readouterr().out


def test_an_edged_that_runs_is_left_running_and_the_restart_is_named(
    system: System, capsys: pytest.CaptureFixture[str]
):
    system.file(UDEV).unlink()
    assert system.install() == 0
    assert system.calls() == ["systemctl daemon-reload", "systemctl is-active --quiet edged.service"]
    assert capsys.readouterr().out.splitlines()[-1] == STARTED


def test_a_unit_that_replaces_the_installed_one_is_noted(system: System, capsys: pytest.CaptureFixture[str]):
    system.file(OVERRIDE).parent.mkdir(parents=True)
    system.file(OVERRIDE).symlink_to("/dev/null")  # masked
    system.install()
    note = f"note: {system.file(OVERRIDE)} replaces the installed unit; remove it unless that is meant"
    assert note in capsys.readouterr().out.splitlines()


def test_removing_stops_the_service_first(system: System, capsys: pytest.CaptureFixture[str]):
    system.install()
    system.calls()
    capsys.readouterr()
    assert system.install(uninstall=True, dry_run=True) == 0
    assert capsys.readouterr().out.splitlines()[0] == "would stop and disable edged.service"
    assert system.calls() == []
    assert system.install(uninstall=True) == 0
    assert system.calls() == ["systemctl disable --now edged.service", *ANNOUNCED]
    assert capsys.readouterr().out.splitlines()[0] == "stopped and disabled edged.service"


def test_purging_removes_the_user_and_then_nothing_is_left_to_do(system: System, capsys: pytest.CaptureFixture[str]):
    system.install()
    assert "edged" in system.file("etc/passwd").read_text()
    assert system.install(uninstall=True, purge=True) == 0
    for name in ("passwd", "group"):
        assert "edged" not in system.file(f"etc/{name}").read_text()
    system.calls()
    capsys.readouterr()
    assert system.install(uninstall=True, purge=True) == 0
    assert capsys.readouterr().out == "edged is not installed; nothing was changed\n"
    assert system.calls() == []


def test_purging_empties_a_folder_that_is_a_mount_point(system: System, capsys: pytest.CaptureFixture[str]):
    lib = system.file("var/lib/edged")
    lib.mkdir(parents=True)
    with mounted(lib / "models", "2m") as disk:
        system.install()
        (disk.folder / "qwen").mkdir()
        (disk.folder / "qwen/model.safetensors").touch()
        (lib / "edged.db").touch()
        secret = system.file("etc/edged/credentials/broker")
        secret.touch()
        capsys.readouterr()
        assert system.install(uninstall=True, purge=True) == 0
        assert not list(disk.folder.iterdir())
        assert [path.name for path in lib.iterdir()] == ["models"]
        assert not secret.parent.parent.exists()
    assert "edged" not in system.file("etc/passwd").read_text()
    printed = capsys.readouterr().out.splitlines()
    assert f"kept: {lib}/models is a mount point; removed everything in it" in printed
    assert f"kept: {lib} contains a mount point; removed everything else in it" in printed


def test_purging_removes_the_cache_of_the_service(system: System):
    system.install()
    cache = system.file("var/cache/edged")
    cache.mkdir(parents=True)
    assert system.install() == 0  # systemd makes this folder, with the mode in the unit
    assert system.install(uninstall=True) == 0
    assert cache.exists()
    assert system.install(uninstall=True, purge=True) == 0
    assert not cache.exists()


def test_a_part_that_cannot_be_removed_keeps_no_other_from_being_removed(
    system: System, capsys: pytest.CaptureFixture[str]
):
    system.install()
    system.program("systemctl", '[ "$1" = disable ] || { echo no bus >&2; exit 1; }')
    unit = system.file("usr/local/lib/systemd/system/edged.service")
    unit.unlink()
    unit.mkdir()
    system.calls()
    capsys.readouterr()
    assert system.install(uninstall=True, purge=True) == 1
    assert system.calls() == ["systemctl disable --now edged.service", *ANNOUNCED]
    assert not system.file("etc/edged").exists()
    assert "edged" not in system.file("etc/passwd").read_text()
    assert capsys.readouterr().err.splitlines() == [
        f"edged: cannot remove {unit}: is a directory",
        "edged: cannot run systemctl daemon-reload: systemctl: no bus",
    ]


def test_nothing_is_removed_until_the_service_could_be_stopped(system: System, capsys: pytest.CaptureFixture[str]):
    system.install()
    before = sorted(system.root.rglob("*"))
    system.program("systemctl", "echo no bus >&2; exit 1")
    system.calls()
    capsys.readouterr()
    assert system.install(uninstall=True, purge=True) == 1
    assert system.calls() == ["systemctl disable --now edged.service"]
    assert sorted(system.root.rglob("*")) == before
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == (
        "",
        "edged: cannot stop and disable edged.service: systemctl: no bus; nothing was removed. Run this again when "
        '"systemctl disable --now edged.service" succeeds\n',
    )
    system.program("systemctl")
    assert system.install(uninstall=True, purge=True) == 0
    assert system.calls() == ["systemctl disable --now edged.service", *ANNOUNCED]
    assert not system.file("etc/edged").exists()


def test_systemd_is_told_what_an_installation_that_failed_has_changed(
    system: System, capsys: pytest.CaptureFixture[str]
):
    system.file("usr/local/share").mkdir(parents=True)
    system.file("usr/local/share/edged").touch()
    assert system.install() == 1
    assert capsys.readouterr().err.startswith(f"edged: cannot write {system.root}/usr/local/share/edged/drop-ins/")
    assert system.calls() == ANNOUNCED


def test_a_user_who_left_the_group_is_added_again(system: System, capsys: pytest.CaptureFixture[str]):
    system.install()
    groups = system.file("etc/group")
    groups.write_text(groups.read_text().replace("video:x:44:edged", "video:x:44:"))
    capsys.readouterr()
    assert system.install() == 0
    assert capsys.readouterr().out.splitlines()[0] == "added user edged to group video"
    assert "video:x:44:edged" in groups.read_text()


def test_systemd_sysusers_makes_the_user_where_it_is_installed(system: System):
    entry = "edged:x:990:990::/var/lib/edged:/usr/sbin/nologin"
    files = system.file("etc")
    system.program(
        "systemd-sysusers",
        f'read -r line; echo "$line" >{files}/given\n'
        f'echo "{entry}" >>{files}/passwd; echo edged:x:990: >>{files}/group',
    )
    account = Account(Target(system.root, live=True), "edged", "video", "u edged -\n")
    made = account.to_do()
    assert made
    made.carry_out()
    assert (system.calls(), (files / "given").read_text()) == (["systemd-sysusers -"], "u edged -\n")
    image = Account(Target(system.root, live=False), "other", "video", "u other -\n").to_do()
    assert image
    with pytest.raises(InstallError, match=r"^the user other was not created$"):
        image.carry_out()
    assert system.calls() == [f"systemd-sysusers --root={system.root} -"]


def test_a_program_that_fails_is_named_with_its_last_line(system: System, monkeypatch: pytest.MonkeyPatch):
    system.program("systemctl", "echo first >&2; echo 'Failed to connect to bus' >&2; exit 1")
    with pytest.raises(InstallError, match=r"^systemctl: Failed to connect to bus$"):
        run("systemctl", "daemon-reload")
    system.program("systemctl", "echo on standard output; exit 3")
    with pytest.raises(InstallError, match=r"^systemctl: on standard output$"):
        run("systemctl", "daemon-reload")
    system.program("systemctl", "exit 4")
    with pytest.raises(InstallError, match=r"^systemctl: exit code 4$"):
        run("systemctl", "daemon-reload")
    system.without("systemctl")
    with pytest.raises(InstallError, match=r"^systemctl is not installed$"):
        run("systemctl", "daemon-reload")
    system.program("udevadm", "exec /bin/sleep 60")
    monkeypatch.setattr(account, "LIMIT_S", 0.0)
    with pytest.raises(InstallError, match=r"^udevadm did not end within 0 s$"):
        run("udevadm", "control")


def test_an_obstacle_of_the_file_system_is_told_with_its_path(system: System, capsys: pytest.CaptureFixture[str]):
    system.file("usr").touch()
    assert system.install() == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"edged: cannot write {system.root}/usr/local/")
    assert line.endswith(": not a directory")


def test_the_command_is_the_one_of_this_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for folder in (tmp_path, *tmp_path.parents[:2]):
        if folder.stat().st_mode & 0o777 == 0o700:
            folder.chmod(0o711)
    root = tmp_path / "image"
    for name in ("edged", "python"):
        path = root / "opt/edged/venv/bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o755)
    monkeypatch.setattr(sys, "prefix", str(root / "opt/edged/venv"))
    monkeypatch.setattr(sys, "executable", str(root / "opt/edged/venv/bin/python"))
    assert own_command(Target(root, live=False)) == COMMAND
    (root / "opt/edged").chmod(0o700)
    with pytest.raises(InstallError) as caught:
        own_command(Target(root, live=False))
    assert str(caught.value) == (
        f"the service could not run {root}/opt/edged/venv/bin/edged: other users may not enter {root}/opt/edged; "
        "install edged into /opt/edged/venv"
    )


def test_what_is_in_the_way_is_named_before_anything_is_changed(system: System, tmp_path: Path):
    unit = system.file("usr/local/lib/systemd/system/edged.service")
    unit.mkdir(parents=True)
    with pytest.raises(InstallError, match=f"^{unit} is a folder; edged has a file of that name$"):
        system.install()
    unit.rmdir()
    system.file("var").mkdir()
    system.file("var/lib").symlink_to(tmp_path)
    with pytest.raises(InstallError, match=f"^{system.file('var/lib')} leads out of {system.root}, to {tmp_path}$"):
        system.install()
    assert not system.file("etc/edged").exists()


def test_a_system_without_a_list_of_users_has_none(system: System):
    for name in ("passwd", "group"):
        system.file(f"etc/{name}").unlink()
    target = Target(system.root, live=False)
    assert (target.user("root"), target.user("edged"), target.members("video")) == (0, None, set())
    folder = Folder(target, "/var/lib/edged", 0o750, Owner("edged", "edged")).to_do()
    assert folder
    with pytest.raises(InstallError, match=r"^there is no user and group edged:edged$"):
        folder.carry_out()
