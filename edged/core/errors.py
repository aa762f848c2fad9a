"""Expected failures, each with a message for the user, and the exit codes. Any other exception is a bug.

The message is for people. Code that has to tell failures apart uses the class, or `kind`.
"""

from __future__ import annotations

import errno
import traceback
from typing import Literal, TypeGuard

EXIT_OK = 0
EXIT_WRONG = 1
EXIT_USAGE = 2
EXIT_UNAVAILABLE = 75
EXIT_CONFIG = 78

EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

ErrorKind = Literal[
    "other",
    "no_folder",  # the model's folder does not exist
    "npu_in_use",  # another program or worker has the NPU's cores
    "package",  # a Python package is missing or cannot be imported
    "system_library",  # a Python package was found, but a library it links to could not be loaded
    "timeout",  # a child process was killed because it took too long
    "signal",  # a child process was ended by a signal
]


class EdgedError(Exception):
    """An expected failure. The text is a complete sentence without credentials.

    `code` is the exit code if the process ends because of it.
    """

    code = EXIT_WRONG

    def __init__(self, text: str, kind: ErrorKind = "other") -> None:
        super().__init__(text)
        self.kind = kind


class UsageError(EdgedError):
    """An argument or option of a command cannot be used."""

    code = EXIT_USAGE


class FileUnusable(EdgedError):
    """A file that the config names (a CA, a certificate) cannot be used until somebody changes it."""

    code = EXIT_CONFIG


class CannotGoOn(EdgedError):
    """A reload failed, and so did restoring the previous config. Only a restart can help."""

    code = EXIT_UNAVAILABLE


class CameraError(EdgedError):
    """No frame: the camera cannot be reached, or its connection was lost."""


class StaleFrame(CameraError):
    """The camera is open, but has no current picture: it is too old, not new, black or damaged, or warms up."""


class NothingNew(StaleFrame):
    """The folder that is the camera's source has had no new picture since the last one."""


class FrozenPicture(StaleFrame):
    """The camera has sent bit-identical pictures for too long."""


class ModelError(EdgedError):
    """The model failed and may work again."""

    code = EXIT_UNAVAILABLE


class ModelLost(ModelError):
    """The device was lost. Only a restart of the process can bring it back."""


class ModelFolderError(ModelError):
    """The model's folder cannot work until somebody changes it."""

    code = EXIT_CONFIG


class StoreUnreadable(EdgedError):
    """The store cannot be read now. The same read may work later."""


class MessageUnreadable(StoreUnreadable):
    """Only this message cannot be read; others can."""


class Stopped(Exception):
    """The operation was cancelled because edged is stopping. Not an error."""


def is_shortage(error: BaseException | None) -> TypeGuard[OSError]:
    """True if the system has no more descriptors, buffers or memory. The same operation may work later."""
    return isinstance(error, OSError) and error.errno in EXHAUSTED


def release_frames(error: BaseException, handled: BaseException | None = None, keep_lines: bool = False) -> None:
    """Clear the local variables that the tracebacks of an error and its causes keep alive; one may be a picture.

    A function that raises an exception held in one of its variables forms a reference cycle, which keeps the pixels
    alive until the next garbage collection, minutes later. `handled` is an exception that the caller was already
    handling; it belongs to the caller and is left alone. The tracebacks are dropped too unless `keep_lines` is set:
    reading a frame's f_locals leaves a copy that cannot be cleared.
    """
    pending, done = [error], {id(handled)}
    while pending:
        current = pending.pop()
        done.add(id(current))
        pending += [cause for cause in (current.__cause__, current.__context__) if cause and id(cause) not in done]
        traceback.clear_frames(current.__traceback__)
        if not keep_lines:
            current.__traceback__ = None
