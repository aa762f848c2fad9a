"""Config files for tests: short texts to build them from, and the problems that loading one reports."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edged.config.load import ConfigError, load
from edged.core.specs import Config

SHIPPED = Path(__file__).parents[2] / "config"
MODEL = "model: {path: m}\n"
CAMERA = MODEL + "cameras:\n  dock:\n    source: pics\n"
ASK = CAMERA + "    ask:\n      gate:\n        prompt: Is it open?\n"

# parts of messages
TYPES = "yes_no, integer, number, text, json, or a list of choices"
MUST_BE_ENCODED = (
    "has a character in its user or password that must be percent-encoded, such as %20 for a space, %25 for %, "
    "%40 for @; only A-Z, a-z, 0-9 and . _ ~ ! $ & ' ( ) * + , ; = : - need no encoding "
    "(or put the password into a file: {secret:NAME})"
)


def write(folder: Path, text: str) -> Path:
    (folder / "m").mkdir(exist_ok=True)
    (folder / "pics").mkdir(exist_ok=True)
    path = folder / "edged.yaml"
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can enter, as those of pytest's tmp_path are not."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        path = Path(folder).resolve()
        path.chmod(0o755)
        yield path


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(write(folder, text))
    beginning = f"{folder}/edged.yaml"
    assert all(problem.startswith(f"{beginning}:") for problem in caught.value.problems)
    return [problem.removeprefix(f"{folder}/") for problem in caught.value.problems]


def two_secrets(folder: Path) -> Path:
    text = MODEL + "mqtt: {username: me, password: {secret: broker}}\n"
    return write(
        folder,
        text + "cameras: {dock: {source: 'rtsp://viewer:{secret:dock}@10.0.0.9:554/s?x=1', ask: {q: {prompt: x}}}}\n",
    )


def outcome(path: Path) -> Config | list[str]:
    """The config, or its problems."""
    try:
        return load(path)
    except ConfigError as error:
        return error.problems
