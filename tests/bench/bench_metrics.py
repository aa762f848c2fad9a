"""What the metrics cost: a scrape over HTTP, and what a look spends on counting.

bench_metrics.py [SCRAPES]: for 1, 4 and 16 cameras with eight questions, each of which has had three statuses.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.broker import HOST, an_answer, free_port, until
from support.metered import Box
from support.results.figures import Figure, Spread
from support.results.record import Recording
from support.scraping import fetch, listens
from support.world import CONFIG, PEOPLE, camera

from edged.core.specs import ListenAddress
from edged.service.metrics import CONTENT_TYPE
from edged.service.metrics_server import MetricsServer

QUESTIONS = tuple(replace(PEOPLE, name=f"q{number}") for number in range(8))
EVERY_S = 15.0  # between two scrapes of Prometheus


def measure(cameras: int, scrapes: int) -> Figure:
    specs = tuple(camera(f"camera{number}", *QUESTIONS) for number in range(cameras))
    with Box(replace(CONFIG, cameras=specs)) as box:
        for runtime in box.world.service.cameras.values():
            for status in ("ok", "unsure", "timeout"):
                runtime.meter.add([replace(an_answer("a", question=q.name), status=status) for q in QUESTIONS])
        size = len(box.metrics.text())
        rendering = [_cpu_ms(box.metrics.text) for _ in range(scrapes)]
        scraping = _scraping_ms(box, scrapes)
    median = sorted(rendering)[scrapes // 2]
    print(
        f"{cameras:2} cameras, {size / 1000:.0f} kB: CPU {min(rendering):.1f} ms at best, {median:.1f} ms median; "
        f"over HTTP {min(scraping):.1f} ms at best, {sorted(scraping)[scrapes // 2]:.1f} ms median (target under 10); "
        f"{median / EVERY_S / 10:.3f} % of a core at a scrape every {EVERY_S:.0f} s"
    )
    what = f"CPU of a scrape of {cameras} camera{'s' * (cameras > 1)} with {len(QUESTIONS)} questions each"
    return Figure(f"scrape-{cameras}", what, Spread.of(rendering), "ms")


def _cpu_ms(call) -> float:
    begun = time.thread_time()
    call()
    return (time.thread_time() - begun) * 1000


def _scraping_ms(box: Box, scrapes: int) -> list[float]:
    server, port, taken = MetricsServer(box.metrics.text, CONTENT_TYPE), free_port(), []
    server.follow(ListenAddress(HOST, port))
    until(lambda: listens(port))
    for _ in range(scrapes):
        begun = time.monotonic()
        fetch(port)
        taken.append((time.monotonic() - begun) * 1000)
    server.stop()
    return taken


def count() -> Figure:
    with Box() as box:
        meter = box.world.service.cameras["dock"].meter
        answers = [an_answer(f"a{question.name}", question=question.name) for question in QUESTIONS]
        taken = sorted(_cpu_ms(lambda: meter.add(answers)) for _ in range(2000))
        print(f"counting a look with 8 questions: CPU {taken[1000] * 1000:.0f} microseconds median")
        return Figure("count", "CPU of counting a look with 8 questions", Spread.of(taken), "ms")


def main(scrapes: int) -> list[Figure]:
    return [*(measure(cameras, scrapes) for cameras in (1, 4, 16)), count()]


if __name__ == "__main__":
    recording = Recording(__file__, __doc__)
    sys.exit(recording.finish(main(int(recording.words[0]) if recording.words else 100)))
