"""The machine that is examined: its files, users and processes."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from edged.config.exposure import user_name


@dataclass(frozen=True, slots=True)
class User:
    """A user who has to open the NPU."""

    name: str
    uid: int
    groups: frozenset[int]

    def may_open(self, node: os.stat_result) -> bool:
        """True if the node's mode lets this user read and write."""
        shift = 6 if self.uid == node.st_uid else 3 if node.st_gid in self.groups else 0
        return self.uid == 0 or (node.st_mode >> shift) & 0o6 == 0o6


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the machine's state can be read, and the time limits of the checks. Tests use their own."""

    dev: Path = Path("/dev")
    proc: Path = Path("/proc")
    modules: Path = Path("/sys/module")
    state: Path = Path("/var/lib/edged")
    unit: str = "edged.service"
    users: Callable[[], Sequence[User]] = field(default_factory=lambda: users)
    import_s: float = 60.0
    question_s: float = 240.0
    camera_s: float = 20.0
    broker_s: float = 12.0


def users() -> list[User]:
    """The user of this process, and the service's user if it exists (its unit adds the group video)."""
    uid = os.geteuid()
    accounts = [User(user_name(uid), uid, frozenset([os.getegid(), *os.getgroups()]))]
    with suppress(KeyError):
        service = pwd.getpwnam("edged")
        groups = {*os.getgrouplist("edged", service.pw_gid), grp.getgrnam("video").gr_gid}
        accounts.append(User("edged", service.pw_uid, frozenset(groups)))
    return accounts


def holders(nodes: Iterable[Path], proc: Path) -> list[str]:
    """The other processes that have one of these nodes open, as `edged (pid 812)`.

    Only root sees the open files of other users' processes.
    """
    paths, processes = {str(node) for node in nodes}, []
    for process in proc.glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        with suppress(OSError):
            if any(_target(link) in paths for link in (process / "fd").iterdir()):
                processes.append(f"{(process / 'comm').read_text().strip()} (pid {process.name})")
    return sorted(processes)


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
