"""`edged init`: a first, commented config for the given sources and the USB cameras of this machine.

A password in an address goes into a file of its own in credentials/, readable by its owner only.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from edged.config import addresses
from edged.config.load import ConfigError, load
from edged.config.usb_devices import UsbDevices, node_of
from edged.config.written import quoted
from edged.core.errors import EXIT_OK, EdgedError
from edged.core.specs import Config
from edged.core.text import counted
from edged.tools.invocation import command_line
from edged.tools.load_model import DOWNLOAD
from edged.tools.streams import write_line

COMPILED_MODEL = Path("/var/lib/edged/models/qwen2-vl-2b")
ADDRESS = re.compile(r"(?i)(rtsps?|https?):|[a-z][a-z0-9+.-]*://")
PLAIN_PATH = re.compile(r"[\w. -][\w./ -]*")  # cannot be mistaken for a login or a USB device

HEAD = """\
# edged: asks a vision-language model about camera pictures and publishes typed answers to MQTT.
# `edged check FILE` checks this file, `edged run --config FILE` runs it. A running edged reloads it when it changes.
# The README explains every key.
version: 1

# The name of this box on the broker. Default: the host name.
# node: dock-box

language: en # or ko

model:
  path: {model} # a Qwen2-VL folder with the files of its processor

mqtt:
  url: mqtt://localhost:1883 # mqtts://broker:8883 for TLS
  # username: edged
  # password: {{secret: mqtt-password}} # the content of credentials/mqtt-password beside this file

# Questions that several cameras ask, by name.
questions:
  people: {{prompt: How many people are in this image?, answer: integer, range: [0, 40]}}
  scene: {{prompt: Describe the environment and context surrounding the main subject., every: 10m}}
"""
CAMERA = """\
  {name}:
    source: {source}
    every: 30s # or cron: "*/5 6-22 * * mon-fri"
    # hours: mon-fri 06:00-22:00
    # mask: [{{polygon: [[0.0, 0.6], [0.3, 0.6], [0.3, 1.0], [0.0, 1.0]]}}] # black before the model sees the picture
    ask:
      people: {{}}
      scene: {{}}
      gate_open:
        prompt: Is the gate open?
        answer: yes_no
        min_confidence: 0.7 # below this the status is `unsure` and the value null
      weather:
        prompt: What is the weather like?
        answer: [clear, rain, snow, fog]
"""
NO_CAMERAS = """\
# No camera was found. Example:
#   dock:
#     source: rtsp://viewer:{secret:dock}@10.0.0.9:554/stream1 # the password is the content of credentials/dock
#     every: 30s
#     ask: {people: {}, scene: {}}
cameras: {}
"""


@dataclass(frozen=True, slots=True)
class Starter:
    """The text of a config, its sources without logins, and the secrets that belong beside it, by name."""

    text: str
    sources: list[str]
    secrets: dict[str, str]


def init(sources: list[str], model: Path | None, path: Path) -> int:
    """Write the config, list what was written and what to do next; the exit code. Raises EdgedError."""
    starter = compose(sources, usb_cameras(UsbDevices()), model or COMPILED_MODEL, path.parent)
    config = write(starter, path)
    write_line(f"{path}: written ({counted(len(config.cameras), 'camera')})")
    for number, source in enumerate(starter.sources, start=1):
        write_line(f"  {_name(number)}: {source}")
    for name in starter.secrets:
        write_line(f"{_credentials(path) / name}: written (the password of {name})")
    _write_next_steps(config)
    return EXIT_OK


def usb_cameras(devices: UsbDevices) -> list[str]:
    """The USB cameras as sources: by their ids, or by their ports where several have the same id."""
    return [f"usb:{link}" for link in devices.cameras()]


def compose(sources: list[str], devices: list[str], model: Path, folder: Path) -> Starter:
    """A config, to be written to `folder`, for these sources and devices. Raises EdgedError for a wrong source."""
    secrets: dict[str, str] = {}
    named = [_source(source, number, folder, secrets) for number, source in enumerate(sources, start=1)]
    nodes = {_node(source) for source in named}
    all_sources = [*named, *(device for device in devices if _node(device) not in nodes)]
    cameras = [
        CAMERA.format(name=_name(number), source=quoted(source)) for number, source in enumerate(all_sources, start=1)
    ]
    head = HEAD.format(model=quoted(_path(str(model), folder)))
    body = "cameras:\n" + "\n".join(cameras) if cameras else NO_CAMERAS
    return Starter(f"{head}\n{body}", [_shown(source) for source in all_sources], secrets)


def write(starter: Starter, path: Path) -> Config:
    """Write config and secrets, or nothing; the config, read again. Raises EdgedError, also if a file exists."""
    files = [(_credentials(path) / name, f"{text}\n", 0o600) for name, text in starter.secrets.items()]
    files.append((path, starter.text, 0o666))
    for place, _, _ in files:
        if os.path.lexists(place):
            way_out = " (--out FILE writes another)" if place == path else ""
            raise EdgedError(f"{place} already exists; edged init does not overwrite files{way_out}")
    written: list[Path] = []
    try:
        if starter.secrets:
            _credentials(path).mkdir(mode=0o700, exist_ok=True)
        for place, text, mode in files:
            descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            written.append(place)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
        return load(path)
    except (OSError, UnicodeEncodeError, ConfigError) as error:
        for place in written:
            with suppress(OSError):
                place.unlink()
        raise EdgedError(_why_not_written(error, path)) from None


def _why_not_written(error: OSError | UnicodeEncodeError | ConfigError, path: Path) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or path} cannot be written: {error.strerror}"
    if isinstance(error, UnicodeEncodeError):
        return f"{path} cannot be written: a path in it is not UTF-8"
    return f"{path} is not written, because it would be invalid: {error}"


def _write_next_steps(config: Config) -> None:
    steps = [("check", str(config.path)), ("run", "--config", str(config.path))]
    model = config.model.path
    if not os.path.isdir(model):  # noqa: PTH112  # Path.is_dir raises for a name that is too long
        write_line(f"model: there is no folder {model} yet;")
        write_line("  edged prepare makes it from a compiled model, or set model: path: to a Qwen2-VL folder;")
        write_line(f"  {DOWNLOAD}")
        steps.insert(0, ("prepare", "--help"))
    write_line("next:")
    for step in steps:
        write_line(f"  {command_line(*step)}")


def _credentials(path: Path) -> Path:
    return path.parent / "credentials"


def _name(number: int) -> str:
    return f"camera-{number}"


def _shown(source: str) -> str:
    address = addresses.address(source)
    return address.shown if address else source


def _source(text: str, number: int, folder: Path, secrets: dict[str, str]) -> str:
    """The source as the config has it. A password goes into `secrets`. No error repeats the text: it may have one."""
    if mode := _mode(text):
        return f"usb:{text}" if stat.S_ISCHR(mode) else _path(text, folder)
    if text.startswith("usb:"):
        return text
    if text.startswith(("/dev/video", "/dev/v4l/")):
        return f"usb:{text}"
    if not ADDRESS.match(text):
        example = "(such as rtsp://10.0.0.9/stream1)"
        raise EdgedError(f"SOURCE {number} is neither an existing file or folder nor an address {example}")
    if why := addresses.address_problem(text):
        raise EdgedError(f"SOURCE {number} {why}")
    return _without_password(text, _name(number), secrets)


def _mode(text: str) -> int | None:
    try:
        return Path(text).stat().st_mode
    except (OSError, ValueError):  # ValueError: a NUL byte
        return None


def _path(text: str, folder: Path) -> str:
    """Relative to the config if it is below the config's folder."""
    path = Path(os.path.abspath(text))  # noqa: PTH100  # Path.resolve follows links
    with suppress(ValueError):
        relative = str(path.relative_to(os.path.abspath(folder)))  # noqa: PTH100
        if PLAIN_PATH.fullmatch(relative):
            return relative
    return str(path)


def _node(source: str) -> str:
    """The device of a USB camera, links resolved; of anything else the source itself."""
    device = source.removeprefix("usb:")
    if device == source:
        return source
    return os.path.realpath(node_of(device))


def _without_password(text: str, name: str, secrets: dict[str, str]) -> str:
    """The address with `{secret:NAME}` for its password, which goes into `secrets`."""
    address = addresses.address(text)
    user, _, password = ((address.login if address else None) or "").partition(":")
    if not password or addresses.SECRET_IN_TEXT.search(password):
        return text
    secrets[name] = unquote(password)
    return text.replace(f"//{user}:{password}@", f"//{user}:{{secret:{name}}}@", 1)
