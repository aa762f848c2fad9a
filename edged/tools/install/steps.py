"""What an installation consists of: each step knows what is missing, how to do it, and how to undo it.

Nothing is changed before every step was asked what it has to do, so that an obstacle leaves the system as it was.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from edged.config.load import DEFAULT_PATH
from edged.tools.install.target import ROOT, InstallError, Owner, Target

PAST = {
    "create": "created",
    "write": "wrote",
    "replace": "replaced",
    "set": "set",
    "remove": "removed",
    "add": "added",
    "stop and disable": "stopped and disabled",
}


@dataclass(frozen=True, slots=True)
class Action:
    """Something to be done: `verb` is one of PAST, `what` the rest of the sentence.

    `carry_out` returns None, or a sentence about what could not be removed and is no failure.
    """

    verb: str
    what: str
    carry_out: Callable[[], str | None]

    def planned(self) -> str:
        return f"would {self.verb} {self.what}"

    def done(self) -> str:
        return f"{PAST[self.verb]} {self.what}"


class Step(Protocol):
    """One part of an installation."""

    def to_do(self) -> Action | None:
        """What has to be done; None if this part is in place. Raises InstallError if it is impossible."""

    def to_undo(self, purge: bool) -> Action | None:
        """What has to be done to remove this part; None if it is not there or is kept."""


@dataclass(frozen=True, slots=True)
class InstalledFile:
    """A file that comes with edged, or with `kept` an example that belongs to the owner once it is there."""

    target: Target
    path: str
    content: bytes
    mode: int = 0o644
    owner: Owner = ROOT
    kept: bool = False

    def to_do(self) -> Action | None:
        path = self.target.path(self.path)
        if not os.path.lexists(path):
            return Action("write", str(path), self._write)
        if self.kept or (_is_file(path) and path.read_bytes() == self.content and self._has_mode(path)):
            return None
        if path.is_dir() and not path.is_symlink():
            raise InstallError(f"{path} is a folder; edged has a file of that name")
        return Action("replace", str(path), self._write)

    def to_undo(self, purge: bool) -> Action | None:
        path = self.target.path(self.path)
        there = os.path.lexists(path) and (purge or not self.kept)
        return Action("remove", str(path), self._remove) if there else None

    def _remove(self) -> None:
        """With the folders of edged that become empty."""
        self.target.path(self.path).unlink()
        for folder in Path(self.path).parents:
            if "edged" in folder.parts and folder != DEFAULT_PATH.parent:
                with suppress(OSError):
                    self.target.path(str(folder)).rmdir()

    def _has_mode(self, path: Path) -> bool:
        status = path.stat()
        return (stat.S_IMODE(status.st_mode), (status.st_uid, status.st_gid)) == (self.mode, self._ids())

    def _ids(self) -> tuple[int, int] | None:
        return self.target.ids(self.owner)

    def _write(self) -> None:
        """The file is complete or not there at all."""
        path = self.target.path(self.path)
        new = _beside(path)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(self.content)
            os.fchown(file.fileno(), *_known(self._ids(), self.owner))
            os.fchmod(file.fileno(), self.mode)
        new.replace(path)


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of the service. Its content, which is the owner's, goes only with `purge`.

    With `by_systemd`, it is the unit that makes the folder when the service starts.
    """

    target: Target
    path: str
    mode: int
    owner: Owner
    by_systemd: bool = False

    def to_do(self) -> Action | None:
        path = self.target.path(self.path)
        if self.by_systemd:
            return None
        wanted = f"{path} (mode {self.mode:04o}, {self.owner})"
        if not os.path.lexists(path):
            return Action("create", f"folder {wanted}", self._create)
        if path.is_symlink() or not path.is_dir():
            raise InstallError(f"{path} is not a folder; move it away")
        status = path.stat()
        if (status.st_uid, status.st_gid) != self.target.ids(self.owner) or stat.S_IMODE(status.st_mode) != self.mode:
            return Action("set", f"owner and mode of {wanted}", self._set_mode)
        return None

    def to_undo(self, purge: bool) -> Action | None:
        path = self.target.path(self.path)
        if not purge or not path.is_dir() or path.is_symlink():
            return None
        return Action("remove", f"{path} and everything in it", partial(_remove_folder, path))

    def _create(self) -> None:
        path = self.target.path(self.path)
        path.mkdir(mode=0o700, parents=True)
        self._set_mode()

    def _set_mode(self) -> None:
        path = self.target.path(self.path)
        os.chown(path, *_known(self.target.ids(self.owner), self.owner))
        path.chmod(self.mode)


@dataclass(frozen=True, slots=True)
class CommandLink:
    """The command on everybody's path, a link to the one in the virtual environment."""

    target: Target
    path: str
    command: Path  # as the target sees it

    def to_do(self) -> Action | None:
        path = self.target.path(self.path)
        if not os.path.lexists(path):
            return Action("create", f"link {path} to {self.command}", self._link)
        if not _leads_to_edged(path):
            raise InstallError(f"{path} exists and is not a link to edged; move it away")
        if path.readlink() == self.command:
            return None
        return Action("replace", f"link {path}, now to {self.command}", self._link)

    def to_undo(self, purge: bool) -> Action | None:
        path = self.target.path(self.path)
        return Action("remove", f"link {path}", path.unlink) if _leads_to_edged(path) else None

    def _link(self) -> None:
        path = self.target.path(self.path)
        new = _beside(path)
        new.symlink_to(self.command)
        new.replace(path)


def _remove_folder(path: Path) -> str | None:
    """Remove it with its content. A mount point stays, as does a folder with one in it: says so."""
    if _removed(path):
        return None
    for child in list(path.iterdir()):
        if child.is_dir() and not child.is_symlink():
            _removed(child)
        else:
            child.unlink()
    if any(path.iterdir()):
        return f"kept: {path} contains a mount point; removed everything else in it"
    return f"kept: {path} is a mount point; removed everything in it"


def _removed(folder: Path) -> bool:
    """False if it is a mount point, or there is one in it; then something of its content may be left."""
    try:
        shutil.rmtree(folder)
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
            raise
        return False
    return True


def _beside(path: Path) -> Path:
    """Where the replacement of `path` is made, in the same folder. Nothing is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    with suppress(FileNotFoundError):
        new.unlink()
    return new


def _leads_to_edged(path: Path) -> bool:
    return path.is_symlink() and path.readlink().name == "edged"


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _known(ids: tuple[int, int] | None, owner: Owner) -> tuple[int, int]:
    if ids is None:
        raise InstallError(f"there is no user and group {owner}")
    return ids
