"""The system that edged is installed on: the running one, or the files of an image."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from edged.core.errors import EdgedError


class InstallError(EdgedError):
    """edged cannot be installed or removed like this; the text says what is missing or in the way."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A user and a group by their names."""

    user: str = "root"
    group: str = "root"

    def __str__(self) -> str:
        return f"{self.user}:{self.group}"


ROOT = Owner()


@dataclass(frozen=True, slots=True)
class Target:
    """The system whose files are below `root`. `live` is True if it is the one that runs, with systemd."""

    root: Path
    live: bool

    def path(self, inside: str) -> Path:
        """Where a file of that system is. Raises InstallError if a link leads to outside of an image."""
        path = self.root / inside.lstrip("/")
        parent = Path(os.path.realpath(path.parent))
        if not parent.is_relative_to(os.path.realpath(self.root)):
            raise InstallError(f"{path.parent} leads out of {self.root}, to {parent}")
        return path

    def inside(self, path: Path) -> Path:
        """The path as that system sees it."""
        return Path("/") / path.relative_to(self.root) if path.is_relative_to(self.root) else path

    def user(self, name: str) -> int | None:
        """The number of a user of that system; None if there is none."""
        return _number(self.root / "etc/passwd", name)

    def group(self, name: str) -> int | None:
        return _number(self.root / "etc/group", name)

    def members(self, group: str) -> set[str]:
        """The users that /etc/group lists for a group."""
        entry = _entry(self.root / "etc/group", group)
        return set(entry[3].split(",")) if len(entry) > 3 else set()

    def ids(self, owner: Owner) -> tuple[int, int] | None:
        """None if the user or the group does not exist yet."""
        user, group = self.user(owner.user), self.group(owner.group)
        return None if user is None or group is None else (user, group)


def _number(file: Path, name: str) -> int | None:
    if name == "root":
        return 0
    entry = _entry(file, name)
    return int(entry[2]) if len(entry) > 2 else None


def _entry(file: Path, name: str) -> list[str]:
    """The fields of a line of /etc/passwd or /etc/group; empty if there is none."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        lines = []
    return next((fields for line in lines if (fields := line.split(":"))[0] == name), [])
