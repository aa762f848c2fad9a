"""Whether answers are right, as somebody who knows the truth writes it to a file while edged runs: the demo.

The file has a JSON object in each line: `{"id": of the answer, "right": bool, "truth": value}`. Anything else in it is
ignored, and so is a file that is missing.
"""

from __future__ import annotations

import os
import stat
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

from edged.core.json_object import json_object
from edged.service.snapshots import CameraSnapshot

MOST = 1000  # verdicts that are known; the oldest go first
AT_ONCE = 262_144  # bytes to read at a time; what is further back in the file is about older answers


class Verdicts:
    """For one thread. Without a file there are no verdicts."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._read_to = 0
        self._begun = b""  # the line that is not complete yet
        self._known: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def update(self) -> None:
        """Read what was added. Bounded; returns at once."""
        if self._file:
            with suppress(OSError):
                self._read(self._file)

    def add_to(self, camera: dict[str, Any]) -> dict[str, Any]:
        """A camera as the browser gets it, with a `verdict` beside each answer: `{"right", "truth"}` or None."""
        for question in camera["questions"]:
            question["verdict"] = self._known.get(question["answer"]["id"]) if question["answer"] else None
        return camera

    def about(self, snapshot: CameraSnapshot) -> list[str]:
        """The ids of its answers that have a verdict."""
        return [answer.id for answer in snapshot.answers.values() if answer.id in self._known] if self._file else []

    def _read(self, path: Path) -> None:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size == self._read_to:
            return
        if status.st_size < self._read_to:  # the file was begun anew
            self._read_to, self._begun = 0, b""
        with path.open("rb") as file:
            if status.st_size - self._read_to > AT_ONCE:
                self._read_to, self._begun = status.st_size - AT_ONCE, b""
            file.seek(self._read_to, os.SEEK_SET)
            added = file.read(AT_ONCE)
        self._read_to += len(added)
        *lines, self._begun = (self._begun[:AT_ONCE] + added).split(b"\n")
        for line in lines:
            self._take(json_object(line) or {})

    def _take(self, said: dict[str, Any]) -> None:
        answer_id, right = said.get("id"), said.get("right")
        if isinstance(answer_id, str) and isinstance(right, bool):
            self._known[answer_id] = {"right": right, "truth": said.get("truth")}
            if len(self._known) > MOST:
                self._known.popitem(last=False)
