"""Checks the disks, the clock and the systemd unit."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from edged.config.sources import file_type
from edged.core.text import counted
from edged.service import clock
from edged.store.history import HistoryUnreadable, find_file
from edged.store.path import NAME, state_file
from edged.tools.doctor.check import Check, spoken_size
from edged.tools.doctor.child import run_child
from edged.tools.doctor.machine import Machine

SYSTEMCTL_S = 5.0
LEAST_FREE = 500 * 10**6  # bytes


def disks(config: Path, machine: Machine, node: str = "") -> list[Check]:
    """One check for each disk: of the node's store, and of the config's folder if that is another disk."""
    checks, devices = [], set()
    state = _store_folder(node, machine)
    for folder in (state, config.absolute().parent):
        existing = next(parent for parent in (folder, *folder.parents) if file_type(parent) == stat.S_IFDIR)
        device = existing.stat().st_dev
        if device not in devices:
            devices.add(device)
            checks.append(disk(existing, written=folder is state))
    return checks


def _store_folder(node: str, machine: Machine) -> Path:
    """Where edged.db is, or will be. A user beside the service has no $STATE_DIRECTORY."""
    own = state_file(node, os.environ).parent
    if os.environ.get("STATE_DIRECTORY"):
        return own
    try:
        return find_file(node, os.environ, machine.state / NAME).parent
    except HistoryUnreadable:
        return machine.state if machine.state.is_dir() else own


def disk(folder: Path, written: bool, least_free: int = LEAST_FREE) -> Check:
    name, free = f"disk {folder}", shutil.disk_usage(folder).free
    if written and os.statvfs(folder).f_flag & os.ST_RDONLY:
        return Check(
            name, False, "is mounted read-only", "check dmesg: a card or disk that fails is remounted read-only"
        )
    if free < least_free:
        return Check(name, False, f"{spoken_size(free)} free", f"free at least {spoken_size(least_free)}")
    return Check(name, True, f"{spoken_size(free)} free")


def clock_check() -> Check:
    if clock.synced():
        return Check("clock", True, "synchronised")
    detail = "not synchronised: the time stamps of answers are not reliable"
    return Check("clock", False, detail, "timedatectl set-ntp true")


def unit(machine: Machine) -> Check:
    keys = ("LoadState", "ActiveState", "SubState", "UnitFileState", "Result", "NRestarts")
    finished = run_child(["systemctl", "show", machine.unit, *(f"--property={key}" for key in keys)], SYSTEMCTL_S)
    lines = finished.output.splitlines() if finished and finished.code == 0 else []
    state = dict(line.partition("=")[::2] for line in lines)
    match state.get("LoadState"), state.get("ActiveState"):
        case (None, _):
            return Check("systemd", None, "systemd is not running on this machine")
        case ("not-found", _):
            return Check(
                "systemd",
                None,
                f"{machine.unit} is not installed",
                "to run edged as a service, see README: As a service",
            )
        case (_, "failed"):
            detail = f"{machine.unit} has failed ({state.get('Result')})"
            return Check("systemd", False, detail, f"journalctl -u {machine.unit} -n 50")
        case (_, active):
            restarts = state.get("NRestarts", "0")
            more = f", restarted {counted(int(restarts), 'time')}" if restarts not in ("", "0") else ""
            detail = (
                f"{machine.unit} is {active} ({state.get('SubState')}), {state.get('UnitFileState') or 'static'}{more}"
            )
            disabled = state.get("UnitFileState") == "disabled"
            step = f"systemctl enable {machine.unit}, or it will not start at the next boot" if disabled else None
            return Check("systemd", True, detail, step)
