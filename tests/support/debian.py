"""A Debian with a real systemd as its PID 1, in a container of systemd-nspawn.

Needs the packages mmdebstrap, systemd-container and debian-archive-keyring; and root, or sudo without a password.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

RELEASES = {"bookworm": (2, 36), "trixie": (2, 41)}  # with the versions of their C library
PACKAGES = ("systemd", "systemd-sysv", "dbus", "udev", "procps", "ca-certificates", "sudo", "mosquitto")
ROOTS = Path(__file__).parent.parent.parent / ".systemd"
CGROUPS = Path("/sys/fs/cgroup")
# A machine that has the old hierarchy too has the new one below it.
UNIFIED = CGROUPS / "unified"
BUILD_S, BOOT_S, STOP_S = 900, 60, 30
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOSTS = """printf '127.0.0.1 localhost %s\\n::1 localhost\\n' "$(cat "$1/etc/hostname")" > "$1/etc/hosts" """
# What is mounted below a root folder must not outlive its process: whoever removed the folder then would remove
# from /dev and /sys.
ALONE = ["unshare", "--mount", "--propagation=private"]
BOOT = """
mkdir -p "$GROUP"
echo $$ > "$GROUP/cgroup.procs"
if [ "$OLD" ]; then umount -R /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup; fi
echo $$
exec systemd-nspawn --quiet --keep-unit --register=no --machine="$NAME" --directory="$ROOT" --timezone=off \\
  --link-journal=no --resolv-conf=copy-host --console=pipe "$@" --boot systemd.unit=multi-user.target \\
  systemd.show_status=0 systemd.mask=console-getty.service
"""
NAMESPACES = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root"]


@functools.cache
def why_not() -> str | None:
    """Why no container can be started here; None if it can."""
    programs = ("mmdebstrap", "systemd-nspawn")
    if missing := [name for name in programs if not shutil.which(name, path=f"{os.environ['PATH']}:{PATH}")]:
        return f"needs {' and '.join(missing)}, which bash tests/run installs"
    if os.geteuid() == 0:
        return None
    can = shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0
    return None if can else "needs root, or sudo without a password"


def as_root(*command: str | Path) -> list[str]:
    """The command, with sudo unless this is root. Fails the test if there is neither."""
    if reason := why_not():
        pytest.fail(reason)
    return [*([] if os.geteuid() == 0 else ["sudo", "-n"]), *map(str, command)]


def oldest_release() -> str:
    """The oldest release that can run the Python of this machine: its C library is not older than that here."""
    found = re.fullmatch(r"glibc (\d+)\.(\d+)", os.confstr("CS_GNU_LIBC_VERSION") or "")
    here = (int(found[1]), int(found[2])) if found else (0, 0)
    return next((release for release, libc in RELEASES.items() if libc >= here), "trixie")


def root_folder(release: str, packages: Sequence[str] = ()) -> Path:
    """The files of a release, from the package sources of this machine. Made once, in a minute; must not be changed."""
    include = ",".join([*PACKAGES, *packages])
    root = ROOTS / f"{release}-{hashlib.sha256(include.encode()).hexdigest()[:8]}"
    ROOTS.mkdir(exist_ok=True)
    with (ROOTS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run may build the same
        if not root.exists():
            part = root.with_suffix(".part")
            subprocess.run(as_root("rm", "-rf", part), check=True)
            _build(part, release, include)
            part.rename(root)
    return root


def _build(root: Path, release: str, include: str) -> None:
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={include}", f"--customize-hook={HOSTS}"]
    done = subprocess.run(as_root(*ALONE, *command, release, root), capture_output=True, text=True, timeout=BUILD_S)
    assert done.returncode == 0, done.stderr[-2000:]


class Container:
    """A running container; `leader` is the process that is PID 1 in it."""

    def __init__(self, leader: int) -> None:
        self.leader = leader

    def entered(self, *namespaces: str) -> list[str]:
        """The beginning of a command in these namespaces of the container."""
        return as_root("nsenter", f"--target={self.leader}", *namespaces)

    def shell(
        self, line: str, timeout_s: float = 60.0, folder: str = "/", env: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command as root in the container; its output has its errors too."""
        enter = self.entered(*NAMESPACES, f"--wdns={folder}")
        clean = ["env", "-i", f"PATH={PATH}", "HOME=/root", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", *env]
        return subprocess.run(
            [*enter, "--", *clean, "bash", "-c", line],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=timeout_s,
        )

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command as root; its output has its errors too."""
        done = self.shell(shlex.join(command), 120)
        assert not check or done.returncode == 0, (command, done.returncode, done.stdout[-2000:])
        return done

    def put(self, path: str, text: str, mode: str = "644", group: str = "root") -> None:
        line = f"install -D -m {mode} -g {group} /dev/stdin {path} <<'END'\n{text.rstrip()}\nEND\n"
        done = self.shell(line)
        assert done.returncode == 0, done.stdout


@contextlib.contextmanager
def booted(root: Path, name: str, *options: str) -> Iterator[Container]:
    """Boot the Debian in `root`, which keeps what is changed unless an option prevents it; shut it down at the end."""
    group = (UNIFIED if UNIFIED.is_dir() else CGROUPS) / name
    settings = [f"GROUP={group}", f"NAME={name}", f"ROOT={root}", f"OLD={'1' if UNIFIED.is_dir() else ''}"]
    process = subprocess.Popen(
        as_root("env", *settings, *ALONE, "bash", "-c", BOOT, "bash", *options),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, text=True,
    )  # fmt: skip
    assert process.stdout
    first = process.stdout.readline()
    try:
        assert first.strip().isdigit(), first + process.communicate(timeout=STOP_S)[0]
        yield _wait_until_up(process, int(first))
    finally:
        if first.strip().isdigit():
            subprocess.run(as_root("kill", "-TERM", first.strip()))  # nspawn shuts the container down
            try:
                process.communicate(timeout=STOP_S)
            except subprocess.TimeoutExpired:
                subprocess.run(as_root("kill", "-KILL", first.strip()))
                process.communicate()
        subprocess.run(as_root("find", group, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"), capture_output=True)


def _wait_until_up(process: subprocess.Popen[str], nspawn: int) -> Container:
    end = time.monotonic() + BOOT_S
    while time.monotonic() < end:
        assert process.poll() is None, process.communicate()[0]
        children = Path(f"/proc/{nspawn}/task/{nspawn}/children").read_text().split()
        if children:
            container = Container(int(children[0]))
            state = container.shell("systemctl is-system-running").stdout.strip()
            if state in ("running", "degraded"):
                return container
        time.sleep(0.1)  # nothing tells when systemd takes commands
    raise AssertionError("the container did not start")
