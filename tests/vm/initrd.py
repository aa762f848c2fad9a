"""The guest's initial RAM disk: busybox, udev, the kernel modules in loading order, and the init script."""

from __future__ import annotations

import lzma
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

MODULES = ("virtio_pci", "9p", "9pnet_virtio", "vhci-hcd", "uvcvideo", "vivid")
GUEST = Path(__file__).parent / "guest"
ETC = {
    "etc/passwd": "root:x:0:0::/:/bin/sh\nviewer:x:65534:65534::/:/bin/sh\n",
    # The groups that udev's rules name; a rule with an unknown group is dropped.
    "etc/group": "root:x:0:\nvideo:x:44:\nviewer:x:65534:\n",
}
LINKS = {name: f"usr/{name}" for name in ("bin", "sbin", "lib", "lib64")}  # /usr is the host's
FOLDERS = ("usr", "etc", "dev", "proc", "sys", "run", "tmp", "vm", "vm/modules")


class Archive:
    """A cpio archive in the format that the kernel unpacks (newc)."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._count = 0

    def folder(self, name: str) -> None:
        self._add(name, stat.S_IFDIR | 0o755, b"")

    def link(self, name: str, target: str) -> None:
        self._add(name, stat.S_IFLNK | 0o777, target.encode())

    def file(self, name: str, content: bytes, mode: int = 0o755) -> None:
        self._add(name, stat.S_IFREG | mode, content)

    def closed(self) -> bytes:
        self._add("TRAILER!!!", 0, b"")
        return b"".join(self._parts)

    def _add(self, name: str, mode: int, content: bytes) -> None:
        self._count += 1
        path = name.encode() + b"\0"
        fields = (self._count, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(path), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + path
        self._parts += [_padded(head), _padded(content)]


def build(packages: Path, shares: Sequence[str], command: str) -> bytes:
    """`shares` are the places in the guest for qemu's shared folders, in their order; `command` is run at the end."""
    archive = Archive()
    for name in FOLDERS:
        archive.folder(name)
    for name, target in LINKS.items():
        archive.link(name, target)
    for name, text in ETC.items():
        archive.file(name, text.encode(), 0o644)
    archive.file("vm/busybox", (packages / "bin/busybox").read_bytes())
    archive.file("vm/shares", "".join(f"{place}\n" for place in shares).encode())
    archive.file("vm/command", command.encode())
    archive.file("init", (GUEST / "init").read_bytes())
    for name, content in udev(packages):
        archive.file(name, content)
    modules = {path.name.removesuffix(".xz"): path for path in loading_order(packages)}
    for name, path in modules.items():
        archive.file(f"vm/modules/{name}", uncompressed(path))
    archive.file("vm/load", "".join(f"{name}\n" for name in modules).encode())
    return archive.closed()


def udev(packages: Path) -> Iterator[tuple[str, bytes]]:
    """udev's daemon, its helper for cameras, and the rules for them, at places where /usr of the host is not."""
    tree = packages if (packages / "bin/udevadm").exists() else packages / "usr"
    yield "vm/udevadm", (tree / "bin/udevadm").read_bytes()
    yield "vm/v4l_id", (tree / "lib/udev/v4l_id").read_bytes()
    yield "vm/50-udev-default.rules", (tree / "lib/udev/rules.d/50-udev-default.rules").read_bytes()
    rules = (tree / "lib/udev/rules.d/60-persistent-v4l.rules").read_text()
    yield "vm/60-persistent-v4l.rules", rules.replace('"v4l_id ', '"/vm/v4l_id ').encode()


def loading_order(packages: Path) -> list[Path]:
    """The files of MODULES and of all they depend on, each after what it depends on."""
    [tree] = [*packages.glob("lib/modules/*"), *packages.glob("usr/lib/modules/*")]
    files = {_name(path): path for path in tree.rglob("*.ko*")}
    order: list[Path] = []

    def add(module: str) -> None:
        path = files.get(module)
        if path is None or path in order:
            return  # built into the kernel, or there already
        for dependency in depends(uncompressed(path)):
            add(dependency)
        order.append(path)

    for module in MODULES:
        add(_name(Path(module)))
    return order


def depends(module: bytes) -> list[str]:
    _, _, rest = module.partition(b"\0depends=")
    return [name.replace("-", "_") for name in rest.partition(b"\0")[0].decode().split(",") if name]


def uncompressed(path: Path) -> bytes:
    return lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()


def _name(path: Path) -> str:
    return path.name.partition(".")[0].replace("-", "_")


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
