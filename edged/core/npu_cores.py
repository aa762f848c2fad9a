"""The setting for an NPU's cores: `0:0`, `1:0:3`, `multi:0`, `global4:1`, `global8`.

An Aries 2 has two clusters of four cores. A model part runs on one core (single), on a cluster whose cores work
independently (multi) or together (global4), or on all eight cores together (global8): as its MXQ was compiled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MODES = ("single", "multi", "global4", "global8")
CLUSTERS = (0, 1)
CORES = (0, 1, 2, 3)
SETTING = re.compile(r"(?:(multi|global4|global8)(?::|$))?(\d+(?::\d+)*)?")
FORMS = '"0:0" (cluster:core), "1:0:3" (device:cluster:core), multi:0, global4:1, global4:1:0, global8 or global8:1'
NPU_KEYS = ("core_mode", "target_cores", "target_clusters", "dev_no")


@dataclass(frozen=True, slots=True)
class Cores:
    """Where one part of the model runs. `targets` are `device:cluster:core` or `device:cluster`."""

    mode: str
    targets: tuple[str, ...]

    def __str__(self) -> str:
        places = ", ".join(self.targets)
        return f"core {places}" if self.mode == "single" else f"{self.mode} {places}"

    @property
    def devices(self) -> tuple[int, ...]:
        return tuple(sorted({int(target.split(":")[0]) for target in self.targets}))

    def occupied(self) -> frozenset[str]:
        """Every core that is used, as `device:cluster:core`."""
        return frozenset(t if t.count(":") == 2 else f"{t}:{core}" for t in self.targets for core in CORES)

    def settings(self) -> dict[str, Any]:
        """As keys of the vendor's config.json."""
        key = "target_cores" if self.mode == "single" else "target_clusters"
        return {"core_mode": self.mode, key: list(self.targets)}


def parsed(setting: str) -> Cores:
    """Parse a setting. Raises ValueError with the end of a sentence that begins with the setting."""
    match = SETTING.fullmatch(setting.strip())
    if not match or not match[0]:
        raise ValueError(f"is not a valid core setting; write {FORMS}")
    mode, numbers = match[1] or "single", [int(number) for number in (match[2] or "").split(":") if number]
    most = {"single": 3, "multi": 2, "global4": 2, "global8": 1}[mode]
    if len(numbers) not in (most - 1, most):
        raise ValueError(_expected(mode))
    device, *place = numbers if len(numbers) == most else [0, *numbers]
    if place and place[0] not in CLUSTERS:
        raise ValueError(f"names cluster {place[0]}, but an NPU has only the clusters 0 and 1")
    if place[1:] and place[1] not in CORES:
        raise ValueError(f"names core {place[1]}, but a cluster has only the cores 0 to 3")
    clusters = [place] if place else [[cluster] for cluster in CLUSTERS]
    return Cores(mode, tuple(":".join(map(str, [device, *rest])) for rest in clusters))


def of_config(part: Mapping[str, Any]) -> Cores:
    """The cores of one model part, from a compiled folder's config.json. Raises ValueError.

    A part with cores and without a mode, as the tutorial leaves it, is `single`: the vendor's default can fail there.
    """
    mode, device = str(part.get("core_mode") or "single"), part.get("dev_no") or 0
    mode = "single" if mode == "auto" else mode
    if mode not in MODES:
        raise ValueError(f"core_mode {mode!r} is not one of {', '.join(MODES)}")
    targets = [_with_device(str(target), int(device), mode) for target in _targets(part, mode)]
    return Cores(mode, tuple(dict.fromkeys(targets)))


def _targets(part: Mapping[str, Any], mode: str) -> list[Any]:
    cores, clusters = list(part.get("target_cores") or []), list(part.get("target_clusters") or [])
    if mode == "global8":
        return clusters or list(CLUSTERS)
    if mode == "single":
        return cores or [f"{cluster}:0" for cluster in clusters] or ["0:0"]
    return clusters or [str(core).rpartition(":")[0] for core in cores] or [0]


def _with_device(target: str, device: int, mode: str) -> str:
    """The target as `device:cluster:core` or `device:cluster`, validated."""
    fields = 3 if mode == "single" else 2
    full = target if target.count(":") == fields - 1 else f"{device}:{target}"
    try:
        return parsed(full if mode == "single" else f"multi:{full}").targets[0]
    except ValueError as error:
        raise ValueError(f'"{target}" {error}') from None


def _expected(mode: str) -> str:
    match mode:
        case "single":
            return 'is not a core; write "0:0" (cluster:core) or "1:0:3" (device:cluster:core)'
        case "global8":
            return "uses both clusters of an NPU; write global8, or global8:1 for the second NPU"
        case _:
            return f"needs a cluster; write {mode}:0, {mode}:1, or {mode}:1:0 (device:cluster)"
