"""`edged init`: a first config for the cameras of this machine, commented, that `edged check` accepts.

A password in an address goes into a file of its own under credentials/, which only its owner can read.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from edged.config import form
from edged.core.errors import EdgedError

BY_ID = Path("/dev/v4l/by-id")

HEAD = """\
# edged: asks a vision-language model about your cameras' pictures and publishes the answers to MQTT.
# Judge this file with `edged check FILE`, run it with `edged run --config FILE`. A running edged takes a changed file
# by itself. Every key is explained in the README.
version: 1

# The name of this box on the broker. Default: the host's name.
# node: dock-box

language: en # or ko

model:
  path: {model} # a Qwen2-VL folder with its processor's files

mqtt:
  url: mqtt://localhost:1883 # mqtts://broker:8883 for TLS
  # username: edged
  # password: {{secret: mqtt-password}} # the file credentials/mqtt-password beside this one

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
    # mask: [{{polygon: [[0.0, 0.6], [0.3, 0.6], [0.3, 1.0], [0.0, 1.0]]}}] # black before anything sees it
    ask:
      people: {{}}
      scene: {{}}
      gate_open:
        prompt: Is the gate open?
        answer: yes_no
        min_confidence: 0.7 # below this there is no value, and the status is `unsure`
      weather:
        prompt: What is the weather like?
        answer: [clear, rain, snow, fog]
"""
NO_CAMERAS = """\
# No camera was found. Put one here, for example:
#   dock:
#     source: rtsp://viewer:{secret:dock}@10.0.0.9:554/stream1 # the password in credentials/dock
#     every: 30s
#     ask: {people: {}, scene: {}}
cameras: {}
"""


@dataclass(frozen=True, slots=True)
class Starter:
    """The text of a config, and the secrets that belong beside it, by name."""

    text: str
    secrets: dict[str, str]
    cameras: int


def usb_cameras(folder: Path = BY_ID) -> list[str]:
    """The USB cameras of this machine by id, as sources. A camera's second node is for its metadata."""
    return [f"usb:{path}" for path in sorted(folder.glob("*-index0"))] if folder.is_dir() else []


def starter(addresses: list[str], devices: list[str], model: Path) -> Starter:
    """A config for these network addresses and devices. Raises EdgedError for an address that `check` would refuse."""
    secrets: dict[str, str] = {}
    sources = [_without_password(address, number, secrets) for number, address in enumerate(addresses, start=1)]
    cameras = [
        CAMERA.format(name=_name(number), source=json.dumps(source))
        for number, source in enumerate([*sources, *devices], start=1)
    ]
    body = "\ncameras:\n" + "\n".join(cameras) if cameras else "\n" + NO_CAMERAS
    return Starter(HEAD.format(model=json.dumps(str(model))) + body, secrets, len(cameras))


def write(made: Starter, path: Path) -> None:
    """Write the config and its secrets, or nothing. Raises EdgedError rather than overwrite anything."""
    folder = path.parent / "credentials"
    files = [(folder / name, f"{text}\n", 0o600) for name, text in made.secrets.items()] + [(path, made.text, 0o666)]
    for place, _, _ in files:
        if os.path.lexists(place):
            raise EdgedError(f"{place} already exists; edged init overwrites nothing")
    written: list[Path] = []
    try:
        if made.secrets:
            folder.mkdir(mode=0o700, exist_ok=True)
        for place, text, mode in files:
            descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            written.append(place)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        for place in written:
            place.unlink()
        raise EdgedError(f"{error.filename or path} cannot be written: {error.strerror}") from None


def _name(number: int) -> str:
    return f"camera-{number}"


def _without_password(text: str, number: int, secrets: dict[str, str]) -> str:
    """The address with a secret of the camera's name for its password, which goes into `secrets`."""
    address = form.address(text)
    if why := form.address_problem(text):
        raise EdgedError(f"ADDRESS {number} {why}; USB cameras are found by themselves")
    user, _, password = ((address.login if address else None) or "").partition(":")
    if not password or form.SECRET_IN_TEXT.search(password):
        return text
    name = _name(number)
    secrets[name] = unquote(password)
    return text.replace(f"//{user}:{password}@", f"//{user}:{{secret:{name}}}@", 1)
