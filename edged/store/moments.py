"""Monotonic moments on disk: exact within one boot of the machine, by the wall clock over a reboot."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Clocks:
    """The clocks of this process. `boot` is the row of this boot in the file."""

    boot: int
    synced: Callable[[], bool]

    def wall(self, moment: float) -> float | None:
        """When a monotonic moment is, by the wall clock; None for never, and while that clock is not synchronised."""
        if moment == math.inf or not self.synced():
            return None
        return time.time() + (moment - time.monotonic())

    def monotonic(self, boot: int, mono: float | None, wall: float | None) -> float:
        """The monotonic moment that was stored. Infinite for never, and if no clock can tell."""
        if boot == self.boot and mono is not None:
            return mono
        if wall is None or not self.synced():
            return math.inf
        return time.monotonic() + (wall - time.time())


def this_boot(connection: sqlite3.Connection) -> int:
    """The row of this boot; a new one where the kernel does not tell. Raises sqlite3.Error."""
    try:
        name = BOOT_ID.read_text().strip()
    except OSError:
        name = f"unknown-{time.time_ns()}"
    connection.execute("INSERT OR IGNORE INTO boot (name) VALUES (?)", (name,))
    row = connection.execute("SELECT id FROM boot WHERE name = ?", (name,)).fetchone()
    return int(row[0])
