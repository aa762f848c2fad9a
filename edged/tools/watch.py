"""`edged watch`: the answers of a running edged, read from its broker and shown in the terminal. Publishes nothing."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from threading import Event as StopSignal
from typing import Protocol

from rich.console import Console
from rich.live import Live

from edged.core.errors import EXIT_OK
from edged.core.specs import BrokerSpec
from edged.core.text import printable
from edged.mqtt.follower import CONNECTING, FollowedMessage, Follower
from edged.tools.board import Board, NewestAnswer
from edged.tools.view import picture, plain_line

REFRESH_S = 0.25


class Messages(Protocol):
    """Where the messages come from: a Follower."""

    connected: bool

    @property
    def reason(self) -> str: ...

    def next(self, timeout_s: float) -> FollowedMessage | None: ...


def watch(spec: BrokerSpec, node: str | None, plain: bool, stop: StopSignal) -> int:
    """Show one node's answers, or all nodes', until `stop`; the exit code. Raises EdgedError for an unusable CA."""
    board = Board(f"edged watch: {spec.prefix}/{node or '+'} on {spec.shown}")
    follower = Follower(spec, node)
    follower.start()
    try:
        follow(board, follower, plain, stop.is_set)
    finally:
        follower.close()
    return EXIT_OK


def follow(board: Board, messages: Messages, plain: bool, ended: Callable[[], bool]) -> None:
    """Update the board from the messages until `ended`; draw it, or print a line for each answer."""
    console = Console()
    if not plain and console.is_dumb_terminal:
        term = os.environ.get("TERM")
        print(f"TERM={term} has no cursor control; printing a line for each answer (--plain)", file=sys.stderr)
        plain = True
    if plain:
        _print_lines(board, messages, ended)
    else:
        _draw(board, messages, console, ended)
        console.print(picture(board, console, connection_line(messages)))


def connection_line(messages: Messages) -> str:
    return "connected" if messages.connected else f"not connected: {messages.reason}"


def _draw(board: Board, messages: Messages, console: Console, ended: Callable[[], bool]) -> None:
    size = console.size
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while not ended():
            end = time.monotonic() + REFRESH_S
            while (remaining := end - time.monotonic()) > 0:
                _receive(board, messages, remaining)
            if size != console.size:
                size = console.size
                console.clear()  # the terminal has wrapped the former picture's lines in its own way
            live.update(picture(board, console, connection_line(messages)), refresh=True)


def _print_lines(board: Board, messages: Messages, ended: Callable[[], bool]) -> None:
    connected: bool | None = None
    printed: dict[str, tuple[str, str | None]] = {}
    while not ended():
        if connected != messages.connected and (messages.connected or messages.reason != CONNECTING):
            connected = messages.connected
            print(connection_line(messages), file=sys.stderr)
        if answer := _receive(board, messages, REFRESH_S):
            print(plain_line(answer), flush=True)
        _print_changes(board, printed)


def _print_changes(board: Board, printed: dict[str, tuple[str, str | None]]) -> None:
    """Print each node's state and config problem where they differ from those `printed` before, by node."""
    for name, node in board.nodes.items():
        old_state, old_config = printed.get(name, ("unknown", None))
        printed[name] = state, config = node.state, node.config_state
        if state != old_state:
            print(printable(f"{name}: edged {state}"), file=sys.stderr)
        if config != old_config and state != "offline":
            print(printable(f"{name}: {config or 'config reloaded'}"), file=sys.stderr)


def _receive(board: Board, messages: Messages, timeout_s: float) -> NewestAnswer | None:
    """Give the board the next message; the answer, if it is a new one."""
    message = messages.next(timeout_s)
    board.connection(messages.connected)
    return board.hear(message) if message else None
