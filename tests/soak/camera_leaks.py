"""Reconnects and looks must leak neither memory, threads, sockets nor descriptors.

camera_leaks.py [COUNT]: opens cameras of every kind but USB in one process, against servers whose sessions last a
second, and looks at them until there were COUNT looks and reconnections (default 100,000). In rounds: all cameras are
closed after each, and what the process uses is compared from round to round. Exits 1 if it grows.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from edged.cameras.environment import OPENCV

os.environ.update(OPENCV)

import cv2
import numpy as np
from support.broker import free_port, until
from support.process import resident_bytes

from edged.cameras.source import close_all, open_camera
from edged.cameras.waiting import THREAD_PREFIX
from edged.core.errors import CameraError
from edged.core.interfaces import Camera
from edged.core.secret import Secret
from edged.core.specs import CameraSpec, SourceKind, SourceSpec

EVERY_S = 0.8
ROUND_S = 4.0  # at least: a session lasts 1 s, and the next one begins a second later
ROUNDS, WARM_UP = 25, 5
SCALE = 3.0
RESIDENT_GROWTH, ALLOCATED_GROWTH = 0.02, 0.03
LOOKERS = 8
MALLINFO2 = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
SHARES = {
    "rtsp://{rtsp}/close": 24,
    "rtsp://{rtsp}/reset": 4,
    "rtsp://{rtsp}/half": 4,
    "rtsp://{rtsp}/garbage": 2,
    "rtsp://viewer:wrong@{rtsp}/login": 1,
    "rtsp://{rtsp}/absent": 1,
    "rtsp://{closed}/refused": 1,
    "http://{http}/stream": 8,
    "http://{http}/jpeg": 2,
    "http://{http}/cut": 1,
    "http://{http}/absent": 1,
    "{folder}/still.png": 1,
    "{folder}/pictures": 1,
    "{folder}/clip.avi": 1,
}


@dataclass(frozen=True, slots=True)
class Sample:
    """What the process uses with all cameras closed, after so many looks (pictures, refusals) and reconnections.

    `allocated_kb` is what C code has allocated, `trimmed_kb` the resident memory without the free part of the heap that
    can be given back.
    """

    pictures: int
    refusals: int
    reconnects: int
    resident_kb: int
    trimmed_kb: int
    allocated_kb: int
    threads: int
    descriptors: int

    @property
    def count(self) -> int:
        return self.pictures + self.refusals + self.reconnects


@dataclass(slots=True)
class Tally:
    """The looks of one camera."""

    pictures: int = 0
    refusals: int = 0


def sample(pictures: int, refusals: int, reconnects: int) -> Sample:
    gc.collect()
    resident = resident_kb()
    ctypes.CDLL(None).malloc_trim(0)
    threads, descriptors = (len(list(Path(f"/proc/self/{each}").iterdir())) for each in ("task", "fd"))
    return Sample(pictures, refusals, reconnects, resident, resident_kb(), allocated() // 1024, threads, descriptors)


class Mallinfo2(ctypes.Structure):
    """What the allocator of the C library (glibc 2.33 and later) holds."""

    _fields_ = [(name, ctypes.c_size_t) for name in MALLINFO2.split()]


def allocated() -> int:
    """Bytes that are allocated by C code, in all threads."""
    gc.collect()
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = Mallinfo2
    info = mallinfo2()
    return int(info.uordblks + info.hblkhd)


def resident_kb() -> int:
    return resident_bytes(os.getpid()) // 1024


@contextmanager
def servers() -> Iterator[dict[str, str]]:
    """The addresses of the servers, and of a folder with pictures."""
    command = [sys.executable, str(Path(__file__).parent / "short_sessions.py")]
    with tempfile.TemporaryDirectory() as folder, subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout
            _, rtsp, http = child.stdout.readline().split()
            write_files(Path(folder))
            ports = {"rtsp": rtsp, "http": http, "closed": str(free_port())}
            yield {name: f"127.0.0.1:{port}" for name, port in ports.items()} | {"folder": folder}
        finally:
            child.kill()


def write_files(folder: Path) -> None:
    (folder / "pictures").mkdir()
    for number, path in enumerate([folder / "still.png", *(folder / "pictures" / f"{each}.png" for each in range(3))]):
        cv2.imwrite(str(path), np.full((64, 64, 3), 50 + number, np.uint8))
    writer = cv2.VideoWriter(str(folder / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 64))
    for number in range(20):
        writer.write(np.full((64, 64, 3), 10 * number, np.uint8))
    writer.release()


def cameras(addresses: dict[str, str], scale: float) -> list[Camera]:
    sources = [
        source.format(**addresses) for source, share in SHARES.items() for _ in range(max(1, round(share * scale)))
    ]
    return [open_camera(spec(number, source), lambda _state: None) for number, source in enumerate(sources)]


def spec(number: int, source: str) -> CameraSpec:
    scheme, separator, _ = source.partition("://")
    kinds: dict[str, SourceKind] = {"rtsp": "rtsp", "http": "http"}
    return CameraSpec(f"c{number}", SourceSpec(kinds[scheme] if separator else "path", Secret(source), "camera"))


def one_round(addresses: dict[str, str], scale: float, count: int, pool: ThreadPoolExecutor) -> tuple[int, int, int]:
    """Pictures, refusals and reconnections, `count` in all or a few more."""
    opened, stop, ended = cameras(addresses, scale), threading.Event(), threading.Event()
    tallies = [Tally() for _ in opened]
    for camera in opened:
        camera.start()
    running = [pool.submit(look, opened[at::LOOKERS], tallies[at::LOOKERS], stop, ended) for at in range(LOOKERS)]

    def totals() -> tuple[int, int, int]:
        reconnects = sum(camera.figures().reconnects for camera in opened)
        return sum(each.pictures for each in tallies), sum(each.refusals for each in tallies), reconnects

    began = time.monotonic()
    while sum(totals()) < count or time.monotonic() < began + ROUND_S:
        ended.wait(0.1)
    ended.set()
    for each in running:
        each.result(30)
    close_all(opened)
    until(lambda: not any(each.name.startswith(THREAD_PREFIX) for each in threading.enumerate()), 60)
    return totals()


def look(cameras: Sequence[Camera], tallies: Sequence[Tally], stop: threading.Event, ended: threading.Event) -> None:
    """Look at these cameras in turn."""
    while not ended.wait(EVERY_S):
        for camera, tally in zip(cameras, tallies, strict=True):
            try:
                camera.grab(stop)
            except CameraError:
                tally.refusals += 1
            else:
                tally.pictures += 1


def soak(count: int, rounds: int, scale: float, tell: Callable[[Sample], None] = lambda _sample: None) -> list[Sample]:
    """A sample after each round."""
    samples: list[Sample] = []
    totals = (0, 0, 0)
    # One pool for all rounds, as in edged: OpenCV keeps some 900 bytes of every thread that once converted a picture.
    with servers() as addresses, ThreadPoolExecutor(LOOKERS) as pool:
        for _ in range(rounds):
            done = one_round(addresses, scale, -(-count // rounds), pool)
            totals = (totals[0] + done[0], totals[1] + done[1], totals[2] + done[2])
            samples.append(sample(*totals))
            tell(samples[-1])
    return samples


def growth(samples: Sequence[Sample], warm_up: int, resident: float, allocated: float) -> list[str]:
    """What grew after so many rounds of warm-up, in words. Memory may grow by these shares."""
    first, last = samples[warm_up], samples[-1]
    trimmed_grown, allocated_grown = memory_growth(samples[warm_up:])
    grown = {
        f"threads: {first.threads}, then {last.threads}": last.threads > first.threads,
        f"descriptors: {first.descriptors}, then {last.descriptors}": last.descriptors > first.descriptors,
        f"trimmed resident memory grew by {trimmed_grown:.1%}": trimmed_grown > resident,
        f"allocated memory grew by {allocated_grown:.1%}": allocated_grown > allocated,
    }
    return [problem for problem, is_one in grown.items() if is_one]


def memory_growth(samples: Sequence[Sample]) -> tuple[float, float]:
    """Of trimmed and of allocated memory, from the median of the first fifth to that of the last, as shares."""
    fifth = max(1, len(samples) // 5)

    def grown(sizes: Sequence[int]) -> float:
        return statistics.median(sizes[-fifth:]) / statistics.median(sizes[:fifth]) - 1

    return grown([each.trimmed_kb for each in samples]), grown([each.allocated_kb for each in samples])


def main(count: int) -> int:
    logging.disable(logging.WARNING)  # the cameras' outages
    began = time.monotonic()
    samples = soak(count, ROUNDS, SCALE, lambda each: print(told(each, began), flush=True))
    print("after the warm-up: trimmed {:+.2%}, allocated {:+.2%}".format(*memory_growth(samples[WARM_UP:])))
    problems = growth(samples, WARM_UP, RESIDENT_GROWTH, ALLOCATED_GROWTH)
    print("\n".join(problems) or "nothing grew")
    return 1 if problems else 0


def told(each: Sample, began: float) -> str:
    looks = f"{each.pictures} pictures, {each.refusals} refusals, {each.reconnects} reconnections"
    sizes = (each.resident_kb, each.trimmed_kb, each.allocated_kb)
    memory = "resident {:.1f} MiB, trimmed {:.1f}, allocated {:.2f}".format(*(size / 1024 for size in sizes))
    return (
        f"{time.monotonic() - began:5.0f} s: {looks}; {memory}, {each.threads} threads, {each.descriptors} descriptors"
    )


if __name__ == "__main__":
    code = main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
    sys.stdout.flush()
    os._exit(code)  # a thread may still be inside FFmpeg
