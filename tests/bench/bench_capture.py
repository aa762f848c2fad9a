"""CPU and true frame ages of cameras with a look every 10 s, against the other ways to get pictures. 1080p25, H.264.

bench_capture.py [SECONDS] [CAMERAS...] [--also CHECKOUT]: for each number of cameras, all ways run at the same time
against one server, in processes of their own that each measure their CPU time. `--also` adds the looks of another
version of edged, and may be repeated. The times of the looks are spread over the group of pictures, and ages are read
from the pixels. Decoding continuously is measured with 2 cameras at most: more would take the whole machine. On a busy
machine a look decodes more, because more pictures arrive until it has caught up.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

sys.path.insert(0, str(Path(__file__).parent.parent))

from edged.cameras.environment import OPENCV

os.environ.update(OPENCV)

import av
import cv2  # after its environment variables are set
import numpy as np
from support.clips import number_in
from support.results.figures import Figure, Spread
from support.results.record import Recording

from edged.cameras.source import open_camera
from edged.core.secret import Secret
from edged.core.specs import CameraSpec, SourceSpec

LOOK_S = 10.0
GROUP_S = 2.0
GOLDEN = 0.618  # its multiples modulo 1 fill the group of pictures evenly
FPS, CLIP_S = 25, 8  # of clip_server.py
CONTINUOUS_AT_MOST = 2
CONTINUOUS = "decoding continuously with OpenCV"
SETTLE_S = 3.0
STARTED_S = 60.0


@dataclass(frozen=True, slots=True)
class Picture:
    """`stated_s` is the age by edged; None for ways that do not state one. `at` is monotonic."""

    pixels: np.ndarray
    at: float
    stated_s: float | None = None

    def true_s(self) -> float:
        number = number_in(self.pixels)
        assert number is not None, "the picture is damaged"
        return (self.at * FPS - number) % (CLIP_S * FPS) / FPS


class Way(Protocol):
    """One way to get the pictures of one camera."""

    def look(self) -> Picture: ...
    def close(self) -> None: ...


class Edged:
    """Packets drained, pictures decoded on demand."""

    def __init__(self, url: str) -> None:
        self._stop = threading.Event()
        self._camera = open_camera(CameraSpec("camera", SourceSpec("rtsp", Secret(url), url)), lambda _: None)
        self._camera.start()

    def look(self) -> Picture:
        frame = self._camera.grab(self._stop)
        return Picture(frame.rgb, time.monotonic(), frame.age_s())

    def close(self) -> None:
        self._camera.close()


class ContinuousOpenCV:
    """Every picture decoded by OpenCV in one thread; a look converts the newest."""

    def __init__(self, url: str) -> None:
        self._capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def look(self) -> Picture:
        with self._lock:
            found, pixels = self._capture.retrieve()
        assert found
        return Picture(np.asarray(pixels), time.monotonic())

    def close(self) -> None:
        self._ended.set()
        self._thread.join(10)
        self._capture.release()

    def _run(self) -> None:
        while not self._ended.is_set():
            with self._lock:
                assert self._capture.grab(), "the server ended"
            time.sleep(0.001)  # lets a look have the lock


class ContinuousPyAV:
    """Every picture decoded by PyAV in one thread; a look converts the newest."""

    def __init__(self, url: str) -> None:
        self._container = av.open(url, options={"rtsp_transport": "tcp"}, timeout=10)
        self._container.streams.video[0].codec_context.thread_count = 1
        self._newest: av.VideoFrame | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def look(self) -> Picture:
        while (newest := self._newest) is None:
            self._ended.wait(0.05)
        return Picture(newest.to_ndarray(format="bgr24"), time.monotonic())

    def close(self) -> None:
        self._ended.set()
        self._thread.join(10)
        self._container.close()

    def _run(self) -> None:
        for frame in self._container.decode(video=0):
            self._newest = frame
            if self._ended.is_set():
                return


class Reopening:
    """A connection per look, of which the first picture is taken."""

    def __init__(self, url: str) -> None:
        self._url = url

    def look(self) -> Picture:
        capture = cv2.VideoCapture(self._url, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        found, pixels = capture.read()
        capture.release()
        assert found, "no picture"
        return Picture(np.asarray(pixels), time.monotonic())

    def close(self) -> None:
        """Nothing is open between looks."""


WAYS: dict[str, Callable[[str], Way]] = {
    "edged": Edged,
    "continuous, OpenCV": ContinuousOpenCV,
    "continuous, PyAV": ContinuousPyAV,
    "reopening": Reopening,
}


class Look(NamedTuple):
    """Durations and ages in seconds."""

    took_s: float
    true_s: float
    stated_s: float | None


@dataclass(frozen=True, slots=True)
class Result:
    """Of one process. `cpu` is in cores, for all its cameras."""

    cameras: int
    cpu: float
    looks: list[Look]


def take(way: Way) -> Look:
    began = time.monotonic()
    picture = way.look()
    return Look(picture.at - began, picture.true_s(), picture.stated_s)


def measure(way: str, url: str, seconds: float, cameras: int) -> Result:
    """In this process. Looks before the measurement are not counted."""
    opened = [WAYS[way](url) for _ in range(cameras)]
    for each in opened:
        each.look()
    time.sleep(SETTLE_S)
    taken: list[Look] = []
    began, cpu = time.monotonic(), time.process_time()
    threads = [
        threading.Thread(target=look_at, args=(each, taken, began, seconds, number / cameras))
        for number, each in enumerate(opened)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    time.sleep(max(0.0, began + seconds - time.monotonic()))
    spent = (time.process_time() - cpu) / (time.monotonic() - began)
    for each in opened:
        each.close()
    return Result(cameras, spent, taken)


def look_at(way: Way, taken: list[Look], began: float, seconds: float, offset: float) -> None:
    """Looks every 10 s, each at another place in the group of pictures."""
    for number in range(int(seconds / LOOK_S)):
        within = (LOOK_S - GROUP_S) * offset + GROUP_S * ((number * GOLDEN + offset * 7) % 1)
        time.sleep(max(0.0, began + number * LOOK_S + within - time.monotonic()))
        taken.append(take(way))


@contextmanager
def serving():
    """The URL of a running clip server, and what it plays."""
    server = subprocess.Popen(
        ["/usr/bin/python3", str(Path(__file__).parent / "clip_server.py"), "1920", "1080", str(FPS)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    try:
        _, port, clip = server.stdout.readline().split(maxsplit=2)
        yield f"rtsp://127.0.0.1:{port}/clip", clip.strip()
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


def compare(url: str, seconds: float, cameras: int, also: Sequence[Path]) -> dict[str, Result]:
    """All ways at the same time."""
    processes = {way: start(way, url, seconds, cameras, None) for way in WAYS}
    for checkout in also:
        processes[f"edged in {checkout.name}"] = start("edged", url, seconds, cameras, checkout)
    outputs = {
        title: process.communicate(timeout=STARTED_S + 2 * seconds)[0].strip() for title, process in processes.items()
    }
    failed = [title for title, output in outputs.items() if not output]
    assert not failed, f"failed: {', '.join(failed)}"
    return {title: read(output.splitlines()[-1]) for title, output in outputs.items()}


def figures(cameras: int, results: dict[str, Result]) -> list[Figure]:
    """Of edged, compared with decoding continuously."""
    base, edged = results["continuous, OpenCV"], results["edged"]
    ratio = edged.cpu / edged.cameras / base.cpu * base.cameras
    ages = Spread.of(look.true_s for look in edged.looks)
    took = Spread.of(look.took_s for look in edged.looks)
    errors = Spread.of(abs(look.true_s - look.stated_s) for look in edged.looks if look.stated_s is not None)
    at = f"{cameras} cameras" if cameras > 1 else "1 camera"
    return [
        Figure(f"share-{cameras}", f"CPU of a look every {LOOK_S:g} s, {at}", ratio, against=CONTINUOUS),
        Figure(f"cores-{cameras}", f"the same in cores, {at} in one process", edged.cpu, "cores"),
        Figure(
            f"took-{cameras}",
            f"duration of taking a picture, {at}",
            took,
            "s",
        ),
        Figure(f"age-{cameras}", f"true age of the picture then, {at}", ages, "s", at_most=0.5),
        Figure(f"error-{cameras}", f"difference between stated and true age, {at}", errors, "s"),
    ]


def read(line: str) -> Result:
    cameras, cpu, looks = json.loads(line)
    return Result(cameras, cpu, [Look(*each) for each in looks])


def start(way: str, url: str, seconds: float, cameras: int, checkout: Path | None) -> subprocess.Popen[str]:
    count = min(cameras, CONTINUOUS_AT_MOST) if "continuous" in way else cameras
    environment = {**os.environ, "PYTHONPATH": str(checkout)} if checkout else None
    command = [sys.executable, __file__, "--way", way, url, str(seconds), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def table(results: dict[str, Result]) -> str:
    base = results["continuous, OpenCV"]
    lines = [
        f"{'':20}{'cameras':>8}{'cores':>8}{'per cam.':>9}{'ratio':>7}{'looks':>6}{'refused':>8}{'took s':>14}"
        f"{'true age s':>20}{'stated s':>20}{'error s':>9}"
    ]
    for title, each in results.items():
        per_camera = each.cpu / each.cameras
        took = [look.took_s for look in each.looks]
        true = [look.true_s for look in each.looks if look.true_s is not None]
        stated = [look.stated_s for look in each.looks if look.stated_s is not None]
        errors = [
            abs(look.true_s - look.stated_s)
            for look in each.looks
            if look.true_s is not None and look.stated_s is not None
        ]
        ratio, refused = per_camera / base.cpu * base.cameras, len(each.looks) - len(true)
        lines.append(
            f"{title[:20]:20}{each.cameras:8}{each.cpu:8.3f}{per_camera:9.4f}{ratio:7.3f}{len(each.looks):6}"
            f"{refused:8}{spread(took, 2):>14}{spread(true):>20}{spread(stated):>20}"
            f"{max(errors, default=float('nan')):9.2f}"
        )
    return "\n".join(lines)


def spread(numbers: Sequence[float], count: int = 3) -> str:
    """Median, 95th percentile and maximum; or the first two."""
    if not numbers:
        return "-"
    ordered = sorted(numbers)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return " ".join(f"{each:.2f}" for each in [statistics.median(ordered), p95, ordered[-1]][:count])


def main(recording: Recording) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", nargs="?", type=float, default=60.0)
    parser.add_argument("cameras", nargs="*", type=int, default=[1, 4, 16])
    parser.add_argument("--also", type=Path, action="append", default=[], metavar="CHECKOUT")
    arguments = parser.parse_args(recording.words)
    measured = []
    with serving() as (url, clip):
        print(f"{clip}, {arguments.seconds:.0f} s; median, 95th percentile and maximum", flush=True)
        for cameras in arguments.cameras:
            results = compare(url, arguments.seconds, cameras, arguments.also)
            print(table(results), f"load average {os.getloadavg()[0]:.1f}\n", sep="\n", flush=True)
            measured += figures(cameras, results)
    return recording.finish(measured)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--way"]:
        _, _, way, url, seconds, count = sys.argv
        print(json.dumps(astuple(measure(way, url, float(seconds), int(count)))), flush=True)
        os._exit(0)  # a thread may still be inside FFmpeg
    sys.exit(main(Recording(__file__, __doc__)))
