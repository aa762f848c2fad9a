"""edged as a service of a real systemd, in a container whose changes are dropped (see support/debian.py).

With mosquitto and the demo's model; there is also a "compiled" one for the simulated NPU of support/npu.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from support import debian
from support.broker import until
from support.making import picture
from support.npu import compiled

SOURCE = Path(__file__).parent.parent.parent
SHORT = debian.oldest_release()  # the one of the tests without --long
# The libraries of python3 are also those of the Python of this machine, which runs in the container.
PACKAGES = {
    "bookworm": ("mosquitto-clients", "python3", "libgl1", "libglib2.0-0"),
    "trixie": ("mosquitto-clients", "python3", "libgl1", "libglib2.0-0t64"),
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
PLAIN = SOURCE / "edged/demo/model"
# for the Python of this machine: its libraries, edged, and the simulated NPU
LIBRARY = "/opt/edged/python/lib"
PYTHONPATH = ":".join(f"/opt/edged/source/{folder}" for folder in ("tests/support/npu/site", "tests", ""))
COMMAND = f"""#!/bin/sh
export LD_LIBRARY_PATH={LIBRARY} PYTHONPATH={PYTHONPATH} OMP_NUM_THREADS=2
export EDGED_SIMULATED_NPU="$(cat /etc/edged-npu)"  # empty: none
exec /opt/edged/venv/bin/python -m support.planted "$@"
"""
CONFIG = """node: box
model: {path: /opt/edged/source/edged/demo/model, max_new_tokens: 4}
mqtt: {url: "mqtt://127.0.0.1:1883"}
cameras:
  dock:
    source: /opt/edged/files/dock.png
    every: 1s
    ask: {people: {prompt: "How many people are here?", answer: integer, range: [0, 9]}}
"""
COMPILED = CONFIG.replace("/opt/edged/source/edged/demo/model", "/opt/edged/files/compiled")
QUICK = "[Service]\nRestartSec=100ms\n"


@pytest.fixture(scope="session")
def service_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture and a compiled model, for /opt/edged/files of the container."""
    folder = tmp_path_factory.mktemp("files")
    Image.fromarray(picture(1)).save(folder / "dock.png")
    model = compiled.with_processor(compiled.compile_folder(PLAIN, folder / "compiled"), PLAIN)
    for part in model.glob("*.mxq"):  # it names the plain model
        part.write_bytes(part.read_bytes().replace(bytes(SOURCE.resolve()), b"/opt/edged/source"))
    subprocess.run(["chmod", "-R", "a+rX", folder], check=True)  # the service's user reads it
    return folder


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[] if name == SHORT else pytest.mark.long) for name in debian.RELEASES],
)
def booted(request: pytest.FixtureRequest, service_files: Path) -> Iterator[Box]:
    with Box(request.param, service_files) as box:
        yield box


@pytest.fixture
def box(booted: Box) -> Box:
    booted.reset()
    return booted


class Box:
    """edged as a service in a container, installed as README says; the command also plants failures: `plant`."""

    def __init__(self, release: str, files: Path) -> None:
        self.release = release
        self._files = files
        self._python = f"python{sys.version_info.major}.{sys.version_info.minor}"
        self._stack = ExitStack()

    def __enter__(self) -> Box:
        packages = next(path for path in sys.path if path.endswith(f"{self._python}/site-packages"))
        binds = {
            SOURCE: "/opt/edged/source",
            sys.base_prefix: "/opt/edged/python",
            packages: f"/opt/edged/venv/lib/{self._python}/site-packages",
            self._files: "/opt/edged/files",
        }
        shown = [f"--bind-ro={here}:{there}" for here, there in binds.items()]
        root = debian.root_folder(self.release, PACKAGES[self.release])
        with ExitStack() as stack:
            name = f"edged-{self.release}-{os.getpid()}"
            self.container = stack.enter_context(debian.booted(root, name, *OPTIONS, *shown))
            self.run, self.put = self.container.run, self.container.put
            self._install()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _install(self) -> None:
        self.put("/opt/edged/venv/pyvenv.cfg", "home = /opt/edged/python/bin\n")
        self.put("/opt/edged/venv/bin/edged", COMMAND, "755")
        self.run("ln", "-s", f"/opt/edged/python/bin/{self._python}", "/opt/edged/venv/bin/python")
        self.put("/usr/lib/sysusers.d/edged.conf", (SOURCE / "systemd/edged.sysusers").read_text())
        self.run("systemd-sysusers")
        self.put(UNIT, (SOURCE / "systemd/edged.service").read_text())
        self.run("install", "-d", "-m", "750", "-g", "edged", "/etc/edged")

    def reset(self) -> None:
        """As after the installation, with a valid config, and stopped; the broker without retained messages."""
        self.plant("")
        self.put("/etc/edged-npu", "")
        self.run("systemctl", "stop", "edged", check=False)
        self.run("systemctl", "stop", "mosquitto")
        self.run("bash", "-c", f"rm -rf {UNIT}.d /var/lib/edged/* /var/lib/mosquitto/*")
        self.run("systemctl", "start", "mosquitto")
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

    def npu(self, **board: Any) -> None:
        """A simulated NPU from the next start on, with these settings of `support.npu.simulator.Board`."""
        self.put("/etc/edged-npu", json.dumps({"prints": True, **board}))

    def drop_in(self, settings: str, name: str = "test.conf") -> None:
        self.put(f"{UNIT}.d/{name}", settings)
        self.run("systemctl", "daemon-reload")

    def systemctl(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("systemctl", *arguments, check=check)

    def property(self, name: str) -> str:
        return self.systemctl("show", "edged", f"--property={name}", "--value").stdout.strip()

    def restarts(self) -> int:
        return int(self.property("NRestarts"))

    def until(self, name: str, value: str, limit_s: float = 180.0) -> None:
        """Until a property of the unit matches."""
        until(lambda: re.fullmatch(value, self.property(name)), limit_s)

    def until_answered(self, limit_s: float = 60.0) -> None:
        until(lambda: '"status":"ok"' in self.retained("edged/box/dock/people"), limit_s)

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
