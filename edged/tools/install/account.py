"""The user that the service runs as, made by systemd-sysusers, or by useradd where there is none."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass

from edged.tools.install.steps import Action
from edged.tools.install.target import InstallError, Target

LIMIT_S = 60.0
HOME = "/var/lib/edged"


@dataclass(frozen=True, slots=True)
class Account:
    """The user `name`, in a group of its own and in `group`; `sysusers` is the content of a sysusers.d file."""

    target: Target
    name: str
    group: str
    sysusers: str

    def to_do(self) -> Action | None:
        if self.target.user(self.name) is None:
            return Action("create", f"user {self.name} (member of {self.group})", self._create)
        if self.name not in self.target.members(self.group):
            return Action("add", f"user {self.name} to group {self.group}", self._create)
        return None

    def to_undo(self, purge: bool) -> Action | None:
        """Only with everything that it owns."""
        there = purge and self.target.user(self.name) is not None
        return Action("remove", f"user {self.name}", self._remove) if there else None

    def _create(self) -> None:
        if shutil.which("systemd-sysusers"):
            where = [] if self.target.live else [f"--root={self.target.root}"]
            run("systemd-sysusers", *where, "-", given=self.sysusers)
        elif shutil.which("useradd"):
            self._create_with_useradd()
        else:
            raise InstallError("there is neither systemd-sysusers nor useradd")
        if self.target.user(self.name) is None:
            raise InstallError(f"the user {self.name} was not created")

    def _create_with_useradd(self) -> None:
        prefix = ("--prefix", str(self.target.root))
        if self.target.group(self.group) is None:
            run("groupadd", *prefix, "--system", self.group)
        if self.target.user(self.name) is None:
            shell = ("--shell", "/usr/sbin/nologin")
            run(
                "useradd",
                *prefix,
                "--system",
                "--user-group",
                "--no-create-home",
                "--home-dir",
                HOME,
                *shell,
                self.name,
            )
        run("usermod", *prefix, "--append", "--groups", self.group, self.name)

    def _remove(self) -> None:
        prefix = ("--prefix", str(self.target.root))
        run("userdel", *prefix, self.name)
        if self.target.group(self.name) is not None:  # /etc/login.defs decides whether userdel removes it
            run("groupdel", *prefix, self.name)


def run(program: str, *arguments: str, given: str = "") -> None:
    """Raises InstallError with the last line of what the program printed."""
    try:
        done = subprocess.run(  # noqa: S603  # names and options of our own, no shell
            [program, *arguments], input=given, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    except FileNotFoundError:
        raise InstallError(f"{program} is not installed") from None
    except subprocess.TimeoutExpired:
        raise InstallError(f"{program} did not end within {LIMIT_S:.0f} s") from None
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise InstallError(f"{program}: {lines[-1] if lines else f'exit code {done.returncode}'}")
