"""`edged labels`: labels of kept frames as a file, one JSON object in each line."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edged.core.errors import EXIT_OK, EXIT_WRONG, EdgedError
from edged.core.json_object import json_object
from edged.core.json_values import same
from edged.core.kept_frames import Label, LabelRefused
from edged.core.text import counted, system_text
from edged.store.frames import new_label
from edged.store.labels import StoredLabels, open_labels
from edged.tools.streams import note, report, write

KEYS = ("frame", "camera", "question", "truth")
MOST_PROBLEMS = 20
MOST_BYTES = 100_000_000


def export_labels(path: Path, file: Path | None) -> int:
    """Write the labels of edged.db at `path` whose truth is known.

    Raises HistoryUnreadable, StoreTooNew, EdgedError.
    """
    with open_labels(path) as stored:
        labels = stored.labels()
    known = [label for label in labels if label.truth is not None]
    text = "".join(f"{_line(label)}\n" for label in known)
    if file is None:
        write(text)
    else:
        _write_file(file, text)
    left_out = len(labels) - len(known)
    rest = f"; {counted(left_out, 'label')} without a true value left out" if left_out else ""
    note(f"edged: {counted(len(known), 'label')} written{rest}")
    return EXIT_OK


def import_labels(path: Path, file: Path | None) -> int:
    """Put the labels of a file into edged.db at `path`; nothing if a line is wrong.

    Labels of frames that are not kept are left out, and counted. Raises HistoryUnreadable, StoreTooNew, EdgedError.
    """
    lines, shown = _read_lines(file), str(file or "standard input")
    with open_labels(path, to_write=True) as stored:
        labels, problems, unknown = _read(lines, stored)
        if problems:
            report(*(f"{shown}:{problem}" for problem in problems[:MOST_PROBLEMS]), *_more(problems))
            return EXIT_WRONG
        new = [label for label in labels if not _is_there(label, stored)]
        stored.put(new)
    known = f", {len(labels) - len(new)} known already" if len(new) < len(labels) else ""
    gone = f"; {counted(unknown, 'label')} of frames that are not kept left out" if unknown else ""
    note(f"edged: {counted(len(new), 'label')} imported{known}{gone}")
    return EXIT_OK


def _line(label: Label) -> str:
    text = json.dumps({key: getattr(label, key) for key in KEYS}, ensure_ascii=False)
    return text.encode(errors="backslashreplace").decode()  # a lone surrogate, which UTF-8 cannot encode, as in JSON


def _write_file(file: Path, text: str) -> None:
    try:
        file.write_text(text, "utf-8")
    except OSError as error:
        raise EdgedError(f"{file} cannot be written: {system_text(error)}") from None


def _read_lines(file: Path | None) -> list[bytes]:
    try:
        data = sys.stdin.buffer.read(MOST_BYTES + 1) if file is None else _start_of(file)
    except OSError as error:
        raise EdgedError(f"{file or 'standard input'} cannot be read: {system_text(error)}") from None
    if len(data) > MOST_BYTES:
        raise EdgedError(f"{file or 'standard input'} has more than {MOST_BYTES / 1e6:.0f} MB")
    return data.splitlines()


def _start_of(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(MOST_BYTES + 1)


def _read(lines: Sequence[bytes], stored: StoredLabels) -> tuple[list[Label], list[str], int]:
    """The labels, `3: what is wrong with line 3`, and how many are of frames that are not kept."""
    labels: dict[tuple[str, str], Label] = {}
    problems: list[str] = []
    unknown = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            label = _label(line, stored)
        except LabelRefused as error:
            problems.append(f"{number}: {error}")
            continue
        if label is None:
            unknown += 1
        else:
            labels[label.frame, label.question] = label
    return list(labels.values()), problems, unknown


def _label(line: bytes, stored: StoredLabels) -> Label | None:
    """None if the frame is not kept. Raises LabelRefused."""
    entry = json_object(line)
    if entry is None:
        raise LabelRefused("not a JSON object")
    if missing := [key for key in KEYS if key not in entry]:
        raise LabelRefused(f"{', '.join(missing)} missing; a label is {_sample()}")
    if unknown := [key for key in entry if key not in KEYS]:
        raise LabelRefused(f"unknown key {json.dumps(unknown[0])}; a label is {_sample()}")
    if wrong := [key for key in KEYS[:3] if not isinstance(entry[key], str)]:
        raise LabelRefused(f"{wrong[0]} must be a text")
    if entry["truth"] is None:
        raise LabelRefused("truth must be the true value, not null")
    return _about(entry, stored)


def _about(entry: dict[str, Any], stored: StoredLabels) -> Label | None:
    task = stored.task(entry["frame"])
    if task is None:
        return None
    if task.frame.camera != entry["camera"]:
        raise LabelRefused(f"frame {task.frame.name} is of camera {task.frame.camera}")
    return new_label(task, entry["frame"], entry["question"], None, entry["truth"])


def _sample() -> str:
    return '{"frame": "….webp", "camera": "dock", "question": "people", "truth": 3}'


def _is_there(label: Label, stored: StoredLabels) -> bool:
    task = stored.task(label.frame)
    given = [each for each in task.labels if each.question == label.question] if task else []
    return any(each.truth is not None and same(each.truth, label.truth) for each in given)


def _more(problems: Sequence[str]) -> list[str]:
    return [f"and {len(problems) - MOST_PROBLEMS} more"] if len(problems) > MOST_PROBLEMS else []
