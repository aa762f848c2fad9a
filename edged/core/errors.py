"""The failures that edged expects, each with a sentence for its owner, and the exit codes.

Anything else is a defect and keeps its traceback.
"""

from __future__ import annotations

import traceback

EXIT_OK = 0
EXIT_WRONG = 1
EXIT_USAGE = 2
EXIT_UNAVAILABLE = 75
EXIT_CONFIG = 78


class EdgedError(Exception):
    """An expected failure; its text is a whole sentence for the owner and holds no credential.

    `code` is the exit code if edged has to end for it.
    """

    code = EXIT_WRONG


class FileUnusable(EdgedError):
    """A file that the config names (a CA, a certificate) must be changed by its owner."""

    code = EXIT_CONFIG


class CannotGoOn(EdgedError):
    """A reload failed, and so did going back to the former config. Only a new process can help."""

    code = EXIT_UNAVAILABLE


class CameraError(EdgedError):
    """No frame: the camera cannot be reached, or the connection to it is lost."""


class StaleFrame(CameraError):
    """The camera is open, but its newest picture is older than `max_age`."""


class ModelError(EdgedError):
    """The model failed and may work again."""

    code = EXIT_UNAVAILABLE


class ModelLost(ModelError):
    """The device is gone: nothing but a new process brings it back."""


class ModelFolderError(ModelError):
    """The model's folder cannot work until its owner changes it."""

    code = EXIT_CONFIG


class Stopped(Exception):
    """edged is stopping, so there is no answer and none is wanted. Not an error."""


def release_frames(error: BaseException, handled: BaseException | None = None, keep_lines: bool = False) -> None:
    """Forget the local variables that an error's tracebacks keep alive, its causes' too: a picture may be among them.

    A function that raises an exception which it holds in a variable is a cycle, and pixels in it live until the
    collector comes by, minutes later. `handled` is the exception that the caller was handling already, which is the
    caller's own. The tracebacks go too unless their lines are wanted: reading a frame's f_locals leaves a copy that
    cannot be cleared.
    """
    pending, done = [error], {id(handled)}
    while pending:
        each = pending.pop()
        done.add(id(each))
        pending += [other for other in (each.__cause__, each.__context__) if other and id(other) not in done]
        traceback.clear_frames(each.__traceback__)
        if not keep_lines:
            each.__traceback__ = None
