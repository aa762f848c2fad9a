"""What a case works with: cameras to plug and unplug, and probes that look at them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from vm import pictures
from vm.guest.probe import Probe
from vm.guest.usbip import Wire
from vm.guest.uvc import Model, UvcCamera

NODE_S = 15.0
PORTS = 15


class Ports:
    """The free ports of the controller, shared by the cases that run at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free = list(range(PORTS))

    def take(self) -> int:
        with self._lock:
            return self._free.pop(0)

    def give_back(self, port: int) -> None:
        with self._lock:
            self._free.append(port)


class Plug:
    """A camera and the port that it is plugged into."""

    def __init__(self, camera: UvcCamera, port: int) -> None:
        self.camera = camera
        self.port = port
        self._wire: Wire | None = None

    def path(self, index: int = 0) -> str:
        """udev's link by port; index 1 is the camera's metadata node."""
        return f"/dev/v4l/by-path/platform-vhci_hcd.0-usb-0:{self.port + 1}:1.0-video-index{index}"

    def link(self) -> str:
        """udev's link by serial number."""
        model = self.camera.model
        return f"/dev/v4l/by-id/usb-Edged_{model.product.replace(' ', '_')}_{model.serial}-video-index0"

    def plug(self) -> float:
        """When its node was there (monotonic)."""
        self._wire = Wire(self.port, self.camera)
        self._wire.plug()
        wait_for(Path(self.path()).exists, NODE_S, f"no node for the camera at port {self.port}")
        return time.monotonic()

    def unplug(self) -> float:
        """When its node was gone (monotonic)."""
        if self._wire:
            self._wire.unplug()
            self._wire = None
            wait_for(lambda: not Path(self.path()).exists(), NODE_S, "the node of an unplugged camera stays")
        return time.monotonic()


class Rig:
    """For one case; `close` ends all that it started."""

    def __init__(self, context: ForkServerContext, ports: Ports, out: Path) -> None:
        self._context = context
        self._ports = ports
        self._out = out
        self._plugs: list[Plug] = []
        self._probes: list[Probe] = []

    def camera(self, serial: str, plugged: bool = True, **model: Any) -> Plug:
        made = Model(serial, **model)
        plug = Plug(UvcCamera(made, self.bank(made.restarts)), self._ports.take())
        self._plugs.append(plug)
        if plugged:
            plug.plug()
        return plug

    def probe(self, address: str, **more: Any) -> Probe:
        probe = Probe(self._context, address, **more)
        self._probes.append(probe)
        return probe

    def bank_path(self, restarts: bool) -> Path:
        return self._out / ("restarts" if restarts else "plain")

    def bank(self, restarts: bool) -> Sequence[bytes]:
        return _bank(self.bank_path(restarts))

    def close(self) -> None:
        for probe in self._probes:
            probe.kill()
        for plug in self._plugs:
            plug.unplug()
            self._ports.give_back(plug.port)


class Lateness:
    """How late this machine wakes a sleeping thread: the noise in what a case measures."""

    def __init__(self) -> None:
        self.worst_s = 0.0

    @contextmanager
    def measured(self) -> Iterator[Lateness]:
        ended = threading.Event()
        thread = threading.Thread(target=self._measure, args=(ended,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            ended.set()
            thread.join()

    def _measure(self, ended: threading.Event) -> None:
        while not ended.is_set():
            began = time.monotonic()
            ended.wait(0.05)
            self.worst_s = max(self.worst_s, time.monotonic() - began - 0.05)


_banks: dict[Path, list[bytes]] = {}
_banks_lock = threading.Lock()


def _bank(path: Path) -> list[bytes]:
    with _banks_lock:
        if path not in _banks:
            _banks[path] = pictures.read(path)
        return _banks[path]


def wait_for(is_met: Callable[[], bool], limit_s: float, otherwise: str) -> None:
    deadline = time.monotonic() + limit_s
    while not is_met():
        if time.monotonic() > deadline:
            raise TimeoutError(otherwise)
        time.sleep(0.02)
