"""A Debian 12 with a real systemd as its PID 1, in a container of systemd-nspawn.

Needs root and the Debian packages mmdebstrap and systemd-container. The container shares the network of this machine.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

PACKAGES = ("systemd", "systemd-sysv", "dbus", "udev", "procps", "ca-certificates", "sudo")
CGROUPS = Path("/sys/fs/cgroup")
BUILD_S, BOOT_S, STOP_S = 900, 60, 30
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# A machine that has the old hierarchy too has the new one below it.
UNIFIED = CGROUPS / "unified"
BOOT = """
echo $$ > "$GROUP/cgroup.procs"
if [ "$OLD" ]; then umount -R /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup; fi
exec systemd-nspawn --quiet --keep-unit --register=no --machine="$NAME" --directory="$ROOT" --timezone=off \\
  --link-journal=no --resolv-conf=copy-host --console=pipe "$@" --boot systemd.unit=multi-user.target \\
  systemd.show_status=0 systemd.mask=console-getty.service
"""


def why_not() -> str | None:
    """Why no container can be started here; None if it can."""
    if os.geteuid() != 0:
        return "needs root"
    missing = [name for name in ("mmdebstrap", "systemd-nspawn") if not shutil.which(name)]
    return f"needs {' and '.join(missing)}" if missing else None


def build(root: Path, packages: Sequence[str] = (), suite: str = "bookworm") -> None:
    """The files of a Debian, from the package sources of this machine."""
    include = ",".join([*PACKAGES, *packages])
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={include}", suite, str(root)]
    # What it mounts below `root` must not outlive it: whoever removed the folder then would remove from /dev and /sys.
    alone = ["unshare", "--mount", "--propagation=private"]
    done = subprocess.run([*alone, *command], capture_output=True, text=True, timeout=BUILD_S)
    assert done.returncode == 0, done.stderr[-2000:]
    host = (root / "etc/hostname").read_text().strip() if (root / "etc/hostname").exists() else "debian"
    (root / "etc/hosts").write_text(f"127.0.0.1 localhost {host}\n::1 localhost\n")


class Container:
    """A running container; `leader` is the process that is PID 1 in it."""

    def __init__(self, leader: int) -> None:
        self.leader = leader

    def run(
        self, command: str, timeout_s: float = 60.0, folder: str = "/", env: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command as root in the container."""
        enter = [
            "nsenter",
            f"--target={self.leader}",
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
            "--cgroup",
            "--root",
        ]
        clean = ["env", "-i", f"PATH={PATH}", "HOME=/root", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", *env]
        return subprocess.run(
            [*enter, f"--wdns={folder}", "--", *clean, "bash", "-c", command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=timeout_s,
        )


@contextlib.contextmanager
def booted(root: Path, name: str, *options: str) -> Iterator[Container]:
    """Boot the Debian in `root`, which keeps what is changed, and shut it down at the end."""
    group = (UNIFIED if UNIFIED.is_dir() else CGROUPS) / name
    group.mkdir(exist_ok=True)
    log = root.with_name(f"{root.name}.log").open("w")
    env = {**os.environ, "GROUP": str(group), "NAME": name, "ROOT": str(root), "OLD": "1" if UNIFIED.is_dir() else ""}
    process = subprocess.Popen(
        ["unshare", "--mount", "--propagation=private", "bash", "-c", BOOT, "bash", *options],
        env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        yield _wait_until_up(process, Path(log.name))
    finally:
        process.send_signal(signal.SIGTERM)  # nspawn shuts the container down
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()
        for folder in sorted(group.rglob("*"), reverse=True):
            if folder.is_dir():
                with contextlib.suppress(OSError):
                    folder.rmdir()
        with contextlib.suppress(OSError):
            group.rmdir()


def _wait_until_up(process: subprocess.Popen[bytes], log: Path) -> Container:
    end = time.monotonic() + BOOT_S
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        if children:
            container = Container(int(children[0]))
            state = container.run("systemctl is-system-running").stdout.strip()
            if state in ("running", "degraded"):
                return container
        time.sleep(0.1)  # nothing tells when systemd takes commands
    raise AssertionError(f"the container did not start: {log.read_text()}")
