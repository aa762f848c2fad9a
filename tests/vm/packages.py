"""The guest's kernel, udev and busybox: Debian packages, unpacked into a cache. None of them is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

KERNEL_METAPACKAGE = "linux-image-amd64"
PACKAGES = ("udev", "busybox-static")  # udev makes the links in /dev/v4l
NEEDED = {"qemu-system-x86_64": "qemu-system-x86", "apt-get": "apt", "dpkg-deb": "dpkg"}
DOWNLOAD_S = 300


class Missing(Exception):
    """What the machine lacks, and the package that has it."""


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "edged-tests" / "vm"


def unpacked() -> Path:
    """The folder with the packages' files (400 MB), downloaded unless it is in the cache. Raises Missing."""
    for program, package in NEEDED.items():
        if shutil.which(program) is None:
            raise Missing(f"{program} is not installed: apt-get install {package}")
    versions = [_candidate(package) for package in (_kernel_package(), *PACKAGES)]
    folder = cache_folder() / "_".join(re.sub(r"[^\w.+-]", "-", version) for version in versions)
    if not folder.is_dir():
        _download(versions, folder)
    return folder


def _download(versions: list[str], folder: Path) -> None:
    partial = folder.with_name(f"{folder.name}.{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        _run("apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", *versions, cwd=partial)
        for package in partial.glob("*.deb"):
            _run("dpkg-deb", "-x", str(package), str(partial))
            package.unlink()
        for outdated in folder.parent.iterdir():
            if outdated != partial:
                shutil.rmtree(outdated)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _kernel_package() -> str:
    """The package that the metapackage depends on."""
    depends = _run("apt-cache", "depends", KERNEL_METAPACKAGE)
    found = re.search(r"Depends: (linux-image-\S+)", depends)
    if not found:
        raise Missing(f"apt has no package {KERNEL_METAPACKAGE} (Debian): apt-get update")
    return found[1]


def _candidate(package: str) -> str:
    """PACKAGE=VERSION, as apt would install it now."""
    found = re.search(r"Candidate: (\S+)", _run("apt-cache", "policy", package))
    if not found or found[1] == "(none)":
        raise Missing(f"apt has no package {package}: apt-get update")
    return f"{package}={found[1]}"


def _run(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=DOWNLOAD_S)
    if done.returncode:
        error = done.stderr.strip()[-300:]
        raise Missing(f"{' '.join(command[:2])} failed (apt-get update may help): {error}")
    return done.stdout
