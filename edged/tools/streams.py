"""Standard output and standard error of a command, which may be closed, full, or a pipe that nobody reads.

If output was lost, the exit code is 1. Errors on standard error are ignored: there is no other place
to report them.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO, cast

from edged.core.errors import EXIT_OK, EXIT_WRONG, Stopped
from edged.core.text import spoken
from edged.tools.log import ERROR_PRIORITY, INFO_PRIORITY, WARNING_PRIORITY, journal_reads, with_priority

EXIT_INTERRUPTED = 130


def write(text: str) -> None:
    """Write the text to standard output, at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def write_line(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def report(*lines: str) -> None:
    """Write errors to standard error."""
    _report(lines, ERROR_PRIORITY)


def warn(*lines: str) -> None:
    """Write warnings to standard error."""
    _report(lines, WARNING_PRIORITY)


def note(*lines: str) -> None:
    """Write what is not the output of the command, and not wrong either, to standard error."""
    _report(lines, INFO_PRIORITY)


def _report(lines: Sequence[str], priority: int) -> None:
    """The priority is for the journal of systemd."""
    if not lines:
        return
    text = "\n".join(lines)
    journal = journal_reads(sys.stderr, os.environ)
    _write_error(f"{with_priority(text, priority) if journal else text}\n")


@contextlib.contextmanager
def progress(activity: str) -> Iterator[None]:
    """Show an activity and its duration on standard error if it is a terminal: `loading … 3.2 s`."""
    if not sys.stderr.isatty():
        yield
        return
    begun = time.monotonic()
    duration = ""
    _write_error(f"{activity} …")
    try:
        yield
        duration = f" {spoken(time.monotonic() - begun)}"
    finally:
        _write_error(f"{duration}\n")


def exit_code(command: Callable[[], int]) -> int:
    """Run the command and flush both streams; its exit code, or 1 if its output was lost."""
    _replace_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name may not be UTF-8, a reply may end in half of a surrogate pair. In JSON this is an escape.
        sys.stdout.reconfigure(errors="backslashreplace")
    output = Output(sys.stdout)
    code = EXIT_WRONG
    with contextlib.redirect_stdout(cast(TextIO, output)):
        try:
            code = command()
        except SystemExit as leaving:  # argparse; rich when the pipe is closed
            code = leaving.code if isinstance(leaving.code, int) else EXIT_WRONG
        except OSError as error:
            if error is not output.failure:
                raise
        except (Stopped, KeyboardInterrupt):
            code = EXIT_INTERRUPTED
        return _flushed(code, output)


def leave(code: int) -> int:
    """The code; once torch or cv2 is loaded, end the process with it at once.

    An interpreter with torch needs a second for an ordinary exit. A camera's thread may still be inside OpenCV, which
    would abort an ordinary exit.
    """
    if {"torch", "cv2"} & sys.modules.keys() and "pytest" not in sys.modules:
        os._exit(code)
    return code


class Output:
    """Standard output that keeps its first error: a later flush may succeed although text was lost."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.failure: OSError | None = None

    def write(self, text: str) -> int:
        try:
            return self.stream.write(text)
        except OSError as error:
            self.failure = error
            raise

    def flush(self) -> None:
        try:
            self.stream.flush()
        except OSError as error:
            self.failure = error
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _write_error(text: str) -> None:
    with contextlib.suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()


def _replace_closed_streams() -> None:
    """Open the null device for each standard stream that was closed (`>&-`).

    Otherwise Python has None for it, and the next file or socket gets its descriptor and what C code prints to it.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdin = sys.stdin or os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)


def _flushed(code: int, output: Output) -> int:
    with contextlib.suppress(OSError):
        output.flush()
    if output.failure:
        _discard(output.stream)
        if not isinstance(output.failure, BrokenPipeError):  # `edged ask … | head` is not an error worth a line
            report(f"edged: standard output: {output.failure.strerror}")
    try:
        sys.stderr.flush()
    except OSError:
        _discard(sys.stderr)
    return code or (EXIT_WRONG if output.failure else EXIT_OK)


def _discard(stream: TextIO) -> None:
    """Send buffered output to the null device: the interpreter flushes once more at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
