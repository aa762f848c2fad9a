"""How this edged was started, so that the commands it prints work when they are typed in the same shell."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path


def command_line(*arguments: str) -> str:
    """A shell command that runs this edged, for instance `.venv/bin/edged check edged.yaml`."""
    return shlex.join([*_program(sys.argv[0]), *arguments])


def _program(started_as: str) -> list[str]:
    if Path(started_as).name == "__main__.py":
        return [sys.executable, "-m", "edged"]
    on_path = shutil.which("edged")
    if on_path and Path(on_path).resolve() == Path(started_as).resolve():
        return ["edged"]
    return [started_as if Path(started_as).name == "edged" else "edged"]
