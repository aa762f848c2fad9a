"""`edged install`: puts the command, the service, its user and its folders in place, or removes them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edged.config.load import DEFAULT_PATH
from edged.core.errors import EXIT_OK, EXIT_WRONG
from edged.core.text import system_text
from edged.tools.install import layout
from edged.tools.install.account import run
from edged.tools.install.steps import Action
from edged.tools.install.target import InstallError, Target
from edged.tools.invocation import command_line
from edged.tools.streams import report, write_line

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
    """Install or remove edged, and print a line for each change; the exit code.

    A part that cannot be put in place ends the installation; one that cannot be removed keeps no other from being
    removed, but nothing is removed while the service cannot be stopped. Raises InstallError if something is in the way,
    before anything is changed.

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
    problems = _carry_out(target, actions, options, "everything is in place", required=actions)
    if options.dry_run or problems:
        return _ended(problems)
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
    stop = []
    if target.live and target.path(f"{layout.UNITS}/{layout.UNIT}").exists():
        stop.append(Action("stop and disable", layout.UNIT, _stop))
    problems = _carry_out(target, [*stop, *actions], options, "edged is not installed", required=stop)
    if options.dry_run or problems:
        return _ended(problems)
    if not options.purge and target.path(str(DEFAULT_PATH.parent)).exists():
        write_line(f"kept: {DEFAULT_PATH.parent}, /var/lib/edged and the user edged; --purge removes them")
    return EXIT_OK


def _stop() -> None:
    command = ("systemctl", "disable", "--now", layout.UNIT)
    try:
        run(*command)
    except InstallError as error:
        hint = f'nothing was removed. Run this again when "{" ".join(command)}" succeeds'
        raise InstallError(f"{error}; {hint}") from None


def _carry_out(
    target: Target, actions: Sequence[Action], options: InstallOptions, reason: str, required: Sequence[Action]
) -> list[str]:
    """Do what has to be done, with a line for each action, or say why there is nothing to do; what failed.

    A failure of one of `required` ends it.
    """
    if not actions:
        write_line(f"{reason}; nothing was changed")
    if options.dry_run or not actions:
        for action in actions:
            write_line(action.planned())
        return []
    problems: list[str] = []
    changes = 0
    for action in actions:
        try:
            sentence = action.carry_out() or action.done()
        except (InstallError, OSError) as error:
            problems.append(f"cannot {action.verb} {action.what}: {_reason(error, action.what)}")
            if action in required:
                break
        else:
            changes += 1
            write_line(sentence)
    return problems + (_announce(target) if target.live and changes else [])


def _announce(target: Target) -> list[str]:
    """Let systemd, and udev if it runs, read what was changed; what failed."""
    commands: list[tuple[str, ...]] = [("systemctl", "daemon-reload")]
    if target.path(UDEV).exists():
        commands.append(("udevadm", "control", "--reload"))
        commands.append(("udevadm", "trigger", "--action=change", "--property-match=DEVNAME=/dev/aries*"))
    problems = []
    for command in commands:
        try:
            run(*command)
        except InstallError as error:
            problems.append(f"cannot run {' '.join(command)}: {error}")
    return problems


def _reason(error: InstallError | OSError, what: str) -> str:
    if isinstance(error, InstallError):
        return str(error)
    named = "" if not error.filename or str(error.filename) in what else f"{error.filename}: "
    return f"{named}{system_text(error)}"


def _ended(problems: Sequence[str]) -> int:
    report(*(f"edged: {problem}" for problem in problems))
    return EXIT_WRONG if problems else EXIT_OK


def _note_override(target: Target) -> None:
    override = target.path(layout.OVERRIDE)
    if os.path.lexists(override):
        write_line(f"note: {override} replaces the installed unit; remove it unless that is meant")


def _is_active() -> bool:
    command = ["systemctl", "is-active", "--quiet", layout.UNIT]
    return subprocess.run(command, timeout=10, check=False).returncode == 0  # noqa: S603  # no foreign input
