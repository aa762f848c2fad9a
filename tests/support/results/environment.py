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
    session = Path("/proc/self/autogroup")
    of_session = int(session.read_text().rpartition(" ")[2]) if session.exists() else 0
    return of_session or os.nice(0)


def versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}}


def commit() -> str:
    """The newest commit that changed edged itself; with a plus if the working tree has other changes of it."""
    newest = _git("log", "-1", "--format=%h", "--abbrev=7", "--", "edged")
    return newest + "+" * bool(_git("status", "--porcelain", "--", "edged"))


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
