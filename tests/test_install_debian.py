"""The README's lines for the service, as typed, in a fresh Debian 12 with systemd; then an update, and removing it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import debian
from support.debian import Container

PROJECT = Path(__file__).parent.parent
CLONE = "/root/edged"
CONFIG = """\
node: box
model: {path: /var/lib/edged/models/qwen2-vl-2b}
mqtt: {url: "mqtt://localhost:1883"}
cameras:
  yard: {source: /var/lib/edged/yard.png, every: 1s, ask: {people: {prompt: How many?, answer: integer}}}
"""
INSTALL_S = 540.0
# Within the bounds of pyproject.toml; package indexes that have a CPU build of torch have it under this version.
PINNED = "torch==2.13.0\n"

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(1500),
]


def lines_of_the_readme() -> list[str]:
    """The commands of "As a service", without those for Debian 13 and for a compiled model."""
    text = (PROJECT / "README.md").read_text()
    section = text.partition("\n## As a service\n")[2].partition("\nOn Debian 13")[0]
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", section, re.MULTILINE | re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines()]


def bound_pip_settings(root: Path) -> list[str]:
    """Give the container this machine's pip settings; nspawn's options for the local folders that they name."""
    files: set[Path] = set()
    folders: set[Path] = set()
    for command, pattern in (("debug", r"^ *(/\S+), exists: True"), ("list", r"(?:'|\s|file://)(/[^\s']+)")):
        listed = subprocess.run(["python3", "-m", "pip", "config", command], capture_output=True, text=True).stdout
        for path in map(Path, re.findall(pattern, listed, re.MULTILINE)):
            (folders if path.is_dir() else files).add(path)
    for file in files:
        copy = root / file.relative_to("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)
    # an index may refer to files beside it
    return [f"--bind-ro={folder}" for folder in sorted({Path(*folder.parts[:3]) for folder in folders})]


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    folder = tmp_path_factory.mktemp("debian")
    root, added = folder / "root", folder / "added"
    subprocess.run(debian.as_root("cp", "-a", debian.root_folder("bookworm"), root), check=True)
    subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(added / CLONE.lstrip("/"))], check=True)
    (added / "root/constraint").write_text(PINNED)
    options = bound_pip_settings(added)
    subprocess.run(debian.as_root("cp", "-r", "--no-preserve=ownership", f"{added}/.", root), check=True)
    with debian.booted(root, f"edged-install-{os.getpid()}", *options) as running:
        yield running
    subprocess.run(debian.as_root("rm", "-rf", root), check=True)


def typed(container: Container, line: str, *allowed: int) -> str:
    """Run a line in the clone; its output."""
    with_constraint = line.replace("bin/pip install", "bin/pip install --quiet --constraint /root/constraint")
    done = container.shell(with_constraint, INSTALL_S, CLONE)
    assert done.returncode in (allowed or (0,)), f"{line}\n{done.stdout[-3000:]}"
    return done.stdout


def wrong(report: str) -> list[str]:
    return [check["name"] for check in json.loads(report)["checks"] if check["ok"] is False]


def answers(container: Container) -> list[str]:
    """The ids of the stored answers."""
    text = typed(
        container, "sudo -u edged env STATE_DIRECTORY=/var/lib/edged edged history yard --json 2>/dev/null", 0, 1
    )
    return [json.loads(line)["id"] for line in text.splitlines()]


def until_answers(container: Container, more_than: int = 0) -> list[str]:
    end = time.monotonic() + 90
    while len(stored := answers(container)) <= more_than:
        assert time.monotonic() < end, typed(container, "journalctl -u edged -n 50 --no-pager")
        time.sleep(0.5)  # another machine's process
    return stored


def test_the_lines_install_update_and_remove_the_service(container: Container):
    prepare, [password, *start], update = (
        lines_of_the_readme()[part] for part in (slice(4), slice(4, 7), slice(7, None))
    )
    assert (start[-1], update[-1]) == ("sudo systemctl enable --now edged", "sudo systemctl restart edged")
    for line in prepare:
        typed(container, line)
    typed(container, "systemctl start mosquitto")
    typed(container, "cp -r edged/demo/model /var/lib/edged/models/qwen2-vl-2b")
    typed(container, draw("/var/lib/edged/yard.png"))
    typed(container, f"printf %s '{CONFIG}' > /etc/edged/edged.yaml")
    typed(container, password)
    assert typed(container, "sudo -u edged cat /etc/edged/credentials/dock") == "PASSWORD"
    assert set(wrong(typed(container, f"{start[0]} --json", 0, 1))) <= {"clock"}  # a container has no other
    typed(container, start[1])
    assert typed(container, "systemctl is-active edged") == "active\n"
    stored = until_answers(container)
    assert wrong(typed(container, "sudo -u edged edged doctor --quick --json", 0, 1)) == []

    for line in update:
        typed(container, line)
    assert set(stored) <= set(until_answers(container, len(stored)))

    typed(container, "systemctl stop edged; cp /var/lib/edged/edged.db /root/edged.db")
    newer = "import sqlite3; sqlite3.connect('/var/lib/edged/edged.db').execute('PRAGMA user_version = 99')"
    typed(container, f'python3 -c "{newer}"')
    typed(container, "systemctl start edged", 1)
    shown = typed(container, "systemctl show edged --property=ActiveState,ExecMainStatus")
    assert sorted(shown.split()) == ["ActiveState=failed", "ExecMainStatus=78"]
    assert "was written by a newer edged" in typed(container, "journalctl -u edged -n 20 --no-pager")

    assert "kept: /etc/edged" in typed(container, "sudo edged install --uninstall")
    assert typed(container, "ls /etc/edged/edged.yaml /var/lib/edged/edged.db")
    assert "edged" not in typed(container, "ls /usr/local/bin /usr/local/lib/systemd/system")
    typed(container, "sudo /opt/edged/venv/bin/edged install --uninstall --purge")
    typed(container, "id edged; ls -d /etc/edged /var/lib/edged", 2)


def draw(path: str) -> str:
    program = f"from PIL import Image; Image.linear_gradient('L').convert('RGB').save('{path}')"
    return f'/opt/edged/venv/bin/python -c "{program}"'
