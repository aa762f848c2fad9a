"""`edged history`: the answers that are stored on this machine. Reads edged.db, and changes nothing."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import Any, Literal, TypeAlias

from edged.core.errors import EXIT_OK
from edged.core.specs import Config
from edged.service.time_zone import zone
from edged.store.history import HistoryUnreadable, Series, find_file, open_history
from edged.store.path import SERVICE_FILE, state_file
from edged.tools.history import sheet
from edged.tools.history.choice import Name, chosen, configured
from edged.tools.history.course import Course
from edged.tools.streams import note, write_line

DEFAULT_SINCE_S = 86_400.0
LATEST_TS = 4e9  # the year 2096
Stored: TypeAlias = Iterator[tuple[Series, bytes]]


@dataclass(frozen=True, slots=True)
class HistoryOptions:
    """`of` is CAMERA or CAMERA/QUESTION, None for all. `form` None: a line for each question."""

    of: str | None = None
    since_s: float = DEFAULT_SINCE_S
    form: Literal["json", "csv"] | None = None


def history(config: Config | None, path: Path, options: HistoryOptions) -> int:
    """Print the answers in this file; the exit code. Raises UsageError, HistoryUnreadable, StoreTooNew."""
    now = time.time()
    since, time_zone = now - options.since_s, zone(config.timezone if config else None)
    with open_history(path) as stored:
        every = stored.series()
        names = chosen(options.of, config, every)
        wanted = [each for each in every if (each.camera, each.question) in names]
        answers = stored.answers(wanted, since, now)
        if options.form == "json":
            _print_lines(answers)
        elif options.form == "csv":
            sheet.write((answer for _, answer in _decoded(answers)), time_zone, sys.stdout)
        else:
            courses = _courses(names, answers, since, now)
            _show(courses if options.of else _present(courses, configured(config)), since, now, time_zone)
    return EXIT_OK


def file_of(
    node: str, environment: Mapping[str, str], service_file: Path = SERVICE_FILE, option: str = "--file"
) -> Path:
    """The file of this node's edged; reported if it is not where an edged of this user would have it.

    `option` names another file. Raises HistoryUnreadable if there is none.
    """
    try:
        path = find_file(node, environment, service_file)
    except HistoryUnreadable as error:
        raise HistoryUnreadable(f"{error}; {option} names another file") from None
    if path != state_file(node, environment):
        note(f"edged: reading {path}")
    return path


def _print_lines(answers: Stored) -> None:
    for _, payload in answers:
        write_line(payload.decode(errors="replace"))


def _decoded(answers: Stored) -> Iterator[tuple[Series, dict[str, Any]]]:
    """Without what edged cannot have written: the file may have been edited."""
    for series, payload in answers:
        try:
            answer = json.loads(payload)
        except ValueError:
            continue
        if isinstance(answer, dict) and _is_stamp(answer.get("answered_ts")):
            yield series, answer


def _is_stamp(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value <= LATEST_TS


def _courses(names: Sequence[Name], answers: Stored, since: float, now: float) -> dict[Name, Course]:
    courses = {name: Course(since, now) for name in names}
    for series, answer in _decoded(answers):
        courses[series.camera, series.question].add(answer)
    return courses


def _present(courses: Mapping[Name, Course], configured_names: Sequence[Name]) -> dict[Name, Course]:
    """Without questions that have left the config and have no answers in the period."""
    return {name: course for name, course in courses.items() if course.answers or name in configured_names}


def _show(courses: Mapping[Name, Course], since: float, now: float, time_zone: tzinfo) -> None:
    from rich.console import Console

    from edged.tools.history import table

    table.show(courses, since, now, time_zone, Console())
