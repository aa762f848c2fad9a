"""What systemd-analyze says about systemd/: valid, and exposed no more than it has to be."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "systemd"
UNIT = FOLDER / "edged.service"
DROP_INS = sorted((FOLDER / "drop-ins").iterdir())
LARGEST_EXPOSURE = 14  # tenths
# The settings that systemd-analyze counts as an exposure, and that edged needs, with a comment in the unit for each.
RELAXED = [
    "ProcSubset=all",
    "MemoryDenyWriteExecute=no",
    "DeviceAllow=char-81 rw",
    "DeviceAllow=/dev/aries0 rw",
    "SupplementaryGroups=video",
    "SystemCallFilter=sched_setaffinity",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
]


def name(path: Path) -> str:
    return path.name


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, timeout=180)


def version() -> int:
    found = re.search(r"systemd (\d+)", analyze("--version").stdout)
    assert found
    return int(found[1])


def verify(folder: Path, unit: str, drop_in: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Verify a unit's text, which may name a command that is not installed here."""
    path = folder / "edged.service"
    path.write_text(re.sub(r"^(Exec\w+=)/\S+", r"\1/bin/true", unit, flags=re.MULTILINE))
    if drop_in:
        (folder / "edged.service.d").mkdir()
        (folder / "edged.service.d" / drop_in.name).write_text(drop_in.read_text())
    return analyze("verify", "--man=no", "--recursive-errors=no", path)


def test_the_unit_is_valid(tmp_path: Path):
    verified = verify(tmp_path, UNIT.read_text())
    assert (verified.returncode, verified.stderr) == (0, "")


def test_a_misspelt_setting_would_be_noticed(tmp_path: Path):
    assert verify(tmp_path, UNIT.read_text() + "[Service]\nProtectHomes=yes\n").returncode == 1


@pytest.mark.parametrize("drop_in", DROP_INS, ids=name)
def test_each_drop_in_is_valid_from_the_version_that_it_names(tmp_path: Path, drop_in: Path):
    needs = re.match(r"# systemd (\d+) or later", drop_in.read_text())
    verified = verify(tmp_path, UNIT.read_text(), drop_in)
    if not needs or version() >= int(needs[1]):
        assert (verified.returncode, verified.stderr) == (0, "")
    else:
        assert verified.returncode == 1


def test_the_exposure_is_as_low_as_the_models_and_cameras_allow():
    scored = analyze("security", "--offline=true", f"--threshold={LARGEST_EXPOSURE}", UNIT)
    assert scored.returncode == 0, scored.stdout


def test_a_relaxed_unit_would_exceed_the_threshold(tmp_path: Path):
    path = tmp_path / "edged.service"
    path.write_text(UNIT.read_text().replace("PrivateUsers=yes", "").replace("RestrictNamespaces=yes", ""))
    assert analyze("security", "--offline=true", f"--threshold={LARGEST_EXPOSURE}", path).returncode == 1


@pytest.mark.parametrize("setting", RELAXED)
def test_a_comment_precedes_each_setting_that_is_relaxed(setting: str):
    lines = UNIT.read_text().splitlines()
    assert lines[lines.index(setting) - 1].startswith("#")


def test_a_missing_device_or_credential_is_tried_again_without_end_and_a_bad_config_is_not():
    settings = UNIT.read_text().splitlines()
    assert {"StartLimitIntervalSec=0", "Restart=always", "RestartPreventExitStatus=78"} <= set(settings)
