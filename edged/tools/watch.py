"""`edged watch`: a running edged, followed on its broker in the terminal. Read-only."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from threading import Event as StopSignal

from rich.console import Console
from rich.live import Live

from edged.core.errors import EXIT_OK
from edged.core.specs import BrokerSpec
from edged.mqtt.follower import CONNECTING, Follower
from edged.tools.view import Board, plain_line

REFRESH_S = 0.25


def watch(spec: BrokerSpec, node: str | None, plain: bool, stop: StopSignal) -> int:
    """Show what the broker says until told to stop; the exit code. Raises EdgedError if the CA file is unusable."""
    board = Board(f"edged watch: {spec.prefix}/{node or '+'} on {spec.shown}")
    follower = Follower(spec, node)
    follower.start()
    try:
        follow(board, follower, plain, stop.is_set)
    finally:
        follower.close()
    return EXIT_OK


def follow(board: Board, follower: Follower, plain: bool, ended: Callable[[], bool]) -> None:
    """Feed the board from the follower until `ended`, shown live or as a line an answer."""
    if plain:
        _print_lines(board, follower, ended)
        return
    console = Console()
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while not ended():
            _hear_for(board, follower, REFRESH_S)
            live.update(board.picture(console.width, connection_line(follower)), refresh=True)
    console.print(board.picture(console.width, connection_line(follower)))


def connection_line(follower: Follower) -> str:
    return "connected" if follower.connected else f"not connected: {follower.reason}"


def _hear_for(board: Board, follower: Follower, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if said := follower.next(left):
            board.hear(said.node, said.topic, said.payload)


def _print_lines(board: Board, follower: Follower, ended: Callable[[], bool]) -> None:
    connected: bool | None = None
    while not ended():
        if connected != follower.connected and (follower.connected or follower.reason != CONNECTING):
            connected = follower.connected
            print(connection_line(follower), file=sys.stderr)
        said = follower.next(REFRESH_S)
        if said and (shown := board.hear(said.node, said.topic, said.payload)):
            print(plain_line(shown), flush=True)
