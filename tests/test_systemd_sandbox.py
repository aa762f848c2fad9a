"""What edged can and cannot do in the sandbox of the shipped unit, in a real systemd.

Controls show that a setting is enforced: in a container, systemd may leave one unenforced and say nothing.
"""

# ruff: noqa: F401, F811  # fixtures are imported, and then named as arguments

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.broker import certificates, until
from support.debian import as_root
from support.rtsp import PYTHON
from support.service_box import CONFIG, LIBRARY, Box, booted, box

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

OPENED = """
import os, sys
for path in sys.argv[1:]:
    try:
        os.close(os.open(path, os.O_RDWR))
        print(path, "opened", flush=True)
    except OSError as error:
        print(path, error.strerror, flush=True)
"""
TORCH = """
import torch
print("threads", torch.get_num_threads(), flush=True)
try:
    torch.nn.Conv2d(3, 8, 3)(torch.rand(4, 3, 224, 224))
    print("conv2d works", flush=True)
except RuntimeError as error:
    print("conv2d", error, flush=True)
"""
# Numbers of drivers that the host has, or that nothing has: only the filter is tested.
FUSE, TUN, CAMERA = "10 229", "10 200", "81 250"
DENIED = "Operation not permitted"
RTSP_PORT, TLS_PORT = 8554, 8883
TLS_BROKER = f"""
listener 1883 127.0.0.1
listener {TLS_PORT} 127.0.0.1
certfile /etc/mosquitto/tls/server.crt
keyfile /etc/mosquitto/tls/server.key
allow_anonymous true
"""


def run_in_the_sandbox(box: Box, program: str, *arguments: str, settings: str = "") -> list[str]:
    """The lines that a Python program prints in edged's place, with these settings in addition."""
    box.put("/etc/edged-program.py", program)
    command = f"/opt/edged/venv/bin/python /etc/edged-program.py {' '.join(arguments)}"
    library = f"Environment=LD_LIBRARY_PATH={LIBRARY}"
    box.drop_in(f"[Service]\nType=exec\nRestart=no\nExecStart=\nExecStart={command}\n{library}\n{settings}")
    before = len(box.log().splitlines())
    box.systemctl("start", "edged")
    box.until("ActiveState", "inactive|failed", 120)
    return box.log().splitlines()[before:]


def make_node(box: Box, path: str, numbers: str) -> None:
    box.run("rm", "-f", path)
    box.run("mknod", "-m", "660", path, "c", *numbers.split())
    box.run("chgrp", "edged", path)


def opened(box: Box, *nodes: str, settings: str = "") -> dict[str, str]:
    lines = run_in_the_sandbox(box, OPENED, *nodes, settings=settings)
    results = [line.partition(" ") for line in lines if line.startswith("/dev/")]
    return {path: result for path, _, result in results}


def test_only_the_npu_and_cameras_can_be_opened(box: Box):
    nodes = {"/dev/aries0": FUSE, "/dev/video0": CAMERA, "/dev/forbidden": TUN}
    for node, numbers in nodes.items():
        make_node(box, node, numbers)
    results = opened(box, *nodes)
    assert results.keys() == nodes.keys()
    assert results["/dev/forbidden"] == DENIED
    assert DENIED not in (results["/dev/aries0"], results["/dev/video0"])

    control = opened(box, *nodes, settings="DevicePolicy=auto\nDeviceAllow=\nProtectClock=no\n")
    assert control.keys() == nodes.keys()
    assert DENIED not in control.values(), "the filter, not something else, denied the device"


@pytest.mark.long
def test_torch_uses_every_core_and_compiles_its_kernels(box: Box):
    inside = run_in_the_sandbox(box, TORCH)
    python = ["env", f"LD_LIBRARY_PATH={LIBRARY}", "/opt/edged/venv/bin/python"]
    outside = box.run(*python, "/etc/edged-program.py").stdout.splitlines()
    assert set(outside) <= set(inside)
    assert "conv2d works" in inside
    assert "threads 1" not in inside, "this test needs a machine with two cores"


@pytest.mark.long
@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ("SystemCallFilter=~sched_setaffinity\n", "threads 1"),
        ("MemoryDenyWriteExecute=yes\n", "conv2d could not create a primitive"),
    ],
)
def test_without_what_the_unit_relaxes_torch_would_have_one_thread_or_fail(box: Box, settings: str, line: str):
    assert line in run_in_the_sandbox(box, TORCH, settings=settings)


@contextmanager
def rtsp_camera(box: Box) -> Iterator[str]:
    """A camera in the network of the container; its address."""
    server = Path(__file__).parent / "support/rtsp_server.py"
    command = [*box.container.entered("--net"), PYTHON, str(server), str(RTSP_PORT)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        assert process.stdout.readline() == f"READY {RTSP_PORT}\n"
        yield f"rtsp://127.0.0.1:{RTSP_PORT}/h264"
    finally:
        subprocess.run(as_root("kill", str(process.pid)))
        process.communicate(timeout=20)


@pytest.mark.long
def test_an_rtsp_camera_is_looked_at(box: Box):
    with rtsp_camera(box) as address:
        box.configure(CONFIG.replace("/opt/edged/files/dock.png", address))
        box.start()
        box.until_answered()
        assert json.loads(box.retained("edged/box/dock/availability"))["state"] == "online"


@pytest.mark.long
@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ("", "does not exist (unplugged?)"),  # open() reached the kernel, which has no driver for the number
        ("[Service]\nDeviceAllow=\n", "cannot be opened by this service (see DeviceAllow= in its unit)"),
    ],
)
def test_a_camera_is_opened_by_the_path_of_its_usb_port_or_serial_number(box: Box, settings: str, reason: str):
    path = "/dev/v4l/by-id/usb-046d_HD_Webcam-video-index0"
    make_node(box, "/dev/video0", CAMERA)
    box.run("mkdir", "-p", str(Path(path).parent))
    box.run("ln", "-sf", "../../video0", path)
    box.configure(CONFIG.replace("/opt/edged/files/dock.png", f"usb:{path}"))
    if settings:
        box.drop_in(settings)
    box.start()
    until(lambda: reason in box.retained("edged/box/dock/availability"), 30)


@pytest.mark.long
def test_the_broker_is_reached_over_tls(box: Box, tmp_path: Path):
    folder = certificates(tmp_path)
    for name in ("server.crt", "server.key"):
        box.put(f"/etc/mosquitto/tls/{name}", (folder / name).read_text())
    box.put("/etc/edged/ca.crt", (folder / "ca.crt").read_text(), "640", "edged")
    box.put("/etc/mosquitto/conf.d/tls.conf", TLS_BROKER)
    box.systemctl("restart", "mosquitto")
    try:
        box.configure(CONFIG.replace('mqtt://127.0.0.1:1883"', f'mqtts://localhost:{TLS_PORT}", ca: ca.crt'))
        box.start()
        box.until("StatusText", "1 camera; broker connected")
        box.until_answered()
    finally:
        box.run("rm", "/etc/mosquitto/conf.d/tls.conf")
        box.systemctl("restart", "mosquitto")
