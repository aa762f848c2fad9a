"""The config and what it names: secrets, the broker, the cameras."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from edged.config.load import ConfigError, load
from edged.core.errors import CameraError, EdgedError, Stopped
from edged.core.specs import BrokerSpec, CameraSpec, Config
from edged.core.text import counted, spoken
from edged.tools.doctor.check import Check, Machine, guarded, holders, of_import

SECRETS = "see the row for secrets"


def read_config(path: Path) -> tuple[Config | None, list[Check]]:
    try:
        config = load(path)
    except ConfigError as error:
        more = f" (and {len(error.problems) - 1} more)" if len(error.problems) > 1 else ""
        todo = f"edged check {path}" if path.exists() else "edged init writes a first one; --config FILE names another"
        why = f"{error.problems[0]}{more}" if path.exists() else f"there is no {path}"
        return None, [
            Check("config", False, why, todo),
            Check("secrets", None, "not checked: there is no valid config"),
        ]
    except OSError as error:
        why = f"{path} cannot be read: {error.strerror}"
        return None, [
            Check("config", False, why, f"ls -l {path}"),
            Check("secrets", None, "not checked: there is no valid config"),
        ]
    questions = sum(len(camera.all_questions()) for camera in config.cameras)
    said = f"{path}: {counted(len(config.cameras), 'camera')}, {counted(questions, 'question')}"
    return config, [Check("config", True, said), _secrets(config)]


def _secrets(config: Config) -> Check:
    missing = [str(warning) for warning in config.warnings if warning.kind == "missing_secret"]
    if missing:
        todo = f"write it into {config.path.absolute().parent / 'credentials'}/NAME, mode 0600, or use LoadCredential="
        return Check("secrets", False, "; ".join(missing), todo)
    clear = [str(warning) for warning in config.warnings if warning.kind == "clear_password"]
    if clear:
        return Check("secrets", False, "; ".join(clear), f"chmod 600 {config.path}")
    return Check("secrets", True, "no secret is missing")


def broker(config: Config | None, here: Machine) -> Check:
    if config is None:
        return Check("broker", None, "not checked: there is no valid config")
    try:
        from edged.mqtt.follower import Follower
    except ImportError as error:
        return Check("broker", None, f"not tried: {of_import(error)}")
    name = f"broker {config.mqtt.shown}"
    if config.mqtt.problem:
        return Check(name, False, config.mqtt.problem, SECRETS)
    follower = Follower(config.mqtt, config.node)
    begun = time.monotonic()
    try:
        follower.start()
        while not follower.connected and follower.reason == "connecting" and time.monotonic() - begun < here.broker_s:
            follower.next(0.05)
        if follower.connected:
            return Check(name, True, f"connected after {spoken(time.monotonic() - begun)}")
        silent = f"no answer to a connection within {spoken(here.broker_s)}"
        reason = silent if follower.reason == "connecting" else follower.reason
    except EdgedError as error:
        return Check(name, False, str(error), "correct mqtt.ca")
    finally:
        follower.close()
    return Check(name, False, reason, _for_broker(reason, config.mqtt))


def _for_broker(reason: str, spec: BrokerSpec) -> str:
    if "authori" in reason or "password" in reason:
        known = "compare mqtt.username and its password with the broker's"
        return known if spec.username else "the broker wants a login: mqtt.username and mqtt.password"
    if "certificate" in reason:
        return "mqtt.ca names the CA that signed the broker's certificate"
    if "TLS" in reason or (spec.tls and "reset" in reason):  # a plain port hangs up on a handshake
        return "mqtts:// belongs to the broker's TLS port, often 8883"
    return "is the broker running, and mqtt.url right?"


def cameras(config: Config | None, here: Machine) -> list[Check]:
    if config is None:
        return [Check("cameras", None, "not checked: there is no valid config")]
    if not config.cameras:
        return [Check("cameras", None, "the config names none", "edged init finds USB cameras and takes addresses")]
    try:
        import edged.cameras.source  # noqa: F401  # whether it can be, before threads stumble over it
    except ImportError as error:
        return [Check("cameras", None, f"not tried: {of_import(error)}")]
    found: dict[str, Check] = {}
    stop = threading.Event()

    def grab(spec: CameraSpec) -> None:
        found[spec.name] = guarded(lambda: [_camera(spec, stop, here)])[0]

    threads = [threading.Thread(target=grab, args=[spec], daemon=True) for spec in config.cameras]
    end = time.monotonic() + here.camera_s
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    stop.set()
    silent = f"no picture and no reason within {spoken(here.camera_s)}"
    late = {spec.name: Check(f"camera {spec.name}", False, silent, _for_camera(spec)) for spec in config.cameras}
    return list((late | found).values())


def _camera(spec: CameraSpec, stop: threading.Event, here: Machine) -> Check:
    from edged.cameras.source import open_camera

    name = f"camera {spec.name}"
    if spec.source.problem:
        return Check(name, False, spec.source.problem, SECRETS)
    camera, begun = open_camera(spec, lambda _: None), time.monotonic()
    camera.start()
    try:
        height, width = camera.grab(stop).rgb.shape[:2]
    except (CameraError, Stopped) as error:
        if spec.source.kind == "usb" and (by := holders([_usb_node(spec)], here.proc)):
            return Check(name, None, f"not tried: {', '.join(by)} holds it", "stop it to run this check")
        return Check(name, False, str(error), _for_camera(spec))
    finally:
        camera.close()
    return Check(name, True, f"{width}x{height} after {spoken(time.monotonic() - begun)}")


def _usb_node(spec: CameraSpec) -> Path:
    device = spec.source.address.reveal()
    return Path(f"/dev/video{device}" if device.isdigit() else device).resolve()


def _for_camera(spec: CameraSpec) -> str:
    match spec.source.kind:
        case "usb":
            return "is it plugged in? ls -l /dev/v4l/by-id"
        case "path":
            return f"put a picture or a clip at {spec.source.shown}, or change source"
        case _:
            return f"is it on, and are address and login right? {spec.source.shown}"
