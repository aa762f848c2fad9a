"""The command that installs Python packages where this edged runs: the `pip` on the PATH may serve another Python."""

from __future__ import annotations

import os
import shlex
import sys
import sysconfig


def pip_install(*arguments: str) -> str:
    """A shell command, such as `sudo /opt/edged/venv/bin/python -m pip install 'edged[page]'`.

    With sudo if this user may not write there.
    """
    command = [sys.executable, "-m", "pip", "install", *arguments]
    return shlex.join(command if os.access(sysconfig.get_path("purelib"), os.W_OK) else ["sudo", *command])
