"""Checks the NPU's driver, its device nodes, and who may open them."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from edged.config.exposure import user_name
from edged.core.errors import ModelError
from edged.core.specs import ModelSpec
from edged.tools.doctor.check import Check
from edged.tools.doctor.machine import Machine, User, group_name, holders
from edged.vlm import folder as files
from edged.vlm.npu_parts import part_cores


def npu(machine: Machine, model: ModelSpec | None, compiled: bool | None) -> list[Check]:
    nodes = sorted(machine.dev.glob("aries*"))
    if not nodes and not compiled:
        if compiled is None:
            return [Check("npu", None, "no /dev/aries*; a compiled model needs one")]
        return [Check("npu", None, "not needed: the model is not compiled")]
    required = {machine.dev / f"aries{device}" for device in _devices(model)} if model and compiled else set()
    users = list(machine.users())
    return [_driver(machine, bool(nodes)), *(node_check(node, machine, users) for node in sorted({*nodes, *required}))]


def _driver(machine: Machine, has_nodes: bool) -> Check:
    with suppress(OSError):
        loaded = [line.split()[0] for line in (machine.proc / "modules").read_text().splitlines() if line]
        for module in loaded:
            if "aries" in module or "mobilint" in module:
                return Check("npu driver", True, f"{module} {_version(machine.modules / module)}".strip())
    if has_nodes:
        detail = "no kernel module aries is loaded, but there are device nodes (built into the kernel?)"
        return Check("npu driver", None, detail)
    step = "install Mobilint's driver for this kernel, then check lsmod and dmesg"
    return Check("npu driver", False, "is not loaded", step)


def _version(module: Path) -> str:
    try:
        return (module / "version").read_text().strip()
    except OSError:
        return ""


def node_check(node: Path, machine: Machine, users: Sequence[User]) -> Check:
    name = f"npu {node}"
    try:
        status = node.stat()
    except OSError:
        return Check(name, False, "does not exist", f"compare model.cores with the devices: ls {machine.dev}/aries*")
    group = group_name(status.st_gid)
    mode = f"{stat.filemode(status.st_mode)} {user_name(status.st_uid)}:{group}"
    denied = [user.name for user in users if not user.may_open(status)]
    if not denied:
        processes = holders([node], machine.proc)
        return Check(name, True, f"{mode}{', in use by ' + ', '.join(processes) if processes else ''}")
    step = f"sudo usermod -aG {group} {denied[0]}, then log in again or restart the service"
    if status.st_mode & 0o060 != 0o060 or status.st_gid == 0:
        step = f'add a udev rule: KERNEL=="{node.name}", GROUP="video", MODE="0660"'
    return Check(name, False, f"{mode}: {' and '.join(denied)} cannot open it", step)


def _devices(model: ModelSpec) -> set[int]:
    """The numbers of the NPUs that the model is configured for; empty if its config.json cannot be read."""
    devices: set[int] = set()
    with suppress(ModelError):
        parts = files.compiled_parts(files.read_json(model.path / "config.json"))
        for worker in model.each_worker():
            for name, settings in parts.items():
                devices |= set(part_cores(name, settings, dict(worker.cores), "model").devices)
    return devices
