"""Checks the config file and its secrets."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from edged.config.exposure import running_uid, user_name
from edged.config.load import ConfigError, load
from edged.core.specs import Config, WarningKind
from edged.core.text import counted
from edged.tools.doctor.check import Check
from edged.tools.invocation import command_line

NO_CONFIG = "not checked: there is no valid config"


def read_config(path: Path) -> tuple[Config | None, list[Check]]:
    """The config, if it is valid, and its checks."""
    try:
        config = load(path)
    except ConfigError as error:
        return None, [_invalid(path, error), Check("secrets", None, NO_CONFIG)]
    questions = len(config.all_questions())
    detail = f"{path}: {counted(len(config.cameras), 'camera')}, {counted(questions, 'question')}"
    return config, [Check("config", True, detail), _secrets(config)]


def _invalid(path: Path, error: ConfigError) -> Check:
    if _is_missing(path):
        step = f"{command_line('init')} writes a first config; --config FILE names another one"
        return Check("config", False, f"{path} does not exist", step)
    more = f" (and {len(error.problems) - 1} more)" if len(error.problems) > 1 else ""
    return Check("config", False, f"{error.problems[0]}{more}", command_line("check", str(path)))


def _is_missing(path: Path) -> bool:
    """False if it may not be examined."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _secrets(config: Config) -> Check:
    folder = config.path.absolute().parent / "credentials"
    uid = running_uid(folder)
    user, file = user_name(uid), shlex.quote(f"{folder}/NAME")
    denied = f"give it to the user that runs edged: sudo chown {user} {file}"
    if uid != os.geteuid() != 0:
        denied = f"run this as the user {user}: sudo -u {user} {command_line('doctor', '--config', str(config.path))}"
    steps: dict[WarningKind, str] = {
        "missing_secret": f"write it to {folder}/NAME, owner {user}, mode 0600, or use LoadCredential=",
        "denied_secret": denied,
        "clear_password": f"chmod 600 {shlex.quote(str(config.path))}",
        "readable_secret": f"the files must belong to {user} and have mode 0600",
    }
    for kind, step in steps.items():
        if found := [str(warning) for warning in config.warnings if warning.kind == kind]:
            return Check("secrets", False, "; ".join(found), step)
    return Check("secrets", True, "no secret is missing, and no other user can read one")
