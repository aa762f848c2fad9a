"""One thing that was looked at, the machine it was looked at on, and the bounded ways of looking.

What may crash or hang runs in a child. An unexpected error in a check is a line of its own, and no line holds a
credential.
"""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from edged.cameras.environment import OPENCV


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at, and what to do next where something is to be done.

    `ok` is true; false if edged cannot work so, or not well; None if it does not apply here, or could not be judged
    (because something else is missing, or because a running edged holds the NPU). None makes nothing fail.
    """

    name: str
    ok: bool | None
    detail: str
    next: str | None = None


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who has to open the NPU."""

    name: str
    uid: int
    groups: frozenset[int]

    def may_open(self, node: os.stat_result) -> bool:
        """Whether the node's mode lets this user read and write."""
        shift = 6 if self.uid == node.st_uid else 3 if node.st_gid in self.groups else 0
        return self.uid == 0 or (node.st_mode >> shift) & 0o6 == 0o6


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a machine shows what it has, and how long it may take over it. Tests have one of their own."""

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


@dataclass(frozen=True, slots=True)
class Done:
    """A child that ended by itself. A negative code is the signal that ended it."""

    code: int
    out: str
    errors: str


def guarded(look: Callable[[], Iterable[Check]]) -> list[Check]:
    try:
        return list(look())
    except Exception as error:  # one check's defect must not hide the others; its text could hold anything
        where = error.__traceback__
        while where and where.tb_next:
            where = where.tb_next
        line = f"{Path(where.tb_frame.f_code.co_filename).name}:{where.tb_lineno}" if where else "edged"
        return [
            Check("doctor", None, f"unexpected error in a check: {type(error).__name__} at {line}", "report this error")
        ]


def child(command: list[str], limit_s: float) -> Done | None:
    """Run it to its end; None if that did not come in time, or there is no such command."""
    pipe = subprocess.PIPE
    try:
        child = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=os.environ | OPENCV)  # noqa: S603  # our own words
    except OSError:
        return None
    with child:
        with suppress(OSError):  # if memory runs out, this is to go, and not the edged that runs
            Path(f"/proc/{child.pid}/oom_score_adj").write_text("1000")
        try:
            out, errors = child.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            return None
    return Done(child.returncode, out, errors)


def last_line(errors: str) -> str:
    """What a command said last: in edged's name, if it said anything so."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    ours = [line.removeprefix("edged: ") for line in lines if line.startswith("edged: ")]
    return next(iter([*ours[-1:], *lines[-1:]]), "")


def of_import(error: ImportError) -> str:
    return f"{type(error).__name__}: {error}"


def users() -> list[User]:
    """Who runs this, and the service's own user where there is one (its unit adds the group video)."""
    me = os.geteuid()
    found = [User(user_name(me), me, frozenset([os.getegid(), *os.getgroups()]))]
    with suppress(KeyError):
        service = pwd.getpwnam("edged")
        groups = {*os.getgrouplist("edged", service.pw_gid), grp.getgrnam("video").gr_gid}
        found.append(User("edged", service.pw_uid, frozenset(groups)))
    return found


def holders(nodes: Iterable[Path], proc: Path) -> list[str]:
    """The other processes that have one of these open: `edged (pid 812)`. Only root sees those of other users."""
    wanted, found = {str(node) for node in nodes}, []
    for process in proc.glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        with suppress(OSError):
            if any(_points_at(handle) in wanted for handle in (process / "fd").iterdir()):
                found.append(f"{(process / 'comm').read_text().strip()} (pid {process.name})")
    return sorted(found)


def _points_at(handle: Path) -> str:
    try:
        return str(handle.readlink())
    except OSError:
        return ""


def text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def spoken_size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.1f} {unit}" if count < 10 and unit != "bytes" else f"{count:.0f} {unit}"
        count /= 1000
    raise AssertionError


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
