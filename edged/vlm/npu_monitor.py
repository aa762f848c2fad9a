"""Temperature and load of the NPUs, from the vendor's monitoring library.

It is the library under the vendor's tracker. The tracker itself is not used: it keeps every sample in memory, and
writes to a register of the NPU.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edged.core.types import NpuFigures

log = logging.getLogger(__name__)

DEVICES = Path("/dev")


class NpuMonitor:
    """For one thread at a time. Calls may wait for the NPU's driver."""

    def __init__(self, devices: Path = DEVICES) -> None:
        self._devices = devices
        self._library: Any = None
        self._count: int | None = None  # of NPUs; None before the first call

    def figures(self) -> list[NpuFigures]:
        """One for each NPU; none where there is no NPU, or no library that can read it."""
        if self._count is None:
            self._count = self._open()
        return [self._read(device) for device in range(self._count)]

    def _open(self) -> int:
        if not list(self._devices.glob("aries*")):  # without a driver the library prints to standard error
            return 0
        try:
            import mbltml

            mbltml.mbltmlInit()
            self._library = mbltml
            return int(mbltml.mbltmlGetDeviceCount())
        except Exception as error:  # of the vendor's library, which may be of another version
            log.warning("metrics: NPU temperature and load are not available: %r", error)
            return 0

    def _read(self, device: int) -> NpuFigures:
        temperature_c = _value(self._library.mbltmlGetTemperature, device)
        load = _value(self._library.mbltmlGetTotalUtilization, device)
        return NpuFigures(device, temperature_c, None if load is None else _ratio(load))


def _value(read: Callable[[int], float], device: int) -> float | None:
    try:
        return float(read(device))
    except Exception as error:
        log.debug("metrics: NPU %d: %r", device, error)
        return None


def _ratio(load: float) -> float:
    """The library returns a ratio or a percentage, by its documentation; the vendor's tracker tells them apart so."""
    return load if 0.0 <= load <= 1.0 else load / 100
