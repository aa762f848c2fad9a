"""Where edged.db is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

NAME = "edged.db"
SERVICE_FILE = Path("/var/lib/edged") / NAME  # where the systemd unit has it


def state_file(node: str, environment: Mapping[str, str]) -> Path:
    """`$STATE_DIRECTORY/edged.db`, else `$XDG_STATE_HOME/edged/<node>/edged.db`; without a home, below /var/lib."""
    if folders := environment.get("STATE_DIRECTORY"):  # systemd separates several by colons
        return Path(folders.split(":")[0]) / NAME
    given, home = Path(environment.get("XDG_STATE_HOME", "")), Path(environment.get("HOME", ""))
    if given.is_absolute():
        return given / "edged" / node / NAME
    return (home / ".local/state" if home.is_absolute() else Path("/var/lib")) / "edged" / node / NAME
