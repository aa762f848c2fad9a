"""The two compiled parts of a model, text and vision, and the NPU cores that they run on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edged.core.errors import ModelFolderError
from edged.core.npu_cores import Cores, of_config, parsed
from edged.vlm import folder as files


@dataclass(frozen=True, slots=True)
class NpuPart:
    """The text or the vision part: its MXQ file and its cores."""

    mxq: Path
    cores: Cores

    def __str__(self) -> str:
        return f"{self.mxq} ({self.cores})"

    @property
    def devices(self) -> str:
        return " and ".join(f"/dev/aries{device}" for device in self.cores.devices)


def npu_parts(path: Path, config: dict[str, Any], cores: Mapping[str, str]) -> dict[str, NpuPart]:
    """The parts `text` and `vision`. `cores` overrides the cores in config.json. Raises ModelFolderError."""
    return {
        name: NpuPart(path / settings["mxq_path"], part_cores(name, settings, cores, "model"))
        for name, settings in files.compiled_parts(config).items()
    }


def part_cores(name: str, settings: Mapping[str, Any], cores: Mapping[str, str], subject: str) -> Cores:
    """The cores of one part: of `cores` if it is named there, else of its settings in config.json.

    `subject` begins the text of the ModelFolderError that this raises.
    """
    try:
        return parsed(cores[name]) if name in cores else of_config(settings)
    except ValueError as error:
        setting = f'"{cores[name]}" ' if name in cores else ""
        raise ModelFolderError(f"{subject}: the cores of {name}: {setting}{error}") from None


def occupied_cores(path: Path, config: dict[str, Any], cores: Mapping[str, str]) -> frozenset[str]:
    """Every core that the model uses, as `device:cluster:core`. Raises ModelFolderError."""
    parts = npu_parts(path, config, cores).values()
    return frozenset(core for part in parts for core in part.cores.occupied())
