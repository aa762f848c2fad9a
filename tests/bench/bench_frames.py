"""What keeping frames costs a look.

bench_frames.py [LOOKS]: looks with eight questions (default 2000) at a picture of 1920 x 1080 and a fake model that
takes no time, without `frames:` and with frames that are not chosen, in turns, so that the machine's load weighs on
both. A look that keeps nothing must cost at most 1.05 times the CPU of one without `frames:`. Then looks at 4 a second,
without and with keeping all: how long they took, and how many were kept. Last, what a kept frame takes on the disk.
"""

from __future__ import annotations

import io
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.fakes import FakeCamera, FakeModel, FakePublisher
from support.making import frame, question
from support.results.figures import Figure, Spread
from support.results.record import Recording
from support.yard.camera import Yard
from support.yard.day import LOOKS, Moment
from support.yard.weather import WEATHERS

from edged.core.answer_types import YesNo
from edged.core.secret import Secret
from edged.core.specs import CameraSpec, FramesSpec, SourceSpec
from edged.service.camera_runtime import CameraRuntime
from edged.service.frame_keeper import FrameKeeper
from edged.service.look import Looks
from edged.service.picture import lossless
from edged.service.worker_queue import WorkerQueue
from edged.store.keeping import used_bytes
from edged.store.store import DiskStore

QUESTIONS = 8
BLOCK = 50  # looks in one turn
PACED = 40
SENSOR_NOISE = 2.0  # levels
CAMERA_QUALITY = 80
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


def main(looks: int) -> list[Figure]:
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
        empty_kb, paced = used_kb(Path(folder) / "edged.db"), []
        for name, sample in (("none", 0.0), ("all", 1.0)):
            keeper.spec = FramesSpec(sample=sample)
            took = paced_looks(looker, dock)
            print(f"{PACED} looks at 4 a second, {name} to be kept: {took}")
            paced.append(Figure(f"look-{name}", f"duration of a look, 4 a second, {name} kept", took, "ms"))
        kept = settled_count(store)
        store.close()
        rows_kb = (used_kb(Path(folder) / "edged.db") - empty_kb) / kept
        print(f"{kept} of {PACED} kept, {rows_kb:.1f} kB each in edged.db")
    queue.halt()
    ratio = Figure("cpu", "CPU of a look of which no frame is kept", not_kept / without, at_most=1.05)
    return [
        replace(ratio, against="a look without `frames:`"),
        *paced,
        Figure("rows", f"the answers to {QUESTIONS} questions about a kept frame, in edged.db", rows_kb, "kB"),
        Figure("file", "a kept frame of 1920 x 1080 that a camera has compressed", frame_mb(), "MB"),
    ]


def used_kb(path: Path) -> float:
    with closing(sqlite3.connect(path)) as connection:
        return used_bytes(connection) / 1000


def frame_mb() -> float:
    """Of a yard, as a camera sends it: with the noise of a sensor, and compressed."""
    rng = np.random.default_rng(1)
    rgb = cv2.resize(Yard(1, WEATHERS["sunny"]).look(Moment(), LOOKS // 2), (1920, 1080), interpolation=cv2.INTER_CUBIC)
    noisy = np.clip(rgb + rng.normal(0, SENSOR_NOISE, rgb.shape), 0, 255).astype(np.uint8)
    compressed = io.BytesIO()
    Image.fromarray(noisy).save(compressed, "JPEG", quality=CAMERA_QUALITY)
    return len(lossless(replace(frame(), rgb=np.asarray(Image.open(compressed).convert("RGB"))))) / 1e6


def paced_looks(looker: Looks, dock: CameraRuntime) -> Spread:
    """Milliseconds of the looks, each at another picture with noise."""
    pixels = np.random.default_rng(1).integers(0, 256, (1080, 1920, 3), dtype=np.uint8)
    seconds = []
    for number in range(PACED):
        seen = replace(frame(age_s=AGE_S + number), rgb=np.roll(pixels, number, axis=0), sha256=f"{number:064x}"[::-1])
        dock.use(FakeCamera(seen))
        begun = time.monotonic()
        looker.look(dock)
        seconds.append(time.monotonic() - begun)
        time.sleep(0.25)
    return Spread.of(each * 1000 for each in seconds)


def settled_count(store: DiskStore) -> int:
    """How many frames are kept once no more come for a second."""
    count, before = store.frames.progress().kept, -1
    while count != before:
        time.sleep(1)
        count, before = store.frames.progress().kept, count
    return count


if __name__ == "__main__":
    recording = Recording(__file__, __doc__)
    sys.exit(recording.finish(main(int(recording.words[0]) if recording.words else 2000)))
