"""Secrets by name: the file in $CREDENTIALS_DIRECTORY, else in credentials/ beside the config."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edged.config.document import FileRefused, read_bytes
from edged.core.text import shorten

MAX_SECRET = 4096  # characters
CONTROL = re.compile("[\\x00-\\x1f\\x7f]")


class SecretUnavailable(Exception):
    """A secret is missing or cannot be used; the text is a sentence without any of its content.

    `cause`: why its file could not be read, if it could not.
    """

    def __init__(self, text: str, cause: OSError | None = None) -> None:
        super().__init__(text)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Credentials:
    """The secrets of the config at this path."""

    config: Path

    def read(self, name: str) -> str:
        """The secret without a newline at its end; never empty. Raises SecretUnavailable."""
        return read_secret(self.files(name))

    def file(self, name: str) -> Path:
        """The file of a secret that is not text, such as a private key. Raises SecretUnavailable if there is none."""
        files = self.files(name)
        for file in files:
            if os.path.lexists(file):
                return file
        raise _missing(files)

    def files(self, name: str) -> tuple[Path, ...]:
        """Where the secret may be. The first that exists is taken."""
        beside = self.config.absolute().parent / "credentials" / name
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        return (Path(directory) / name, beside) if directory else (beside,)


def read_secret(files: Sequence[Path]) -> str:
    """The secret in the first of these files that exists, as `Credentials.read`. Raises SecretUnavailable."""
    for file in files:
        try:
            return _content(file)
        except FileNotFoundError:
            continue
        except _Unusable as error:
            text = f'the secret "{shorten(file.name)}" cannot be used ({file} {error})'
            raise SecretUnavailable(text, error.cause) from None
    raise _missing(files)


def _missing(files: Sequence[Path]) -> SecretUnavailable:
    nowhere = " and ".join(f"no file {file}" for file in files)
    return SecretUnavailable(f'the secret "{shorten(files[0].name)}" is missing ({nowhere})')


class _Unusable(Exception):
    """Why a file is not a secret, as the end of a sentence."""

    def __init__(self, text: str, cause: OSError | None = None) -> None:
        super().__init__(text)
        self.cause = cause


def _content(file: Path) -> str:
    """Raises FileNotFoundError, or _Unusable."""
    try:
        text = read_bytes(file).decode("utf-8").rstrip("\r\n")
    except FileNotFoundError:
        raise
    except UnicodeDecodeError:
        raise _Unusable("is not UTF-8 text") from None
    except FileRefused as error:
        raise _Unusable(str(error.strerror)) from None
    except OSError as error:
        raise _Unusable(f"cannot be read: {error.strerror}", error) from None
    if why := _secret_problem(text):
        raise _Unusable(why)
    return text


def _secret_problem(text: str) -> str | None:
    if not text:
        return "is empty"
    if len(text) > MAX_SECRET:
        return f"has more than {MAX_SECRET} characters"
    # A second line would end the HTTP or RTSP header of a login.
    return "has a line break or a control character" if CONTROL.search(text) else None
