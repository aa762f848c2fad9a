"""Which camera a device node belongs to, as sysfs describes it. A node's number and its by-id link can change owner."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

BY_ID, BY_PATH = Path("/dev/v4l/by-id"), Path("/dev/v4l/by-path")
SYSFS = Path("/sys/class/video4linux")
TEXT_LENGTH = 60


@dataclass(frozen=True, slots=True)
class Identity:
    """A camera: USB port (`1-1.2`), vendor and product (`046d:0825`), serial number and name; empty if it has none.

    Of a device that is not on USB, `port` is the name of its device in sysfs.
    """

    port: str
    model: str
    serial: str
    name: str

    def __str__(self) -> str:
        details = ", ".join(filter(None, [self.model, self.serial and f"serial {self.serial}"]))
        return f"{self.name or 'camera'}{f' ({details})' if details else ''} at port {self.port}"

    @property
    def unit(self) -> tuple[str, str, str]:
        """All that a camera takes along to another port. Not unique: many cameras have no serial, or all the same."""
        return self.model, self.serial, self.name


@dataclass(frozen=True, slots=True)
class UsbDevices:
    """The video devices of this machine."""

    sysfs: Path = SYSFS
    by_id: Path = BY_ID
    by_path: Path = BY_PATH

    def identify(self, node: str) -> Identity | None:
        """The camera that this node belongs to now; links are followed. None if sysfs does not tell."""
        entry = self.sysfs / _name(node)
        try:
            device = (entry / "device").resolve(strict=True)
        except (OSError, RuntimeError):  # RuntimeError: a loop of links
            return None
        usb = device.parent if (device.parent / "idVendor").exists() else None
        if usb is None:
            return Identity(device.name, "", "", _product(entry))
        model = f"{_text(usb / 'idVendor')}:{_text(usb / 'idProduct')}"
        return Identity(usb.name, model, _text(usb / "serial"), _product(entry))

    def twins(self, node: str) -> list[str]:
        """The nodes of other cameras that only their port tells apart from this one; each camera's first node."""
        camera = self.identify(node)
        if camera is None:
            return []
        others = {name: self.identify(name) for name in self._names()}
        ports = {other.port: name for name, other in reversed(others.items()) if other and other.unit == camera.unit}
        return sorted(f"/dev/{name}" for port, name in ports.items() if port != camera.port)

    def stable_link(self, node: str) -> str | None:
        """The link that always leads to the camera of this node: by its id, or by its port if the id is not unique."""
        folders = [self.by_path] if self.twins(node) else [self.by_id, self.by_path]
        links = [link for folder in folders for link in _links(folder) if _name(str(link)) == _name(node)]
        return str(links[0]) if links else None

    def cameras(self) -> list[str]:
        """A stable link to each USB camera. A camera's second node is for its metadata."""
        found = [link for link in _links(self.by_id) if link.name.endswith("-index0")]
        nodes = [node for link in found for node in [str(link), *self.twins(str(link))]]
        links = [self.stable_link(node) or node for node in nodes]
        return sorted(dict.fromkeys(links))

    def _names(self) -> list[str]:
        try:
            return sorted((entry.name for entry in self.sysfs.iterdir()), key=lambda name: (len(name), name))
        except OSError:
            return []


def node_of(address: str) -> str:
    """The path of a USB source's device: `0` is /dev/video0."""
    return f"/dev/video{address}" if address.isdigit() else address


def _name(node: str) -> str:
    """`video0`, for a node, or a link to one."""
    return os.path.basename(os.path.realpath(node))  # noqa: PTH119  # Path.resolve raises for a loop of links


def _links(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _product(entry: Path) -> str:
    """The name, once: the kernel often has `HD Webcam: HD Webcam`, cut after 31 characters."""
    name = _text(entry / "name")
    product, _, rest = name.partition(": ")
    return product if product.startswith(rest) else name


def _text(file: Path) -> str:
    """The content in one short line, without control characters: the device itself chooses it."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
    return "".join(character for character in text if character.isprintable())[:TEXT_LENGTH]
