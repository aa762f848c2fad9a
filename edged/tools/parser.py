"""Command lines whose errors show no address: an address may have a password."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import NoReturn

LOGIN = re.compile(r"(?s)(?![./]).*:.*@")  # without its scheme, `me:password@host`
# From the word that begins a login to its last @, as a password may have spaces; else a word with :// or @.
ADDRESS = re.compile(r"(?s)(?<![^\s'\"])(?:[^\s'\"]*:(?=\S).*@|[^\s'\"]*?(?:://|@))[^\s'\"]*")


class Parser(argparse.ArgumentParser):
    """Also the parser of each command: argparse makes those of the same class."""

    def error(self, message: str) -> NoReturn:
        super().error(ADDRESS.sub("ADDRESS", message))


def name(text: str) -> str:
    """An argument that messages may show."""
    return _no_address(text, "must be a name, not an address")


def path(text: str) -> Path:
    return Path(_no_address(text, "must be a path, not an address"))


def picture(text: str) -> str:
    """The path or the whole address of a picture. The command shows no login of an address."""
    return text if "://" in text else _no_address(text, "must be a path, or an address that begins with http or https")


def _no_address(text: str, problem: str) -> str:
    if "://" in text or LOGIN.match(text):
        raise argparse.ArgumentTypeError(problem)
    return text
