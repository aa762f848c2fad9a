"""Chooses the config file of a command when none is named."""

from __future__ import annotations

import os
from pathlib import Path

from edged.core.errors import EXIT_CONFIG, EdgedError
from edged.tools.streams import note

LOCAL_PATH = Path("edged.yaml")


class NoConfig(EdgedError):
    """No config was named, and there is none at the two default paths."""

    code = EXIT_CONFIG


def config_file(named: Path | None, system: Path, local: Path = LOCAL_PATH) -> Path:
    """The file named, else the system's, else the one in the working directory, which is reported. Raises NoConfig."""
    if named is not None:
        return named
    if _exists(system):
        return system
    if _exists(local):
        note(f"edged: using ./{local}")
        return local
    raise NoConfig(f"no config: neither {system} nor ./{local} exists; edged init writes one")


def _exists(path: Path) -> bool:
    """Also true if it may not be examined: using another file instead would hide that."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
