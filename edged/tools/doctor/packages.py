"""Checks Python, the installed packages and OpenCV."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata

from edged.core.errors import EdgedError
from edged.core.pip import pip_install
from edged.tools.doctor.check import Check
from edged.tools.doctor.child import probe_command, run_probe
from edged.tools.doctor.machine import Machine

PYTHONS = ((3, 11), (3, 12))  # the vendor's Python packages support no other
OPENCV_LIBRARIES = "sudo apt-get install libgl1 libglib2.0-0"


@dataclass(frozen=True, slots=True)
class Package:
    """A package that edged needs: its names on the package index, and the tested versions (from, up to).

    tests/test_doctor.py compares these with pyproject.toml.
    """

    names: tuple[str, ...]
    least: str | None = None
    below: str | None = None
    compiled_only: bool = False

    @property
    def requirement(self) -> str:
        bounds = (f"{sign}{version}" for sign, version in ((">=", self.least), ("<", self.below)) if version)
        return f"{self.names[0]}{','.join(bounds)}"


PACKAGES = (
    Package(("torch",), "2.4.1", "2.14"),
    Package(("transformers",), "5.12", "5.18"),
    Package(
        ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
        "4.12",
        "6",
    ),
    Package(("paho-mqtt",), "2.2", "3"),
    Package(("llguidance",), "1.3", "2"),
)


VENDOR = (  # one of them, in this order
    Package(("transformers-mblt",), "0.6.1", "0.7", compiled_only=True),
    Package(("mblt-model-zoo",), "2.10", "2.11", compiled_only=True),
)


RUNTIME = Package(("mobilint-qb-runtime",), "1.5", "1.6", compiled_only=True)


def python() -> Check:
    detail = f"{platform.python_version()}, {platform.machine()}"
    if sys.version_info[:2] in PYTHONS:
        return Check("python", True, detail)
    return Check("python", False, detail, "install edged in an environment with Python 3.11 or 3.12")


def packages(compiled: bool | None) -> list[Check]:
    """By the metadata of the installed packages; none of them is imported."""
    vendor = next((package for package in VENDOR if _version(package.names)), VENDOR[-1])
    return [package_check(package, compiled) for package in (*PACKAGES, vendor, RUNTIME)]


def package_check(package: Package, compiled: bool | None) -> Check:
    name, install = f"package {package.names[0]}", pip_install(package.requirement)
    installed = _version(package.names)
    if installed is None:
        if package.compiled_only and not compiled:
            reason = "needed for a compiled model only" if compiled is None else "not needed: the model is not compiled"
            return Check(name, None, f"not installed; {reason}")
        return Check(name, False, "not installed", install)
    installed_name, version = installed
    detail = version if installed_name == package.names[0] else f"{version} ({installed_name})"
    least, below = (version_numbers(bound) if bound else None for bound in (package.least, package.below))
    if (least and version_numbers(version) < least) or (below and version_numbers(version) >= below):
        return Check(name, False, f"{detail} is not a tested version", install)
    return Check(name, True, detail)


def _version(names: Sequence[str]) -> tuple[str, str] | None:
    """The first of these packages that is installed, and its version."""
    for name in names:
        with suppress(metadata.PackageNotFoundError):
            return name, metadata.version(name)
    return None


def version_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3])


def opencv(machine: Machine) -> Check:
    """In a child process: its import loads libraries of the system, and may crash."""
    return opencv_from(probe_command("opencv"), machine.import_s)


def opencv_from(command: list[str], limit_s: float) -> Check:
    again = pip_install("--force-reinstall", "opencv-python")
    try:
        version = run_probe(command, limit_s)["version"]
    except EdgedError as error:
        match error.kind:
            case "timeout":
                step = "check whether the disk is slow"
            case "system_library":
                step = f"{OPENCV_LIBRARIES}; if that does not help: {again}"
            case _:
                step = again
        return Check("opencv", False, f"cannot be imported: {error}", step)
    return Check("opencv", True, f"{version} can be imported")
