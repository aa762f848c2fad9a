"""CPU of cameras with a look every 10 s, drained and decoded on demand, against decoding continuously.

bench_capture.py [SECONDS] [CAMERAS]: both run at the same time against one server, in processes of their own that each
measure their CPU time. Prints one line; the ratio is per camera. 1080p25, H.264.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from edged.cameras.environment import OPENCV

os.environ.update(OPENCV)

import cv2  # after its environment variables are set

from edged.cameras.source import close_all, open_camera
from edged.core.secret import Secret
from edged.core.specs import CameraSpec, SourceSpec

LOOK_S = 10.0


def looks(url: str, seconds: float, cameras: int) -> tuple[float, str]:
    """CPU seconds per camera and second, and a summary of the looks."""
    source = SourceSpec("rtsp", Secret(url), url)
    opened = [open_camera(CameraSpec(f"c{number}", source), lambda _: None) for number in range(cameras)]
    stop = threading.Event()
    for camera in opened:
        camera.start()
    for camera in opened:
        camera.grab(stop)
    ages, grabs_ms = [], []
    began, cpu = time.monotonic(), time.process_time()
    number = 0
    while (due := began + (number + 1) * LOOK_S / cameras) <= began + seconds + 0.001:
        stop.wait(due - time.monotonic())
        frame = opened[number % cameras].grab(stop)
        ages.append(frame.age_s())
        grabs_ms.append(frame.grab_ms)
        number += 1
    spent = (time.process_time() - cpu) / (time.monotonic() - began) / cameras
    close_all(opened)
    grab_ms = sum(grabs_ms) / len(grabs_ms)
    return spent, f"{number} looks, age of the frame {max(ages):.2f} s at most, decoded in {grab_ms:.0f} ms"


def decodes(url: str, seconds: float) -> tuple[float, str]:
    capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    for _ in range(50):
        capture.grab()
    began, cpu, count = time.monotonic(), time.process_time(), 0
    while time.monotonic() < began + seconds:
        assert capture.grab(), "the server ended"
        count += 1
    spent = (time.process_time() - cpu) / (time.monotonic() - began)
    capture.release()
    return spent, f"{count / seconds:.1f} pictures a second"


def main(seconds: float, cameras: int) -> None:
    server = subprocess.Popen(
        ["/usr/bin/python3", str(Path(__file__).parent / "clip_server.py"), "1920", "1080", "25"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    try:
        _, port, clip = server.stdout.readline().split(maxsplit=2)
        url = f"rtsp://127.0.0.1:{port}/clip"
        processes = [
            subprocess.Popen(
                [sys.executable, __file__, mode, url, str(seconds), str(cameras)], stdout=subprocess.PIPE, text=True
            )
            for mode in ("looks", "decodes")
        ]
        (ours, looks_summary), (theirs, decodes_summary) = (
            process.communicate()[0].split(maxsplit=1) for process in processes
        )
    finally:
        server.kill()
        server.wait()
    share = float(ours) / float(theirs)
    print(
        f"capture: ratio {share:.3f}: {float(ours):.2%} of a core per camera "
        f"({cameras} of them, {looks_summary.strip()}) against {float(theirs):.2%} decoding continuously "
        f"({decodes_summary.strip()}); {clip.strip()}, {seconds:.0f} s"
    )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["looks", url, seconds, cameras]:
            print(*looks(url, float(seconds), int(cameras)))
        case ["decodes", url, seconds, _]:
            print(*decodes(url, float(seconds)))
        case [*rest]:
            main(float(rest[0]) if rest else 30.0, int(rest[1]) if rest[1:] else 1)
