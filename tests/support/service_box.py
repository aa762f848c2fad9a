"""edged as a service of a real systemd, in a container whose changes are dropped (see support/debian.py).

The root folder of a Debian release is made once, and kept in .systemd.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from support import debian
from support.broker import until

SOURCE = Path(__file__).parent.parent.parent
ROOTS = SOURCE / ".systemd"
PACKAGES = {
    "bookworm": ("mosquitto", "mosquitto-clients", "libgl1", "libglib2.0-0"),
    "trixie": ("mosquitto", "mosquitto-clients", "libgl1", "libglib2.0-0t64"),
}
OPTIONS = [
    "--volatile=overlay",
    "--private-network",
    "--resolv-conf=off",
    # without bpf and these capabilities systemd does not enforce DevicePolicy= in a container, and says nothing
    "--system-call-filter=bpf",
    "--capability=CAP_BPF,CAP_NET_ADMIN,CAP_PERFMON",
]
UNIT = "/etc/systemd/system/edged.service"
COMMAND = """#!/bin/sh
export LD_LIBRARY_PATH=/opt/edged/python/lib PYTHONPATH=/opt/edged/source:/opt/edged/source/tests OMP_NUM_THREADS=2
exec /opt/edged/venv/bin/python -m support.planted "$@"
"""
CONFIG = """node: box
model: {path: /opt/edged/source/edged/demo/model, max_new_tokens: 4, deadline: 2s}
mqtt: {url: "mqtt://127.0.0.1:1883"}
cameras:
  dock:
    source: /opt/edged/pictures/dock.png
    every: 1s
    ask: {people: {prompt: "How many people are here?", answer: integer, range: [0, 9]}}
"""


def root_folder(release: str) -> Path:
    """The root folder of a release; made if there is none, which takes a minute or two."""
    root = ROOTS / release
    if not root.exists():
        ROOTS.mkdir(exist_ok=True)
        part = ROOTS / f"{release}.part"
        shutil.rmtree(part, ignore_errors=True)
        debian.build(part, PACKAGES[release], release)
        part.rename(root)
    return root


class Box:
    """edged as a service in a container, installed as README says; the command also plants failures: `plant`."""

    def __init__(self, release: str, pictures: Path) -> None:
        self._release = release
        self._pictures = pictures
        self._python = f"python{sys.version_info.major}.{sys.version_info.minor}"
        self._stack = ExitStack()

    def __enter__(self) -> Box:
        packages = next(path for path in sys.path if path.endswith(f"{self._python}/site-packages"))
        binds = {
            SOURCE: "/opt/edged/source",
            sys.base_prefix: "/opt/edged/python",
            packages: f"/opt/edged/venv/lib/{self._python}/site-packages",
            self._pictures: "/opt/edged/pictures",
        }
        shown = [f"--bind-ro={here}:{there}" for here, there in binds.items()]
        name = f"edged-{self._release}-{os.getpid()}"
        with ExitStack() as stack:
            self._container = stack.enter_context(debian.booted(root_folder(self._release), name, *OPTIONS, *shown))
            self._install()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command as root; its output has its errors too."""
        done = self._container.run(shlex.join(command), 120)
        assert not check or done.returncode == 0, (command, done.returncode, done.stdout[-2000:])
        return done

    def put(self, path: str, text: str, mode: str = "644", group: str = "root") -> None:
        command = f"install -D -m {mode} -g {group} /dev/stdin {path} <<'END'\n{text.rstrip()}\nEND\n"
        done = self._container.run(command)
        assert done.returncode == 0, done.stdout

    def _install(self) -> None:
        self.put("/opt/edged/venv/pyvenv.cfg", "home = /opt/edged/python/bin\n")
        self.put("/opt/edged/venv/bin/edged", COMMAND, "755")
        self.run("ln", "-s", f"/opt/edged/python/bin/{self._python}", "/opt/edged/venv/bin/python")
        self.put("/usr/lib/sysusers.d/edged.conf", (SOURCE / "systemd/edged.sysusers").read_text())
        self.run("systemd-sysusers")
        self.put(UNIT, (SOURCE / "systemd/edged.service").read_text())
        self.run("install", "-d", "-m", "750", "-g", "edged", "/etc/edged")

    def reset(self) -> None:
        """As after the installation, with a valid config, and stopped."""
        self.plant("")
        self.run("systemctl", "stop", "edged", check=False)
        self.run("rm", "-rf", f"{UNIT}.d")
        self.configure(CONFIG)
        self.run("systemctl", "daemon-reload")
        self.run("systemctl", "reset-failed", "edged", check=False)
        self.run("journalctl", "--rotate", check=False)
        self.run("journalctl", "--vacuum-time=1s", check=False)

    def configure(self, text: str) -> None:
        self.put("/etc/edged/edged.yaml", text, "640", "edged")

    def plant(self, failure: str) -> None:
        """What `support.planted` does from now on."""
        self.put("/etc/edged-planted", failure)

    def drop_in(self, settings: str, name: str = "test.conf") -> None:
        self.put(f"{UNIT}.d/{name}", settings)
        self.run("systemctl", "daemon-reload")

    def systemctl(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("systemctl", *arguments, check=check)

    def property(self, name: str) -> str:
        return self.systemctl("show", "edged", f"--property={name}", "--value").stdout.strip()

    def until(self, name: str, value: str, limit_s: float = 60.0) -> None:
        """Until a property of the unit matches."""
        until(lambda: re.fullmatch(value, self.property(name)), limit_s)

    def log(self, *options: str) -> str:
        return self.run("journalctl", "-u", "edged", "-o", "cat", "--no-pager", "--quiet", *options).stdout

    def until_logged(self, text: str, limit_s: float = 60.0) -> None:
        until(lambda: text in self.log(), limit_s)

    def retained(self, topic: str) -> str:
        command = ["mosquitto_sub", "-t", topic, "-C", "1", "-W", "5"]
        return self.run(*command, check=False).stdout.strip()

    def start(self) -> float:
        """Start the service; the seconds until systemd called it active."""
        begun = time.monotonic()
        self.systemctl("start", "edged")
        return time.monotonic() - begun
