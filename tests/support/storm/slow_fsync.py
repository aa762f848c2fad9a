"""A disk that takes long to sync, as a worn memory card does: the C library's calls are replaced by slow ones."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")
COMPILER = "cc"


class SlowFsync:
    """`environment` is for the process whose disk is to be slow. Without a C compiler it is empty, and nothing is slow.

    `calls` counts the calls that were slow.
    """

    def __init__(self, folder: Path) -> None:
        self._told = folder / "slow-fsync"
        self._effects = folder / "slow-fsync.effects"
        self.environment: dict[str, str] = {}
        if can_be_built():
            library = folder / "slow_fsync.so"
            subprocess.run([COMPILER, "-shared", "-fPIC", "-O1", "-o", library, SOURCE], check=True, timeout=60)
            self.environment = {"LD_PRELOAD": str(library), "SLOW_FSYNC": str(self._told)}

    @property
    def calls(self) -> int:
        return self._effects.read_bytes().count(b"\n") if self._effects.exists() else 0

    def begin(self, milliseconds: int) -> None:
        new = self._told.with_suffix(".new")
        new.write_text(str(milliseconds))
        new.replace(self._told)

    def end(self) -> None:
        self._told.unlink()


def can_be_built() -> bool:
    return shutil.which(COMPILER) is not None
