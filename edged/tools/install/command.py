"""`edged install`: puts the command, the service, its user and its folders in place, or removes them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edged.config.load import DEFAULT_PATH
from edged.core.errors import EXIT_OK
from edged.tools.install import layout
from edged.tools.install.account import run
from edged.tools.install.steps import Action
from edged.tools.install.target import InstallError, Target
from edged.tools.invocation import command_line
from edged.tools.streams import write_line

SYSTEMD = "/run/systemd/system"
UDEV = "/run/udev/control"
NEXT_STEPS = f"""\
next:
  put the model folder into {layout.MODELS}/qwen2-vl-2b: edged prepare --help
  edit {DEFAULT_PATH}
  write passwords to {DEFAULT_PATH.parent}/credentials/NAME: owner {layout.USER.user}, mode 0600
  sudo -u edged edged doctor
  sudo systemctl enable --now edged"""


@dataclass(frozen=True, slots=True)
class InstallOptions:
    """`root` is the top folder of an image; None is the running system."""

    root: Path | None = None
    dry_run: bool = False
    uninstall: bool = False
    purge: bool = False


def install(
    options: InstallOptions,
    completion: str,
    own_command: Callable[[Target], Path] = layout.own_command,
    running: Path = Path("/"),
) -> int:
    """Install or remove edged, and print a line for each change; the exit code. Raises InstallError.

    `completion` is the completion file for bash, `own_command` finds the command that the service runs. `running` is
    the top folder of the running system; tests use another.
    """
    target = _target(options, running)
    os.umask(0o022)  # folders of /usr/local may have to be created
    try:
        return _remove(target, options) if options.uninstall else _install(target, options, completion, own_command)
    except OSError as error:
        raise InstallError(f"{error.filename or options.root}: {error.strerror}") from None


def _target(options: InstallOptions, running: Path) -> Target:
    if os.geteuid() != 0 and not options.dry_run:
        raise InstallError(f"must run as root: sudo {command_line('install')}")
    if options.root is not None:
        if not options.root.is_dir():
            raise InstallError(f"--root: there is no folder {options.root}")
        return Target(options.root.absolute(), live=False)
    target = Target(running, live=True)
    if not target.path(SYSTEMD).is_dir():
        raise InstallError(
            f"systemd does not run on this machine (there is no {SYSTEMD}); --root / installs the files all the same"
        )
    return target


def _install(target: Target, options: InstallOptions, completion: str, own_command: Callable[[Target], Path]) -> int:
    parts = layout.steps(target, own_command(target), completion)
    actions = [action for part in parts if (action := part.to_do())]
    _carry_out(target, actions, options, "everything is in place")
    if options.dry_run:
        return EXIT_OK
    _note_override(target)
    if target.live and _is_active():
        write_line("edged is running; this puts the installed version into service: systemctl restart edged")
    else:
        write_line(NEXT_STEPS)
    return EXIT_OK


def _remove(target: Target, options: InstallOptions) -> int:
    """Config and data are kept, and so is their owner, unless they are purged."""
    parts = layout.steps(target, Path(layout.COMMAND_IN_UNIT), "")
    actions = [action for part in reversed(parts) if (action := part.to_undo(options.purge))]
    if target.live and target.path(f"{layout.UNITS}/{layout.UNIT}").exists():
        stop = ("systemctl", "disable", "--now", layout.UNIT)
        actions.insert(0, Action("stop and disable", layout.UNIT, lambda: run(*stop)))
    _carry_out(target, actions, options, "edged is not installed")
    if options.dry_run:
        return EXIT_OK
    if not options.purge and target.path(str(DEFAULT_PATH.parent)).exists():
        write_line(f"kept: {DEFAULT_PATH.parent}, /var/lib/edged and the user edged; --purge removes them")
    return EXIT_OK


def _carry_out(target: Target, actions: Sequence[Action], options: InstallOptions, reason: str) -> None:
    """Do what has to be done, with a line for each action; or say why there is nothing to do."""
    for action in actions:
        if not options.dry_run:
            action.carry_out()
        write_line(action.planned() if options.dry_run else action.done())
    if not actions:
        write_line(f"{reason}; nothing was changed")
    elif target.live and not options.dry_run:
        _announce(target)


def _announce(target: Target) -> None:
    """Let systemd, and udev if it runs, read what was changed."""
    run("systemctl", "daemon-reload")
    if target.path(UDEV).exists():
        run("udevadm", "control", "--reload")
        run("udevadm", "trigger", "--action=change", "--property-match=DEVNAME=/dev/aries*")


def _note_override(target: Target) -> None:
    override = target.path(layout.OVERRIDE)
    if os.path.lexists(override):
        write_line(f"note: {override} replaces the installed unit; remove it unless that is meant")


def _is_active() -> bool:
    command = ["systemctl", "is-active", "--quiet", layout.UNIT]
    return subprocess.run(command, timeout=10, check=False).returncode == 0  # noqa: S603  # no foreign input
