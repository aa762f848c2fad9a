"""Reads picture files: regular files of a bounded size only."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from edged.cameras.picture import Pixels, decode_picture
from edged.core.errors import CameraError

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
MAX_FILE = 64 * 1024 * 1024


def read_picture(path: Path) -> Pixels:
    """The pixels (BGR). Raises CameraError, also for a file beyond 64 MiB; DamagedPicture for a damaged JPEG or PNG."""
    try:
        data = _content(path)
    except OSError as error:
        raise CameraError(f"{path} cannot be read: {error.strerror}") from None
    try:
        return decode_picture(data)
    except CameraError as error:
        raise type(error)(f"{path}: {error}") from None


def is_picture(path: Path) -> bool:
    """True if the name, or that of the file to which it leads, ends like a picture's."""
    names = (str(path), os.path.realpath(path))
    return any(Path(name).suffix.lower() in PICTURE_SUFFIXES for name in names)


def check_regular(path: Path, mode: int) -> None:
    """Raises CameraError for a FIFO, a socket or a device, IsADirectoryError for a directory."""
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise CameraError(f"{path} is not a regular file")


def _content(path: Path) -> bytes:
    check_regular(path, path.stat().st_mode)  # a socket cannot be opened, and opening a device may have side effects
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        check_regular(path, os.fstat(file.fileno()).st_mode)  # it may have been replaced meanwhile
        data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise CameraError(f"{path} is larger than {MAX_FILE // 1024 // 1024} MiB")
    return data
