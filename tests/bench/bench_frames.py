"""What keeping frames costs a look.

bench_frames.py [LOOKS]: looks with eight questions (default 2000) at a picture of 1920 x 1080 and a fake model that
takes no time, without `frames:` and with frames that are not chosen, in turns, so that the machine's load weighs on
both. A look that keeps nothing must cost at most 1.05 times the CPU of one without `frames:`. Then looks at 4 a second,
without and with keeping all: how long the slowest took, and how many were kept.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.fakes import FakeCamera, FakeModel, FakePublisher
from support.making import frame, question

from edged.core.answer_types import YesNo
from edged.core.secret import Secret
from edged.core.specs import CameraSpec, FramesSpec, SourceSpec
from edged.service.camera_runtime import CameraRuntime
from edged.service.frame_keeper import FrameKeeper
from edged.service.look import Looks
from edged.service.worker_queue import WorkerQueue
from edged.store.store import DiskStore

QUESTIONS = 8
BLOCK = 50  # looks in one turn
PACED = 40
AGE_S = -1e9  # never too old


class ForgetfulPublisher(FakePublisher):
    def answers(self, *_: object) -> None: ...


class ForgetfulModel(FakeModel):
    def ask(self, *arguments, **named):
        self.asked.clear()
        self.seen.clear()
        return super().ask(*arguments, **named)


def block_ms(looker: Looks, runtime: CameraRuntime, looks: int) -> float:
    begun = time.process_time()
    for _ in range(looks):
        looker.look(runtime)
    return (time.process_time() - begun) * 1000 / looks


def main(looks: int) -> int:
    stop = threading.Event()
    queue = WorkerQueue(stop)
    queue.serve(queue.load([ForgetfulModel]))
    looker = Looks(queue, stop, lambda: True, lambda _error, _group: None)
    questions = tuple(question(f"Is {n} open?", YesNo(), f"q{n}") for n in range(QUESTIONS))
    spec = CameraSpec("dock", SourceSpec("path", Secret("x"), "x"), questions=questions)
    publisher = ForgetfulPublisher()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        store = DiskStore(Path(folder) / "edged.db", lambda: True)
        store.open()
        keeper = FrameKeeper(store.frames)
        dock = CameraRuntime(spec, "c1", lambda: publisher, keep_frame=keeper.offer)
        dock.use(FakeCamera(frame(width=1920, height=1080, age_s=AGE_S)))
        costs: dict[bool, list[float]] = {False: [], True: []}
        for number in range(2 * (looks // BLOCK)):
            chosen = bool(number % 2)
            keeper.spec = FramesSpec(sample=0.0) if chosen else None
            costs[chosen].append(block_ms(looker, dock, BLOCK))
        without, not_kept = (statistics.median(costs[chosen]) for chosen in (False, True))
        print(f"CPU of a look: {without:.3f} ms without frames:, {not_kept:.3f} ms if it keeps none")
        print(f"ratio {not_kept / without:.3f} (target: at most 1.05)")
        store.keep(None, FramesSpec())
        for name, sample in (("none", 0.0), ("all", 1.0)):
            keeper.spec = FramesSpec(sample=sample)
            slowest, median = paced_looks(looker, dock)
            print(
                f"{PACED} looks at 4 a second, {name} to be kept: the slowest {slowest:.1f} ms, median {median:.1f} ms"
            )
        print(f"{settled_count(store)} of {PACED} kept")
        store.close()
    queue.halt()
    return 0 if not_kept <= 1.05 * without else 1


def paced_looks(looker: Looks, dock: CameraRuntime) -> tuple[float, float]:
    """Milliseconds of the slowest look, and of the median, each at another picture with noise."""
    pixels = np.random.default_rng(1).integers(0, 256, (1080, 1920, 3), dtype=np.uint8)
    seconds = []
    for number in range(PACED):
        seen = replace(frame(age_s=AGE_S + number), rgb=np.roll(pixels, number, axis=0), sha256=f"{number:064x}"[::-1])
        dock.use(FakeCamera(seen))
        begun = time.monotonic()
        looker.look(dock)
        seconds.append(time.monotonic() - begun)
        time.sleep(0.25)
    return max(seconds) * 1000, statistics.median(seconds) * 1000


def settled_count(store: DiskStore) -> int:
    """How many frames are kept once no more come for a second."""
    count, before = store.frames.progress().kept, -1
    while count != before:
        time.sleep(1)
        count, before = store.frames.progress().kept, count
    return count


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000))
