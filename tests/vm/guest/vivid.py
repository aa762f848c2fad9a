"""The kernel's own test driver `vivid`: a camera without MJPG, whose faults are controls."""

from __future__ import annotations

import fcntl
import struct
import subprocess
from pathlib import Path

from vm.guest.rig import wait_for

OPTIONS = ("n_devs=1", "num_inputs=1", "input_types=0x00", "node_types=0x1")
LINK = "/dev/v4l/by-path/platform-vivid.0-video-index0"
QUERYCTRL, S_CTRL = 0xC0445624, 0xC008561C
NEXT = 0x80000000
QUERY = struct.Struct("II32siiiiI8x")


def load() -> str:
    """The path of its node."""
    if not Path("/sys/module/vivid").exists():
        subprocess.run(["/vm/busybox", "insmod", "/vm/modules/vivid.ko", *OPTIONS], check=True)
    wait_for(Path(LINK).exists, 10, "vivid has no node")
    return LINK


def press(node: str, name: str) -> None:
    """Set the control of this name, a button or a switch, to 1."""
    with Path(node).open("rb+", buffering=0) as device:
        number = controls(device.fileno())[name]
        fcntl.ioctl(device, S_CTRL, struct.pack("Ii", number, 1))


def controls(handle: int) -> dict[str, int]:
    numbers: dict[str, int] = {}
    number = 0
    while True:
        try:
            answer = fcntl.ioctl(handle, QUERYCTRL, QUERY.pack(number | NEXT, 0, b"", 0, 0, 0, 0, 0))
        except OSError:
            return numbers
        number, _, name = QUERY.unpack(answer)[:3]
        numbers[name.rstrip(b"\0").decode()] = number
