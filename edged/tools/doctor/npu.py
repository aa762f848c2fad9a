"""The NPU's driver and nodes, and who may open them."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from edged.core import npu_cores as cores
from edged.core.errors import ModelError
from edged.core.specs import ModelSpec
from edged.tools.doctor.check import Check, Machine, User, group_name, holders, text, user_name
from edged.vlm import folder as files


def npu(here: Machine, model: ModelSpec | None, compiled: bool | None) -> list[Check]:
    nodes = sorted(here.dev.glob("aries*"))
    if not nodes and not compiled:
        said = "no /dev/aries*; a compiled model would need one" if compiled is None else "the model is not compiled"
        return [Check("npu", None, f"not needed: {said}" if compiled is False else said)]
    wanted = {here.dev / f"aries{device}" for device in _devices(model)} if model and compiled else set()
    who = list(here.users())
    return [_driver(here, bool(nodes)), *(_node(node, here, who) for node in sorted({*nodes, *wanted}))]


def _driver(here: Machine, has_nodes: bool) -> Check:
    with suppress(OSError):
        loaded = [line.split()[0] for line in (here.proc / "modules").read_text().splitlines() if line]
        for module in loaded:
            if "aries" in module or "mobilint" in module:
                version = text(here.modules / module / "version")
                return Check("npu driver", True, f"{module} {version}".strip())
    if has_nodes:
        return Check("npu driver", None, "no module named aries is loaded, but its nodes are there (built in?)")
    return Check("npu driver", False, "is not loaded", "install Mobilint's driver for this kernel; then lsmod, dmesg")


def _node(node: Path, here: Machine, who: Sequence[User]) -> Check:
    name = f"npu {node}"
    try:
        about = node.stat()
    except OSError:
        return Check(
            name, False, "does not exist", f"ls {here.dev}/aries*, and compare model.cores with the devices there"
        )
    group = group_name(about.st_gid)
    said = f"{stat.filemode(about.st_mode)} {user_name(about.st_uid)}:{group}"
    shut_out = [user.name for user in who if not user.may_open(about)]
    if not shut_out:
        by = holders([node], here.proc)
        return Check(name, True, f"{said}{', held by ' + ', '.join(by) if by else ''}")
    todo = f"sudo usermod -aG {group} {shut_out[0]}, then log in again or restart the service"
    if about.st_mode & 0o060 != 0o060 or about.st_gid == 0:
        todo = f'a udev rule: KERNEL=="{node.name}", GROUP="video", MODE="0660"'
    return Check(name, False, f"{said}: {' and '.join(shut_out)} cannot open it", todo)


def _devices(model: ModelSpec) -> set[int]:
    """The numbers of the NPUs that the model is to run on; none where that cannot be said."""
    found: set[int] = set()
    with suppress(ValueError, ModelError):
        parts = files.compiled_parts(files.read_json(model.path / "config.json"))
        for worker in model.each_worker():
            words = dict(worker.cores)
            for part, settings in parts.items():
                where = cores.parsed(words[part]) if part in words else cores.of_config(settings)
                found |= set(where.devices)
    return found
