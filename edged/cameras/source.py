"""Opens cameras by the kind of their source. The rest of edged uses this package through this module."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from edged.cameras.health import Health
from edged.cameras.http_camera import HttpCamera, fetch_once
from edged.cameras.path_camera import READ_S, PathCamera
from edged.cameras.picture import frame_from_bgr
from edged.cameras.picture_file import read_picture
from edged.cameras.reader import Reader
from edged.cameras.rtsp import RtspSource
from edged.cameras.stream_camera import StreamCamera
from edged.cameras.usb_camera import UsbCamera
from edged.cameras.waiting import THREAD_PREFIX
from edged.core.errors import CameraError
from edged.core.interfaces import Camera, Noise
from edged.core.specs import CameraSpec
from edged.core.types import CameraFigures, CameraReport, Frame

CLOSE_ALL_S = 2.0


def open_camera(spec: CameraSpec, report: CameraReport, noise: Noise | None = None) -> Camera:
    """The camera for this spec, not started. `report` is called in the thread that noticed the change. Without `noise`,
    nothing is known of the camera from before.

    `close()` of the camera waits for a running call; after it there are no more calls.
    """
    if spec.source.problem:
        return UnusableCamera(spec.source.problem, Health(spec.name, report))
    match spec.source.kind:
        case "rtsp":
            return StreamCamera(spec, RtspSource().open, Health(spec.name, report), noise)
        case "http":
            return HttpCamera(spec, report, noise)
        case "usb":
            return UsbCamera(spec, report, noise=noise)
        case "path":
            return PathCamera(spec, report)


class UnusableCamera:
    """A camera whose secret is missing. Nothing is sent to its address."""

    def __init__(self, problem: str, health: Health) -> None:
        self._problem = problem
        self._health = health

    def start(self) -> None:
        self._health.mark_offline(self._problem)

    def grab(self, stop: threading.Event) -> Frame:
        raise CameraError(self._problem)

    def figures(self) -> CameraFigures:
        return self._health.figures()

    def close(self) -> None:
        self._health.close()


def close_all(cameras: Iterable[Camera]) -> bool:
    """Close them concurrently, in 2 s at most. False if a camera's thread is still inside FFmpeg, a driver or a read.

    The process must then end with `os._exit`: at an ordinary exit such a thread aborts it (SIGABRT), and nothing can
    interrupt the thread before its time-out of 4 to 8 s.
    """
    deadline = time.monotonic() + CLOSE_ALL_S
    closers = [closer for camera in cameras if (closer := _closing(camera))]
    for closer in closers:
        closer.join(max(0.0, deadline - time.monotonic()))
    return not any(thread.name.startswith(THREAD_PREFIX) for thread in threading.enumerate())


def _closing(camera: Camera) -> threading.Thread | None:
    """The thread that closes this camera. None if there was no thread left: then it is closed now, in 1 s at most."""
    closer = threading.Thread(target=camera.close, daemon=True)
    try:
        closer.start()
    except RuntimeError:
        camera.close()
        return None
    return closer


def fetch_picture(path_or_url: str, stop: threading.Event) -> Frame:
    """One picture without masks, from a file or an http(s) URL (the first picture of a stream).

    Raises CameraError, and Stopped once `stop` is set.
    """
    began = time.monotonic()
    scheme, separator, _ = path_or_url.partition("://")
    if not separator:
        path = Path(os.path.expanduser(path_or_url))  # noqa: PTH111  # pathlib's raises for an unknown user
        bgr = Reader("picture", str(path), READ_S, threading.Event()).read(lambda: read_picture(path), stop)
    elif scheme.lower() in ("http", "https"):
        bgr = fetch_once(path_or_url, stop.is_set)
    else:
        raise CameraError(f"pictures from {scheme}:// are not supported (use a file or an http(s) address)")
    now = time.monotonic()
    return frame_from_bgr(bgr, (), now, (now - began) * 1000)
