"""Where and with what a script ran: machine, versions, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent.parent
PACKAGES = ("edged", "torch", "transformers", "opencv-python", "av", "paho-mqtt")


def machine() -> dict[str, str | int]:
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _line("/proc/cpuinfo", "model name"),
        "memory": f"{int(_line('/proc/meminfo', 'MemTotal').split()[0]) / 1e6:.0f} GB",
        "system": f"{platform.freedesktop_os_release()['PRETTY_NAME']}, Linux {platform.release().split('-')[0]}",
    }


def _line(path: str, key: str) -> str:
    lines = (line.partition(":") for line in Path(path).read_text().splitlines())
    return next(value.strip() for name, _, value in lines if name.strip() == key)


def priority() -> int:
    """The niceness of this process or of its session, which Linux schedules as a group; below 0: before all others."""
    return of_session() or os.nice(0)


def of_session(autogroup: Path = Path("/proc/self/autogroup")) -> int:
    """The niceness of the session; 0 where Linux schedules by cgroups instead, which leaves the file out or empty."""
    words = autogroup.read_text().split() if autogroup.exists() else []
    return int(words[-1]) if words else 0


def versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}}


def commit(root: Path = ROOT) -> str:
    """The newest commit that changed edged itself; with a plus if the working tree has other changes of it.

    `unknown` where the files came without their history.
    """
    newest = _git(root, "log", "-1", "--format=%h", "--abbrev=7", "--", "edged")
    return newest + "+" * bool(_git(root, "status", "--porcelain", "--", "edged")) if newest else "unknown"


def _git(root: Path, *words: str) -> str:
    """What git prints; nothing where there is no git, or no repository."""
    try:
        return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
