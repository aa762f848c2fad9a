"""What the page costs while two browsers have the board of four cameras open.

bench_page.py [SECONDS [EVERY]]: each camera looks every 2 s, or every EVERY seconds. The browsers are two processes
that read every event and fetch every new frame. Counted is the CPU time of the page's own threads; without a browser
it is measured in the same run.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from multiprocessing.synchronize import Semaphore
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import httpx
from support.broker import until
from support.making import frame
from support.metered import Box
from support.paging import FakeBox
from support.results.figures import Figure
from support.results.record import Recording
from support.world import CONFIG, PEOPLE, camera

from edged.service import bridge
from edged.service.snapshots import Snapshots

CAMERAS, QUESTIONS, BROWSERS = 4, 8, 2
WIDTH, HEIGHT = 1920, 1080


class Board(FakeBox):
    """A page over the figures of a real service. `look_ms` has what each look spends on the page."""

    def __init__(self, box: Box, every_s: float) -> None:
        super().__init__(box.world.config)
        self.every_s = every_s
        self._service = box.world.service
        self._frames = [frame(number, WIDTH, HEIGHT) for number in range(8)]
        self.look_ms: list[float] = []
        self.late_ms: list[float] = []

    def _health(self) -> dict[str, Any]:
        return bridge.health(self._service, time.monotonic())

    def look_for(self, seconds: float) -> None:
        """The looks of all cameras at their times."""
        begun = time.monotonic()
        for number in range(int(seconds * CAMERAS / self.every_s)):
            due = begun + number * self.every_s / CAMERAS
            time.sleep(max(0.0, due - time.monotonic()))
            self.late_ms.append((time.monotonic() - due) * 1000)
            name = self.config.cameras[number % CAMERAS].name
            taken = replace(self._frames[number % 8], sha256=f"sha-{time.monotonic_ns()}")
            cpu = time.thread_time()
            for question in range(QUESTIONS):
                self.answered(name, f"q{question}", number % 40, taken)
            self.look_ms.append((time.thread_time() - cpu) * 1000)


def page_cpu_s(names: tuple[str, ...] = ("edged-page", "asyncio_")) -> float:
    """Of the page's threads: the event loop's, and those that encode."""
    return sum(_cpu_s(each) for each in threading.enumerate() if each.name.startswith(names))


def _cpu_s(thread: threading.Thread) -> float:
    return int(Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text().split()[0]) / 1e9


def browse(url: str, ready: Semaphore) -> None:
    """Read every event, and fetch every new frame."""
    shown: dict[str, str] = {}
    with httpx.Client(base_url=url, timeout=60) as client, client.stream("GET", "/api/events") as stream:
        ready.release()
        kind = ""
        for line in stream.iter_lines():
            name, _, text = line.partition(": ")
            kind = text if name == "event" else kind
            if name == "data" and kind == "camera":
                state = json.loads(text)
                digest = (state["frame"] or {}).get("sha256")
                if digest and shown.get(state["name"]) != digest:
                    shown[state["name"]] = digest
                    client.get(f"/api/frame/{state['name']}.jpg").raise_for_status()


@contextmanager
def browsers(url: str) -> Iterator[None]:
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Semaphore(0)
    processes = [spawn.Process(target=browse, args=(url, ready), daemon=True) for _ in range(BROWSERS)]
    for process in processes:
        process.start()
    assert all(ready.acquire(timeout=60) for _ in processes)
    yield
    for process in processes:
        process.kill()
        process.join()


def measure(board: Board, name: str, seconds: float) -> float:
    """The share of a core."""
    board.look_ms.clear()
    board.late_ms.clear()
    begun, cpu, loop = time.monotonic(), page_cpu_s(), page_cpu_s(("edged-page",))
    board.look_for(seconds)
    took_s = time.monotonic() - begun
    share, loop_share = (page_cpu_s() - cpu) / took_s, (page_cpu_s(("edged-page",)) - loop) / took_s
    late = sorted(board.late_ms)[int(len(board.late_ms) * 0.99)]
    look = sorted(board.look_ms)[len(board.look_ms) // 2]
    print(
        f"{name}: {share:.3%} of a core, of which {loop_share:.3%} not for encoding frames; CPU of a look's "
        f"{QUESTIONS} snapshots {look:.2f} ms (median); looks late by {late:.1f} ms (99th percentile)"
    )
    return share


def snapshot_us() -> float:
    """CPU time of remembering one look, in microseconds."""
    snapshots, seen = Snapshots(), frame(1)
    snapshots.keep_frames(True)
    begun = time.thread_time()
    for _ in range(10_000):
        snapshots.looked("a", (), (), seen)
    return (time.thread_time() - begun) * 100


def main(seconds: float, every_s: float = 2.0) -> list[Figure]:
    questions = tuple(replace(PEOPLE, name=f"q{number}") for number in range(QUESTIONS))
    specs = tuple(camera(f"camera{number}", *questions) for number in range(CAMERAS))
    with Box(replace(CONFIG, cameras=specs)) as box, ExitStack() as stack:
        board = Board(box, every_s)
        stack.enter_context(board)
        board.look_for(2 * every_s)
        alone = measure(board, "no browser", seconds)
        with browsers(board.url):
            until(board.is_serving, 10)
            board.look_for(2 * every_s)
            watched = measure(board, f"{BROWSERS} browsers", seconds)
    frames = CAMERAS * WIDTH * HEIGHT * 3 / 1e6
    print(f"the page itself {watched:.3%} of a core (target under 1 %), {watched - alone:.3%} more than without")
    remembering_us = snapshot_us()
    print(f"remembering a look: {remembering_us:.1f} us; frames that are kept: {frames:.0f} MB for {CAMERAS} cameras")
    board_of = f"page with the board of {CAMERAS} cameras open in {BROWSERS} browsers, a look every {every_s:g} s"
    return [
        Figure("share", f"CPU of the {board_of}", 100 * watched, "% of a core", at_most=1),
        Figure("share-alone", "CPU of the page without a browser", 100 * alone, "% of a core"),
        Figure("remembering", "CPU of remembering a look for the page", remembering_us, "us"),
    ]


if __name__ == "__main__":
    recording = Recording(__file__, __doc__)
    sys.exit(recording.finish(main(*map(float, recording.words or ["60"]))))
