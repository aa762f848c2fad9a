"""Where edged.db is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

NAME = "edged.db"


def state_file(node: str, environment: Mapping[str, str]) -> Path:
    """`$STATE_DIRECTORY/edged.db`, else `$XDG_STATE_HOME/edged/<node>/edged.db`."""
    if folders := environment.get("STATE_DIRECTORY"):  # systemd separates several by colons
        return Path(folders.split(":")[0]) / NAME
    home = environment.get("XDG_STATE_HOME") or ""
    state = Path(home) if Path(home).is_absolute() else Path.home() / ".local/state"
    return state / "edged" / node / NAME
