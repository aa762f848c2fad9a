"""FFmpeg through PyAV: its log, and the reasons for its errors.

PyAV's exceptions often say only "Invalid data found". What happened is in the log lines of the same call. No line is
printed: they can contain a URL with its password.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import av
import av.logging
from av.error import FFmpegError, HTTPBadRequestError

from edged.cameras.camera_url import CameraUrl
from edged.cameras.reasons import network_error, status_error
from edged.core.errors import CameraError

STATUS = re.compile(r"method (\w+) failed: (\d{3})")
LOSS = re.compile(r"RTP: missed|bad cseq|dropping old packet")

_logger = logging.getLogger("libav")
_logger.propagate = False
_logger.addHandler(logging.NullHandler())
av.logging.set_skip_repeated(False)
av.logging.set_level(av.logging.WARNING)
# FFmpeg has no option against it for RTSP, and a proxy could read the login of rtsps: no certificate is verified.
# os.environ keeps the variable, for libraries in Python that download models.
os.unsetenv("http_proxy")


@contextmanager
def captured_log() -> Iterator[list[str]]:
    """The lines that FFmpeg logs in this thread meanwhile, warnings and errors."""
    lines: list[str] = []
    with av.logging.Capture() as captured:
        try:
            yield lines
        finally:
            lines += [message.strip() for _level, _name, message in captured]


def is_loss(lines: Sequence[str]) -> bool:
    """True if RTP packets were lost."""
    return any(LOSS.search(line) for line in lines)


def refused_status(error: FFmpegError, lines: Sequence[str]) -> tuple[str, int] | None:
    """The last RTSP method that the server refused, and the status."""
    if isinstance(error, HTTPBadRequestError):  # the one status that is not logged; cameras give it to SETUP
        return "SETUP", 400
    found = [match for line in lines if (match := STATUS.search(line))]
    return (found[-1][1], int(found[-1][2])) if found else None


def open_error(error: FFmpegError, lines: Sequence[str], url: CameraUrl) -> CameraError | None:
    """The reason why a stream did not open; None if FFmpeg does not give it."""
    if refused := refused_status(error, lines):
        return status_error(refused[1], login_sent=url.user is not None)
    if isinstance(error, ConnectionError):
        return network_error(error, url)
    text = " ".join(lines)
    if "Immediate exit" in text:  # the open took too long although each answer came in time: redirects in a loop?
        return None
    if "Connection timed out" in text or isinstance(error, TimeoutError):
        return network_error(TimeoutError(), url)
    if "Connection reset" in text or "End of file" in text:
        return network_error(ConnectionResetError(), url)
    return None
