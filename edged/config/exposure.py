"""Who can read a file that has a credential in it, and who should: the user that runs edged."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import stat
from pathlib import Path

SERVICE = "edged"


def others_can_read(file: Path) -> bool:
    """True if the modes of the file and of its folders let a user read it who is not its owner, root or the service.

    False if it cannot be examined.
    """
    try:
        path = Path(os.path.realpath(file))
        status, folders = path.stat(), [folder.stat() for folder in path.parents]
    except OSError:
        return False
    if status.st_mode & stat.S_IROTH and all(folder.st_mode & stat.S_IXOTH for folder in folders):
        return True
    if not status.st_mode & stat.S_IRGRP or _is_private(status):
        return False
    return all(
        folder.st_mode & stat.S_IXOTH or (folder.st_mode & stat.S_IXGRP and folder.st_gid == status.st_gid)
        for folder in folders
    )


def commands_to_protect(file: Path) -> str:
    """The shell commands after which only the user that runs edged, and root, can read the file."""
    uid, name = running_uid(file.parent), shlex.quote(str(file))
    if _owner(file) == uid:
        return f"chmod 600 {name}"
    return f"sudo chown {user_name(uid)} {name}; sudo chmod 600 {name}"


def running_uid(credentials: Path) -> int:
    """The user that runs edged, as far as this can be seen.

    The owner of that folder; if that is root, the caller; if that is root too, the user of the service.
    """
    return _owner(credentials) or os.geteuid() or _service_user()


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _owner(path: Path) -> int | None:
    try:
        return path.stat().st_uid
    except OSError:
        return None


def _is_private(status: os.stat_result) -> bool:
    """True if nobody else is in the group: that of root, of the service, or the one that a user has of its own."""
    return status.st_gid in {0, status.st_uid, _service_group()}


def _service_user() -> int:
    """That of root if there is none."""
    try:
        return pwd.getpwnam(SERVICE).pw_uid
    except KeyError:
        return 0


def _service_group() -> int | None:
    try:
        return grp.getgrnam(SERVICE).gr_gid
    except KeyError:
        return None
