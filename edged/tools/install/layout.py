"""Which files, folders and users an installation consists of."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from edged.config.load import DEFAULT_PATH
from edged.tools.install.account import HOME, Account
from edged.tools.install.steps import CommandLink, Folder, InstalledFile, Step
from edged.tools.install.target import ROOT, InstallError, Owner, Target

COMMAND = "/usr/local/bin/edged"
UNIT = "edged.service"
# What comes with edged is below /usr/local/lib, and /etc is left to the owner's changes.
UNITS = "/usr/local/lib/systemd/system"
OVERRIDE = f"/etc/systemd/system/{UNIT}"
PLACES = {
    ".service": UNITS,
    ".rules": "/usr/local/lib/udev/rules.d",
    ".sysusers": "/usr/local/lib/sysusers.d",
}
DROP_INS = "/usr/local/share/edged/drop-ins"  # examples; systemd does not read them there
MODELS = f"{HOME}/models"
CACHE = "/var/cache/edged"
COMPLETION = "/usr/local/share/bash-completion/completions/edged"
COMMAND_IN_UNIT = "/opt/edged/venv/bin/edged"
USER = Owner("edged", "edged")
FOR_USER = Owner("root", "edged")  # the service reads it and cannot change it
HIDDEN = {  # from the service, by these settings of its unit
    **dict.fromkeys(("/home", "/root", "/run/user"), "ProtectHome"),
    **dict.fromkeys(("/tmp", "/var/tmp"), "PrivateTmp"),  # noqa: S108
}
SAFE = re.compile(r"[\w./+@-]+")  # needs no escapes in a unit


def steps(target: Target, command: Path, completion: str) -> list[Step]:
    """Every part, in the order of installing. `command` is the edged of the virtual environment."""
    share = Path(str(files("edged") / "share"))
    etc = str(DEFAULT_PATH.parent)
    sysusers = (share / "systemd/edged.sysusers").read_text()
    parts: list[Step] = [
        Account(target, USER.user, "video", sysusers),
        Folder(target, etc, 0o750, FOR_USER),
        Folder(target, f"{etc}/credentials", 0o700, USER),
        Folder(target, HOME, 0o750, USER),
        Folder(target, MODELS, 0o755, ROOT),  # the service cannot change its model
        Folder(target, CACHE, 0o750, USER, by_systemd=True),
        InstalledFile(target, f"{etc}/edged.schema.json", (share / "config/edged.schema.json").read_bytes()),
        InstalledFile(
            target, str(DEFAULT_PATH), (share / "config/edged.yaml").read_bytes(), 0o640, FOR_USER, kept=True
        ),
        InstalledFile(target, COMPLETION, completion.encode()),
        *_service_files(target, share / "systemd", command),
    ]
    if command != Path(COMMAND):
        parts.append(CommandLink(target, COMMAND, command))
    return parts


def own_command(target: Target) -> Path:
    """The command that the service runs, as the target sees it. Raises InstallError if the service could not run it."""
    command = Path(sys.prefix) / "bin/edged"
    if not command.exists():
        raise InstallError(f"there is no {command}: install edged with pip into a virtual environment first")
    for path in (command, Path(sys.executable).resolve()):
        if why := why_not_for_the_service(path, target):
            raise InstallError(f"the service could not run {path}: {why}; install edged into /opt/edged/venv")
    return target.inside(command)


def why_not_for_the_service(path: Path, target: Target) -> str | None:
    """Why the service cannot run this file, by its folder or modes; None if it can."""
    inside = target.inside(path)
    if hidden := next((folder for folder in HIDDEN if inside.is_relative_to(folder)), None):
        return f"the unit hides {hidden} ({HIDDEN[hidden]})"
    if not SAFE.fullmatch(str(inside)):
        return "a systemd unit cannot contain this path"
    parts = [path, *(parent for parent in path.parents if parent.is_relative_to(target.root))]
    closed = next((part for part in reversed(parts) if not part.stat().st_mode & 0o001), None)
    return f"other users may not {'enter' if closed.is_dir() else 'run'} {closed}" if closed else None


def _service_files(target: Target, folder: Path, command: Path) -> Iterator[InstalledFile]:
    """The unit, examples of drop-ins, udev rules and sysusers.d. What belongs to a container stays behind."""
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        place = DROP_INS if file.parent.name == "drop-ins" else PLACES.get(file.suffix)
        if place is None:
            continue
        name = f"{file.stem}.conf" if file.suffix == ".sysusers" else file.name
        content = file.read_text().replace(COMMAND_IN_UNIT, str(command))
        yield InstalledFile(target, f"{place}/{name}", content.encode())
