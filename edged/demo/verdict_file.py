"""Tells the page of the edged that the demo runs which answers are right, through a file that it adds lines to."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from edged.demo.questions import judged, right_value
from edged.demo.truth import Truth
from edged.tools.board import Judgement

MOST_BYTES = 1_000_000  # then the file is begun anew; the page shows the newest answers only


class VerdictFile:
    """In the demo's own folder. A disk that is full costs the page its marks, and the demo nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def judge(self, payload: dict[str, Any], truth: Truth | None) -> Judgement | None:
        """The judgement of this answer, which is added to the file if there is one."""
        judgement = judged(payload, truth)
        if judgement:
            self._add({"id": payload.get("id"), "right": judgement == "right", "truth": right_value(payload, truth)})
        return judgement

    def _add(self, verdict: dict[str, Any]) -> None:
        with suppress(OSError), self.path.open("a") as file:
            if file.tell() > MOST_BYTES:
                file.truncate(0)
            file.write(json.dumps(verdict) + "\n")
