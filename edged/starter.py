"""`edged init`: a first config for the cameras of this machine, commented, that `edged check` accepts.

A password in an address goes into a file of its own under credentials/, which only its owner can read.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, quote, unquote, urlsplit

from edged.core import EdgedError

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
    """A config for these network addresses and devices. Raises EdgedError for an address that is none."""
    secrets: dict[str, str] = {}
    cameras = []
    for number, source in enumerate([*addresses, *devices], start=1):
        name = f"camera-{number}"
        cameras.append(CAMERA.format(name=name, source=json.dumps(_without_password(source, name, secrets))))
    body = "\ncameras:\n" + "\n".join(cameras) if cameras else "\n" + NO_CAMERAS
    return Starter(HEAD.format(model=json.dumps(str(model))) + body, secrets, len(cameras))


def write(made: Starter, path: Path) -> None:
    """Write the config and its secrets. Raises EdgedError rather than overwrite anything."""
    places = {path.parent / "credentials" / name: text for name, text in made.secrets.items()}
    for place in (path, *places):
        if place.exists():
            raise EdgedError(f"{place} is there already; edged init overwrites nothing")
    try:
        for place, text in places.items():
            place.parent.mkdir(mode=0o700, exist_ok=True)
            place.touch(mode=0o600)
            place.write_text(text + "\n", encoding="utf-8")
        path.write_text(made.text, encoding="utf-8")
    except OSError as error:
        raise EdgedError(f"{error.filename} cannot be written: {error.strerror}") from error


def _without_password(source: str, name: str, secrets: dict[str, str]) -> str:
    if source.startswith("usb:"):
        return source
    try:
        parts = urlsplit(source)
        sound = parts.scheme in ("rtsp", "rtsps", "http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        sound = None
    if not sound:
        raise EdgedError(
            "a camera's address is rtsp://…, rtsps://… or http(s)://…; USB cameras are found by themselves"
        )
    if not parts.password:
        return source
    secrets[name] = unquote(parts.password)
    return _rebuilt(parts, f"{quote(unquote(parts.username or ''), safe='')}:{{secret:{name}}}")


def _rebuilt(parts: SplitResult, login: str) -> str:
    host = parts.netloc.rpartition("@")[2]
    query = f"?{parts.query}" if parts.query else ""
    return re.sub(r"[\r\n]", "", f"{parts.scheme}://{login}@{host}{parts.path}{query}")
