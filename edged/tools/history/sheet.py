"""Answers as CSV (RFC 4180): a row each, with a fixed number of columns."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from datetime import datetime, tzinfo
from typing import Any, Protocol

from edged.tools.history.course import as_text

KEYS = (
    "node", "camera", "region", "question", "type", "value", "status", "reason", "confidence", "agreement", "settled",
    "alert", "text", "truncated", "late", "trigger", "answered_ts", "clock_synced", "frame_ts", "frame_age_s",
    "frame_sha256", "id", "reuse_of", "prompt", "prompt_rev", "model", "model_rev", "config_rev", "schema",
)  # fmt: skip
TIMES = ("grab", "encode", "answer")
HEADER = ("time", *KEYS, *(f"timing_ms_{name}" for name in TIMES))
# A spreadsheet takes a cell that begins so for a formula, which can start programs; in some languages also wide forms.
FORMULA = frozenset("=+-@\t\r\n＝＋－＠")
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


class TextOutput(Protocol):
    def write(self, text: str, /) -> object: ...


def write(payloads: Iterable[dict[str, Any]], zone: tzinfo, output: TextOutput) -> None:
    """`time` is `answered_ts` in this time zone. A value that is no text, number or boolean is written as JSON."""
    writer = csv.writer(output, lineterminator="\r\n")
    writer.writerow(HEADER)
    writer.writerows(_row(payload, zone) for payload in payloads)


def _row(payload: dict[str, Any], zone: tzinfo) -> list[str]:
    timing = payload.get("timing_ms") or {}
    answered = datetime.fromtimestamp(payload["answered_ts"], zone).isoformat(" ", "milliseconds")
    return [answered, *(_cell(payload.get(key)) for key in KEYS), *(_cell(timing.get(name)) for name in TIMES)]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return _harmless(value)
    return as_text(value)


def _harmless(text: str) -> str:
    """The text, with an apostrophe in front if a spreadsheet would run it. A negative number stays one."""
    return f"'{text}" if text[:1] in FORMULA and not NUMBER.fullmatch(text) else text
