"""Checks the config file and its secrets."""

from __future__ import annotations

from pathlib import Path

from edged.config.load import ConfigError, load
from edged.core.specs import Config
from edged.core.text import counted
from edged.tools.doctor.check import Check

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
        step = "edged init writes a first config; --config FILE names another one"
        return Check("config", False, f"{path} does not exist", step)
    more = f" (and {len(error.problems) - 1} more)" if len(error.problems) > 1 else ""
    return Check("config", False, f"{error.problems[0]}{more}", f"edged check {path}")


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
    missing = [str(warning) for warning in config.warnings if warning.kind == "missing_secret"]
    if missing:
        folder = config.path.absolute().parent / "credentials"
        step = f"write it to {folder}/NAME, mode 0600, or use LoadCredential="
        return Check("secrets", False, "; ".join(missing), step)
    readable = [str(warning) for warning in config.warnings if warning.kind == "clear_password"]
    if readable:
        return Check("secrets", False, "; ".join(readable), f"chmod 600 {config.path}")
    readable = [str(warning) for warning in config.warnings if warning.kind == "readable_secret"]
    if readable:
        step = f"chmod 600 the files, or chmod 700 {config.path.absolute().parent}/credentials"
        return Check("secrets", False, "; ".join(readable), step)
    return Check("secrets", True, "no secret is missing, and no other user can read one")
