"""The log on standard error: lines for people, lines with a priority for systemd's journal, or JSON."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

TEXT = "%(levelname)s %(message)s"
STAMPED = f"%(asctime)s {TEXT}"
STAMP = "%Y-%m-%d %H:%M:%S"
CAMERA = re.compile(r"camera ([a-z0-9_-]+): ")
# of syslog(3)
ERROR_PRIORITY, WARNING_PRIORITY, INFO_PRIORITY = 3, 4, 6


def to_stderr(verbose: bool, as_json: bool) -> None:
    """Log events of edged, and those of libraries from WARNING on. The journal adds its own timestamps."""
    journal = journal_reads(sys.stderr, os.environ)
    formatter = JsonFormatter() if as_json else logging.Formatter(TEXT if journal else STAMPED, STAMP)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Prioritised(formatter) if journal else formatter)
    logging.basicConfig(handlers=[handler])
    logging.getLogger("edged").setLevel(logging.DEBUG if verbose else logging.INFO)
    logging.captureWarnings(True)


def journal_reads(stream: object, environment: Mapping[str, str]) -> bool:
    """True if this stream is the one that systemd has connected to the journal, and not a pipe or file."""
    try:
        status = os.fstat(stream.fileno())  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return False
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def with_priority(text: str, priority: int) -> str:
    """The text with the priority of syslog(3) before each line, as sd-daemon(3) has it; systemd removes it again."""
    return "\n".join(f"<{priority}>{line}" for line in text.split("\n"))


class Prioritised(logging.Formatter):
    """What another formatter makes, for the journal."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self._formatter = formatter

    def format(self, record: logging.LogRecord) -> str:
        return with_priority(self._formatter.format(record), _priority(record.levelno))


class JsonFormatter(logging.Formatter):
    """One object for each event: `ts`, `level`, `logger`, `message`; if there is one, `camera` and `traceback`."""

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        event = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message,
        }
        if camera := CAMERA.match(message):
            event["camera"] = camera[1]
        if record.exc_info:
            event["traceback"] = self.formatException(record.exc_info)
        return json.dumps(event)


def _priority(level: int) -> int:
    """Of syslog: 2 critical, 3 error, 4 warning, 6 informational, 7 debug."""
    limits = (
        (logging.CRITICAL, 2),
        (logging.ERROR, ERROR_PRIORITY),
        (logging.WARNING, WARNING_PRIORITY),
        (logging.INFO, INFO_PRIORITY),
    )
    return next((priority for limit, priority in limits if level >= limit), 7)
