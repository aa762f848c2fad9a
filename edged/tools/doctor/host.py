"""Python, the packages, OpenCV, disks, the clock and the systemd unit."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from edged.core.text import counted, spoken
from edged.service import clock
from edged.tools.doctor.check import Check, Machine, child, last_line, spoken_size

PYTHONS = ((3, 11), (3, 12))  # the vendor's runtime has wheels for no other


SYSTEMCTL_S = 5.0


LEAST_FREE = 500 * 10**6


INSTALL_LIBRARIES = "sudo apt-get install libgl1 libglib2.0-0"


@dataclass(frozen=True, slots=True)
class Package:
    """A package edged needs: its names on the index, and the versions (from, up to) known to work.

    `tests/test_doctor.py` keeps these in step with pyproject.toml.
    """

    names: tuple[str, ...]
    least: str | None = None
    below: str | None = None
    compiled_only: bool = False

    @property
    def wanted(self) -> str:
        bounds = (f"{sign}{version}" for sign, version in ((">=", self.least), ("<", self.below)) if version)
        return f"{self.names[0]}{','.join(bounds)}"


PACKAGES = (
    Package(("torch",), "2.4.1", "2.14"),
    Package(("transformers",), "5.12", "5.18"),
    Package(("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")),
    Package(("paho-mqtt",), "2.1", "3"),
    Package(("llguidance",), "1.3", "2"),
)


VENDOR = (  # one of them, looked for in this order
    Package(("transformers-mblt",), "0.6.1", "0.7", compiled_only=True),
    Package(("mblt-model-zoo",), "2.10", "2.11", compiled_only=True),
)


RUNTIME = Package(("mobilint-qb-runtime",), "1.5", "1.6", compiled_only=True)


def python() -> Check:
    said = f"{platform.python_version()}, {platform.machine()}"
    if sys.version_info[:2] in PYTHONS:
        return Check("python", True, said)
    return Check("python", False, said, "make edged's environment with Python 3.11 or 3.12")


def packages(compiled: bool | None) -> list[Check]:
    """By what is said of the installed packages; none of them is imported."""
    vendor = next((package for package in VENDOR if _version(package.names)), VENDOR[-1])
    return [_package(package, compiled) for package in (*PACKAGES, vendor, RUNTIME)]


def _package(package: Package, compiled: bool | None) -> Check:
    name, install = f"package {package.names[0]}", f"pip install '{package.wanted}'"
    installed = _version(package.names)
    if installed is None:
        if package.compiled_only and not compiled:
            why = "needed for a compiled model only" if compiled is None else "not needed: the model is not compiled"
            return Check(name, None, f"not installed; {why}")
        return Check(name, False, "not installed", install)
    which, version = installed
    said = version if which == package.names[0] else f"{version} ({which})"
    least, below = (_numbers(bound) if bound else None for bound in (package.least, package.below))
    if (least and _numbers(version) < least) or (below and _numbers(version) >= below):
        return Check(name, False, f"{said} is not a version known to work", install)
    return Check(name, True, said)


def _version(names: Sequence[str]) -> tuple[str, str] | None:
    for name in names:
        with suppress(metadata.PackageNotFoundError):
            return name, metadata.version(name)
    return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3])


def opencv(here: Machine) -> Check:
    """In a child: its import needs libraries of the system, and what cannot be loaded may also crash."""
    name, done = "opencv", child([sys.executable, "-c", "import cv2; print(cv2.__version__)"], here.import_s)
    if done is None:
        return Check(name, False, f"cannot be imported within {spoken(here.import_s)}", "see whether the disk is slow")
    if done.code == 0:
        return Check(name, True, f"{done.out.strip()} can be imported")
    reason = last_line(done.errors) or f"its import ended with {done.code}"
    library = "cannot open shared object" in reason
    return Check(name, False, reason, INSTALL_LIBRARIES if library else "pip install --force-reinstall opencv-python")


def disks(config: Path, here: Machine) -> list[Check]:
    found, seen = [], set()
    state = Path(os.environ.get("STATE_DIRECTORY", "").partition(":")[0] or here.state)
    for place in (state, config.absolute().parent):
        there = next(parent for parent in (place, *place.parents) if parent.is_dir())
        device = there.stat().st_dev
        if device not in seen:
            seen.add(device)
            found.append(_disk(there, writes=place is state))
    return found


def _disk(place: Path, writes: bool) -> Check:
    name, free = f"disk {place}", shutil.disk_usage(place).free
    if writes and os.statvfs(place).f_flag & os.ST_RDONLY:
        return Check(name, False, "is mounted read-only", "see dmesg: a worn-out card or disk ends like this")
    if free < LEAST_FREE:
        return Check(name, False, f"{spoken_size(free)} free", f"free at least {spoken_size(LEAST_FREE)}")
    return Check(name, True, f"{spoken_size(free)} free")


def clock_row() -> Check:
    if clock.synced():
        return Check("clock", True, "synchronised")
    return Check(
        "clock", False, "not synchronised: the time stamps of answers are not reliable", "timedatectl set-ntp true"
    )


def unit(here: Machine) -> Check:
    keys = ("LoadState", "ActiveState", "SubState", "UnitFileState", "Result", "NRestarts")
    done = child(["systemctl", "show", here.unit, *(f"--property={key}" for key in keys)], SYSTEMCTL_S)
    state = dict(line.partition("=")[::2] for line in done.out.splitlines()) if done and done.code == 0 else {}
    match state.get("LoadState"), state.get("ActiveState"):
        case (None, _):
            return Check("systemd", None, "systemd does not run on this machine")
        case ("not-found", _):
            return Check("systemd", None, f"there is no {here.unit}", "to run as a service, see README: As a service")
        case (_, "failed"):
            why = f"{here.unit} has failed ({state.get('Result')})"
            return Check("systemd", False, why, f"journalctl -u {here.unit} -n 50")
        case (_, active):
            restarts = state.get("NRestarts", "0")
            more = f", restarted {counted(int(restarts), 'time')}" if restarts not in ("", "0") else ""
            said = f"{here.unit} is {active} ({state.get('SubState')}), {state.get('UnitFileState') or 'static'}{more}"
            off = state.get("UnitFileState") == "disabled"
            todo = f"systemctl enable {here.unit}, or it will not start at the next boot" if off else None
            return Check("systemd", True, said, todo)
