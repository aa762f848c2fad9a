"""Draws the picture of the terminal view in the README, from a real run of the demo: draw_demo.py [FILE]"""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path

from rich.console import Console

from edged.demo.show import staged
from edged.tools.watch import connection_line

WIDTH = 96
SECONDS = 25.0
SVG = Path(__file__).parent.parent / ".github" / "demo.svg"


def main(path: Path) -> None:
    with staged() as stage:
        first = None
        while first is None or time.monotonic() - first < SECONDS:
            said = stage.follower.next(0.2)
            if said and stage.board.hear(said.node, said.topic, said.payload) and first is None:
                first = time.monotonic()
        console = Console(record=True, width=WIDTH, file=io.StringIO())
        console.print(stage.board.picture(WIDTH, connection_line(stage.follower)))
        console.save_svg(str(path), title="edged demo")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else SVG)
