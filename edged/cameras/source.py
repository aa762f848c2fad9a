"""Which camera a source is: the door into this package."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from edged.cameras import web
from edged.cameras.health import THREADS, Health
from edged.cameras.picture import decode_picture, frame_from_bgr
from edged.cameras.reader import Reader
from edged.cameras.still import READ_S, HttpCamera, PathCamera, read_picture
from edged.cameras.stream import StreamCamera, rtsp_feed
from edged.cameras.usb import UsbCamera
from edged.core.errors import CameraError
from edged.core.interfaces import Camera
from edged.core.specs import CameraSpec
from edged.core.types import CameraReport, Frame

CLOSE_ALL_S = 2.0


def open_camera(spec: CameraSpec, report: CameraReport) -> Camera:
    """The camera of this spec, not yet started. `report` is called in the thread that noticed the change.

    After the camera's `close()` it is not called again; `close()` waits for a call that is running.
    """
    if spec.source.problem:
        return UnusableCamera(spec.source.problem, Health(spec.name, report))
    match spec.source.kind:
        case "rtsp":
            return StreamCamera(spec, rtsp_feed, Health(spec.name, report))
        case "http":
            return HttpCamera(spec, report)
        case "usb":
            return UsbCamera(spec, report)
        case "path":
            return PathCamera(spec, report)


class UnusableCamera:
    """A camera that cannot be connected to at all, because a secret is missing. Nothing is sent to its address."""

    def __init__(self, problem: str, health: Health) -> None:
        self._problem = problem
        self._health = health

    def start(self) -> None:
        self._health.fails(self._problem)

    def grab(self, stop: threading.Event) -> Frame:
        raise CameraError(self._problem)

    def close(self) -> None:
        self._health.end()


def close_all(cameras: Iterable[Camera]) -> bool:
    """Close them side by side, in 2 s at most. False if a camera's thread is still inside FFmpeg, a driver or a read.

    A process must then end by `os._exit`: at an ordinary exit such a thread aborts it (SIGABRT, seen), and nothing can
    call it back before its time-out of 4 to 8 s.
    """
    closers = [threading.Thread(target=camera.close, daemon=True) for camera in cameras]
    deadline = time.monotonic() + CLOSE_ALL_S
    for closer in closers:
        closer.start()
    for closer in closers:
        closer.join(max(0.0, deadline - time.monotonic()))
    return not any(thread.name.startswith(THREADS) for thread in threading.enumerate())


def fetch_picture(path_or_url: str, stop: threading.Event) -> Frame:
    """One picture, without masks, from a file or an http(s) URL (of a stream its first).

    Raises CameraError, and Stopped once `stop` is set.
    """
    began = time.monotonic()
    scheme, separator, _ = path_or_url.partition("://")
    if not separator:
        path = Path(os.path.expanduser(path_or_url))  # noqa: PTH111  # pathlib's raises where there is no such user
        bgr = Reader("picture", str(path), READ_S, threading.Event()).read(lambda: read_picture(path), stop)
    elif scheme.lower() in ("http", "https"):
        with web.request(path_or_url, stop.is_set) as response:
            data = next(web.parts(response), b"") if web.is_stream(response) else web.picture(response)
        bgr = decode_picture(data)
    else:
        raise CameraError(f"a picture is a file or an http(s) address, not {scheme}://")
    now = time.monotonic()
    return frame_from_bgr(bgr, (), now, (now - began) * 1000)
