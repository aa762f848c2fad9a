"""`edged install` below a folder (--root): what it puts in place, that it can be repeated, and what removing leaves."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edged import cli
from edged.cli import main
from edged.tools import completion
from edged.tools.install.command import SYSTEMD, InstallOptions, install
from edged.tools.install.layout import own_command, why_not_for_the_service
from edged.tools.install.target import InstallError, Target

PROJECT = Path(__file__).parent.parent
README = (PROJECT / "README.md").read_text()
COMMAND = Path("/opt/edged/venv/bin/edged")
CONFIG = "etc/edged/edged.yaml"
UNIT = "usr/local/lib/systemd/system/edged.service"
LINK = "usr/local/bin/edged"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="files get the owners of a system; needs root")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A system without anything but the files of its users."""
    (tmp_path / "image/etc").mkdir(parents=True)
    for name in ("passwd", "group"):
        (tmp_path / "image/etc" / name).write_text("root:x:0:0:root:/root:/bin/sh\n"[: 10 if name == "group" else None])
    return tmp_path / "image"


def run(image: Path, dry_run: bool = False, uninstall: bool = False, purge: bool = False, command: Path = COMMAND):
    options = InstallOptions(image, dry_run, uninstall, purge)
    return install(options, "# completion\n", lambda _: command)


def listing(image: Path) -> dict[str, tuple[str, int, int, bytes | str]]:
    """Every file and folder with its mode, owner, group and content."""
    found: dict[str, tuple[str, int, int, bytes | str]] = {}
    for path in sorted(image.rglob("*")):
        status = path.lstat()
        content: bytes | str = b""
        if path.is_symlink():
            content = str(path.readlink())
        elif path.is_file():
            content = path.read_bytes()
        found[str(path.relative_to(image))] = (stat.filemode(status.st_mode), status.st_uid, status.st_gid, content)
    return found


def number(image: Path, file: str, name: str) -> int:
    lines = (image / "etc" / file).read_text().splitlines()
    return next(int(line.split(":")[2]) for line in lines if line.startswith(f"{name}:"))


@as_root
def test_everything_of_the_service_is_put_in_place(image: Path):
    assert run(image) == 0
    user, group = number(image, "passwd", "edged"), number(image, "group", "edged")
    there = listing(image)
    assert there[LINK][3] == str(COMMAND)
    assert {
        path: there[path][:3]
        for path in ("etc/edged", "etc/edged/credentials", "var/lib/edged", "var/lib/edged/models", CONFIG, UNIT)
    } == {
        "etc/edged": ("drwxr-x---", 0, group),
        "etc/edged/credentials": ("drwx------", user, group),
        "var/lib/edged": ("drwxr-x---", user, group),
        "var/lib/edged/models": ("drwxr-xr-x", 0, 0),
        CONFIG: ("-rw-r-----", 0, group),
        UNIT: ("-rw-r--r--", 0, 0),
    }
    assert there[CONFIG][3] == (PROJECT / "config/edged.yaml").read_bytes()
    assert there["etc/edged/edged.schema.json"][3] == (PROJECT / "config/edged.schema.json").read_bytes()
    assert there[UNIT][3] == (PROJECT / "systemd/edged.service").read_bytes()
    assert there["usr/local/lib/sysusers.d/edged.conf"][3] == (PROJECT / "systemd/edged.sysusers").read_bytes()
    assert there["usr/local/lib/udev/rules.d/edged.rules"][3] == (PROJECT / "systemd/edged.rules").read_bytes()
    examples = {Path(name).name for name in there if name.startswith("usr/local/share/edged/drop-ins/")}
    assert examples == {path.name for path in (PROJECT / "systemd/drop-ins").iterdir()}
    assert not any("Containerfile" in name or "compose" in name for name in there)
    assert there["usr/local/share/bash-completion/completions/edged"][3] == b"# completion\n"
    assert "edged" in next(
        line.split(":")[3] for line in (image / "etc/group").read_text().splitlines() if line.startswith("video:")
    )


@as_root
def test_a_second_run_changes_nothing_and_says_so(image: Path, capsys: pytest.CaptureFixture[str]):
    run(image)
    before = listing(image)
    capsys.readouterr()
    assert run(image) == 0
    assert capsys.readouterr().out.startswith("everything is in place; nothing was changed\n")
    assert listing(image) == before


@as_root
def test_an_update_replaces_what_comes_with_edged_and_keeps_the_config(image: Path, capsys: pytest.CaptureFixture[str]):
    run(image)
    (image / CONFIG).write_text("mine")
    (image / CONFIG).chmod(0o600)
    (image / UNIT).write_text("of an older version")
    (image / "etc/edged").chmod(0o755)
    capsys.readouterr()
    run(image, command=Path("/opt/other/bin/edged"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        f"set owner and mode of {image}/etc/edged (mode 0750, root:edged)",
        f"replaced {image / UNIT}",
        f"replaced link {image / LINK}, now to /opt/other/bin/edged",
    ]
    assert ((image / CONFIG).read_text(), stat.S_IMODE((image / CONFIG).stat().st_mode)) == ("mine", 0o600)
    assert "\nExecStart=/opt/other/bin/edged run " in (image / UNIT).read_text()


def test_a_dry_run_says_what_would_be_done_and_changes_nothing(image: Path, capsys: pytest.CaptureFixture[str]):
    before = listing(image)
    assert run(image, dry_run=True) == 0
    assert listing(image) == before
    lines = capsys.readouterr().out.splitlines()
    assert "would create user edged (member of video)" in lines
    assert f"would write {image / CONFIG}" in lines
    assert f"would create link {image / LINK} to {COMMAND}" in lines
    assert all(line.startswith("would ") for line in lines)


@as_root
def test_removing_keeps_config_data_and_user(image: Path, capsys: pytest.CaptureFixture[str]):
    run(image)
    (image / "var/lib/edged/edged.db").write_text("answers")
    capsys.readouterr()
    assert run(image, uninstall=True) == 0
    left = {name for name, entry in listing(image).items() if not entry[0].startswith("d")}
    assert not (image / "usr/local/share/edged").exists()
    assert {name for name in left if "edged" in name} == {CONFIG, "var/lib/edged/edged.db"}
    assert number(image, "passwd", "edged") > 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "kept: /etc/edged, /var/lib/edged and the user edged; --purge removes them"
    )
    assert run(image, uninstall=True) == 0  # again


@as_root
def test_purging_leaves_nothing(image: Path):
    run(image)
    (image / "var/lib/edged/edged.db").write_text("answers")
    run(image, uninstall=True, dry_run=True, purge=True)
    assert (image / "var/lib/edged/edged.db").exists()
    run(image, uninstall=True, purge=True)
    left = {name for name, entry in listing(image).items() if "edged" in f"{name} {entry[3]!r}"}
    assert left <= {"etc/group-", "etc/gshadow-", "etc/passwd-", "etc/shadow-"}  # copies that userdel leaves


@as_root
def test_a_program_of_the_same_name_is_not_replaced_and_nothing_else_is_changed(image: Path):
    (image / LINK).parent.mkdir(parents=True)
    (image / LINK).write_text("#!/bin/sh\n")
    before = listing(image)
    with pytest.raises(InstallError, match=f"{LINK} exists and is not a link to edged; move it away"):
        run(image)
    assert listing(image) == before
    run(image, uninstall=True)
    assert (image / LINK).read_text() == "#!/bin/sh\n"


@as_root
def test_a_link_in_an_image_does_not_lead_out_of_it(image: Path, tmp_path: Path):
    (tmp_path / "outside").mkdir()
    (image / "etc/edged").symlink_to(tmp_path / "outside")
    with pytest.raises(InstallError, match=r"leads out of|is not a folder"):
        run(image)
    assert list((tmp_path / "outside").iterdir()) == []


@as_root
@pytest.mark.skipif(not shutil.which("useradd"), reason="there is no useradd")
def test_without_systemd_sysusers_useradd_makes_the_user(image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("useradd", "groupadd", "usermod"):
        path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
        assert path
        (programs / name).symlink_to(path)
    monkeypatch.setenv("PATH", str(programs))
    assert run(image) == 0
    entry = next(line for line in (image / "etc/passwd").read_text().splitlines() if line.startswith("edged:"))
    assert entry.split(":")[5:] == ["/var/lib/edged", "/usr/sbin/nologin"]
    assert run(image) == 0


@as_root
def test_without_either_the_error_names_both(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run(image) == 1
    assert capsys.readouterr().err == (
        "edged: cannot create user edged (member of video): there is neither systemd-sysusers nor useradd\n"
    )


@pytest.mark.parametrize(
    ("inside", "mode", "why"),
    [
        ("opt/edged/venv/bin/edged", 0o755, None),
        ("opt/edged/venv/bin/edged", 0o750, "other users may not run "),
        ("home/me/venv/bin/edged", 0o755, "the unit hides /home (ProtectHome)"),
        ("opt/my venv/bin/edged", 0o755, "a systemd unit cannot contain this path"),
    ],
)
def test_a_command_that_the_service_cannot_run_is_refused(image: Path, inside: str, mode: int, why: str | None):
    path = image / inside
    path.parent.mkdir(parents=True)
    for folder in path.parents:
        if folder.is_relative_to(image):
            folder.chmod(0o755)
    path.write_text("")
    path.chmod(mode)
    found = why_not_for_the_service(path, Target(image, live=False))
    assert (found or "").startswith(why or "")
    assert (found is None) == (why is None)


def test_an_edged_that_is_not_installed_is_named(image: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "prefix", str(image))
    with pytest.raises(InstallError, match=r"there is no .*/image/bin/edged: install edged with pip"):
        own_command(Target(image, live=False))


@pytest.mark.skipif(Path(SYSTEMD).exists(), reason="systemd runs here")
def test_without_systemd_the_error_says_so(capsys: pytest.CaptureFixture[str]):
    assert main(["install", "--dry-run"]) == 1
    assert capsys.readouterr().err == (
        "edged: systemd does not run on this machine (there is no /run/systemd/system); "
        "--root / installs the files all the same\n"
    )


def test_a_root_that_does_not_exist_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    assert main(["install", "--dry-run", "--root", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err == f"edged: --root: there is no folder {tmp_path}/none\n"


def test_purge_alone_is_a_usage_error(capsys: pytest.CaptureFixture[str]):
    assert main(["install", "--purge"]) == 2
    assert "--purge needs --uninstall" in capsys.readouterr().err


def test_another_user_than_root_is_told_so(image: Path):
    program = (
        "import os, sys; from edged.cli import _parser, main; import edged.tools.install.command; _parser(); "
        "os.geteuid() or os.setuid(65534); sys.exit(main(['install', '--root', sys.argv[1]]))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(image)], capture_output=True, text=True, timeout=180)
    assert (done.returncode, done.stderr) == (1, "edged: must run as root: sudo edged install\n")


def completions(script: str, *words: str) -> list[str]:
    """What bash suggests for the last of these words."""
    program = f'{script}\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _edged; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", program, "bash", *words], capture_output=True, text=True, timeout=20)
    assert done.stderr == ""
    return done.stdout.split()


@as_root
def test_the_readmes_command_for_a_password_makes_a_file_that_only_the_service_can_read(tmp_path: Path):
    command = re.search(r"^ +(printf .*) \| sudo (install .*) (/etc/edged/credentials)/dock$", README, re.MULTILINE)
    assert command
    given = command[2].replace("-o edged -g edged", "-o 65534 -g 65533")
    subprocess.run(["bash", "-c", f"{command[1]} | {given} {tmp_path}/dock"], check=True)
    status = (tmp_path / "dock").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (65534, 65533, 0o600)
    assert (tmp_path / "dock").read_text() == "PASSWORD"


def test_bash_completes_commands_options_and_choices():
    script = completion_file()
    assert completions(script, "edged", "in") == ["init", "install"]
    assert completions(script, "edged", "-v", "install", "--") == [
        "--help",
        "--verbose",
        "--dry-run",
        "--uninstall",
        "--purge",
        "--root",
    ]
    assert completions(script, "edged", "ask", "--language", "") == ["en", "ko"]
    assert completions(script, "edged", "run", "--config", "") == []  # bash suggests files


def completion_file() -> str:
    options = cli._parser().parse_args(["install"])
    return completion.script({name: parser.format_help() for name, parser in options.commands.items()})
