"""Checks that each camera delivers a frame."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from edged.config.usb_devices import node_of
from edged.core.errors import CameraError, Stopped
from edged.core.specs import CameraSpec, Config
from edged.core.text import spoken
from edged.tools.doctor.broker import CHECK_SECRETS
from edged.tools.doctor.check import Check, import_failure, run_checks
from edged.tools.doctor.config import NO_CONFIG
from edged.tools.doctor.machine import Machine, holders
from edged.tools.invocation import command_line


def cameras(config: Config | None, machine: Machine) -> list[Check]:
    if config is None:
        return [Check("cameras", None, NO_CONFIG)]
    if not config.cameras:
        step = f"{command_line('init')} lists USB cameras and accepts camera addresses"
        return [Check("cameras", None, "the config has no cameras", step)]
    try:
        import edged.cameras.source  # noqa: F401  # here, so that an error is reported once and not by each thread
    except ImportError as error:
        return [Check("cameras", None, f"not tried: {import_failure(error)}")]
    results: dict[str, Check] = {}
    stop = threading.Event()

    def grab(spec: CameraSpec) -> None:
        results[spec.name] = run_checks(lambda: [_camera(spec, stop, machine)])[0]

    threads = [threading.Thread(target=grab, args=[spec], daemon=True) for spec in config.cameras]
    end = time.monotonic() + machine.camera_s
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    stop.set()
    detail = f"no frame and no error within {spoken(machine.camera_s)}"
    silent = {spec.name: Check(f"camera {spec.name}", False, detail, next_step(spec)) for spec in config.cameras}
    return list((silent | results).values())


def _camera(spec: CameraSpec, stop: threading.Event, machine: Machine) -> Check:
    from edged.cameras.source import open_camera

    name = f"camera {spec.name}"
    if spec.source.problem:
        return Check(name, False, spec.source.problem, CHECK_SECRETS)
    camera, begun = open_camera(spec, lambda _: None), time.monotonic()
    camera.start()
    try:
        height, width = camera.grab(stop).rgb.shape[:2]
    except (CameraError, Stopped) as error:
        if spec.source.kind == "usb" and (users := holders([usb_node(spec)], machine.proc)):
            return Check(name, None, f"not tried: in use by {', '.join(users)}", "stop it to run this check")
        return Check(name, False, str(error), next_step(spec))
    finally:
        camera.close()
    return Check(name, True, f"{width}x{height} after {spoken(time.monotonic() - begun)}")


def usb_node(spec: CameraSpec) -> Path:
    """The device of a USB camera, links resolved."""
    return Path(node_of(spec.source.address.reveal())).resolve()


def next_step(spec: CameraSpec) -> str:
    match spec.source.kind:
        case "usb":
            return "check that the camera is plugged in: ls -l /dev/v4l/by-id"
        case "path":
            return f"put a picture or a clip at {spec.source.shown}, or change source"
        case _:
            return f"check that the camera is on, and its address and login: {spec.source.shown}"
