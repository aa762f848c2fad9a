"""The board drawn for a terminal, and an answer as one line of text."""

from __future__ import annotations

import json
import time
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from edged.core.text import printable, shorten
from edged.tools.board import Board, CameraBoard, NewestAnswer

NARROW = 64  # columns; below, confidence and verdict are left out
BAR = 8
VALUE_LINES = 3  # of a long text, where the terminal is high enough
DAY_S = 86_400.0
AGE_UNITS = (("d", 86_400), ("h", 3600), ("min", 60))
COLOURS = {"right": "green", "wrong": "red", "ok": "green", "unsure": "yellow", "not_asked": "bright_black"}


def picture(board: Board, console: Console, connection: str) -> RenderableType:
    """The board in the size of the console. Where not everything fits, frames and long texts go first, then rows."""
    width, height = console.size
    head = [Text(board.title, style="bold"), _text(connection, "bright_black"), *_config_states(board)]
    foot = Text(f"{looks_per_min(board.looks_per_min())}, {board.totals()}")
    cameras = sorted(board.cameras.items())
    if not cameras:
        return Group(*head, Text("no answers yet", style="bright_black"), foot)
    framed = Group(*head, *(_panel(board, name, camera, width) for name, camera in cameras), foot)
    if len(console.render_lines(framed)) <= height:
        return framed
    for line in (*head, foot):
        line.no_wrap, line.overflow = True, "ellipsis"
    return Group(*head, *_compact(board, cameras, width, max(1, height - len(head) - 1)), foot)


def _config_states(board: Board) -> list[Text]:
    """A line for each node that did not reload its config."""
    return [_text(f"{name}: {node.config_state}", "red") for name, node in board.nodes.items() if node.config_state]


def _panel(board: Board, name: str, camera: CameraBoard, width: int) -> Panel:
    table = _table(width, VALUE_LINES, board.judges)
    table.show_header = width >= NARROW
    for question, answer in camera.answers.items():
        _add_row(table, board, name, question, answer, width)
    return Panel(table, title=_heading(board, name, camera), title_align="left")


def _compact(board: Board, cameras: list[tuple[str, CameraBoard]], width: int, room: int) -> list[RenderableType]:
    """At most `room` lines: a heading for each camera, a line for each answer, and the number of those left out."""
    parts: list[RenderableType] = []
    total = sum(1 + len(camera.answers) for _, camera in cameras)
    free = room if total <= room else room - 1
    hidden = 0
    for name, camera in cameras:
        rows = list(camera.answers.items())[: max(0, free - 1)]
        if not rows and (camera.answers or not free):
            hidden += max(1, len(camera.answers))
            continue
        parts.append(_heading(board, name, camera))
        table = _table(width, 1, board.judges)
        for question, answer in rows:
            _add_row(table, board, name, question, answer, width)
        if rows:
            parts.append(table)
        free -= 1 + len(rows)
        hidden += len(camera.answers) - len(rows)
    return [*parts, Text(f"… {hidden} more", style="bright_black")] if hidden else parts


def _table(width: int, value_lines: int, judges: bool) -> Table:
    table = Table(box=None, expand=True, show_header=False, header_style="bright_black", padding=(0, 1))
    question = max(8, width // 4)
    table.add_column("question", no_wrap=True, min_width=min(question, 8), max_width=question)
    table.add_column("answer", ratio=1, no_wrap=value_lines == 1)
    columns = [("confidence", BAR + 6), ("age", 6), *([("", 6)] if judges else [])]
    for heading, least in columns if width >= NARROW else [("age", 6)]:
        table.add_column(heading, no_wrap=True, min_width=least)
    return table


def _add_row(table: Table, board: Board, name: str, question: str, answer: NewestAnswer, width: int) -> None:
    node = name.partition("/")[0]
    most = VALUE_LINES * max(8, width // 3)
    age = Text(short_age(board.age_s(node, answer)))
    cells = [_text(question), _value(answer.payload, most)]
    if width < NARROW:
        cells += [age]
    else:
        cells += [_confidence(answer.payload), age, *([_judgement(answer)] if board.judges else [])]
    table.add_row(*cells, style="dim" if board.is_stale(node) else "")


def _heading(board: Board, name: str, camera: CameraBoard) -> Text:
    heading = _text(name, "bold green" if camera.online else "bold")
    node = board.node(name.partition("/")[0])
    since = None if camera.since is None else camera.since + node.clock_lag_s
    if node.state == "offline":
        heading = _text(f"{name}: edged offline{_since(board, name, camera, node.offline_since, since)}", "red")
    elif camera.online is False:
        stamp = "" if since is None else f" since {clock_time(since)}"
        heading = _text(f"{name}: offline{stamp}: {camera.reason}", "red")
    heading.no_wrap, heading.overflow = True, "ellipsis"
    return heading


def _since(board: Board, name: str, camera: CameraBoard, node_since: float | None, since: float | None) -> str:
    """When edged went offline: as we saw it, or as it said itself of its cameras, or by its last answer."""
    node = name.partition("/")[0]
    if node_since is not None:
        return f" since {clock_time(node_since)}"
    if camera.online is False and since is not None:
        return f" since {clock_time(since)}"
    ages = [board.age_s(node, answer) for answer in camera.answers.values()]
    return f", last answer {short_age(min(ages))} ago" if ages else ""


def short_age(seconds: float) -> str:
    """`3 s`, `2 min`, `1 h`, `4 d`: the largest unit alone, rounded down."""
    for unit, size in AGE_UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(max(0.0, seconds))} s"


def looks_per_min(rate: float) -> str:
    """`4.0 looks/min`, `30 looks/min`, and `0 looks/min` only if there was none."""
    return f"{rate:.1f} looks/min" if 0 < rate < 9.95 else f"{rate:.0f} looks/min"


def clock_time(stamp: float) -> str:
    """`14:03`, with its date where that is a day ago or more."""
    form = "%H:%M" if time.time() - stamp < DAY_S else "%Y-%m-%d %H:%M"
    return time.strftime(form, time.localtime(stamp))


def value_or_status(payload: dict[str, Any]) -> str:
    """The value as JSON, or the status of a refusal."""
    if payload.get("status") != "ok":
        return str(payload.get("status"))
    return json.dumps(payload.get("value"), ensure_ascii=False, separators=(",", ":"))


def plain_line(answer: NewestAnswer) -> str:
    """Time, camera, question, value or status, confidence, the frame's age; last, the verdict or the status."""
    payload = answer.payload
    confidence, age = payload.get("confidence"), payload.get("frame_age_s")
    columns = [
        time.strftime("%H:%M:%S", time.localtime(payload.get("answered_ts"))),
        str(payload.get("camera")),
        str(payload.get("question")),
        value_or_status(payload),
        "-" if confidence is None else f"{confidence:.3f}",
        "-" if age is None else f"{age:.2f}s",
        answer.judgement or str(payload.get("status")),
    ]
    return printable(" ".join(columns))


def _text(text: str, style: str = "") -> Text:
    return Text(printable(text), style=style)


def _value(payload: dict[str, Any], most: int) -> Text:
    """The value, or the status and reason of a refusal, in at most so many characters."""
    if payload.get("status") != "ok":
        colour = COLOURS.get(payload["status"], "red")
        return _text(shorten(f"{payload['status']}: {payload.get('reason')}", most), colour)
    value = payload.get("value")
    text = " ".join(value.split()) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return _text(shorten(text, most))


def _confidence(payload: dict[str, Any]) -> Text:
    confidence = payload.get("confidence")
    if confidence is None:
        return Text("")
    filled = round(BAR * confidence)
    return Text.assemble(("█" * filled, "green"), ("░" * (BAR - filled), "bright_black"), f" {confidence:.2f}")


def _judgement(answer: NewestAnswer) -> Text:
    judgement = answer.judgement or ""
    return Text(judgement, style=COLOURS.get(judgement, ""))
