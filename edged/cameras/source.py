"""Which camera a source is: the door into this package."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from pathlib import Path

from edged.cameras import web
from edged.cameras.health import THREADS, Health
from edged.cameras.picture import decode_picture, frame_from_bgr
from edged.cameras.still import HttpCamera, PathCamera, read_picture
from edged.cameras.stream import StreamCamera, rtsp_feed
from edged.cameras.usb import UsbCamera
from edged.core import Camera, CameraError, CameraReport, Frame
from edged.specs import CameraSpec


def open_camera(spec: CameraSpec, report: CameraReport) -> Camera:
    """The camera of this spec, not yet started. `report` is called from the thread that sees the change."""
    match spec.source.kind:
        case "rtsp":
            return StreamCamera(spec, rtsp_feed, Health(spec.name, report))
        case "http":
            return HttpCamera(spec, report)
        case "usb":
            return UsbCamera(spec, report)
        case "path":
            return PathCamera(spec, report)


def close_all(cameras: Iterable[Camera]) -> bool:
    """Close them side by side; takes about 1 s at most. False if a camera's thread is still inside FFmpeg or a driver.

    A process must then end by `os._exit`: at an ordinary exit such a thread aborts it (SIGABRT, seen), and nothing can
    call it back before its time-out of 4 to 8 s.
    """
    closers = [threading.Thread(target=camera.close, daemon=True) for camera in cameras]
    for closer in closers:
        closer.start()
    for closer in closers:
        closer.join()
    return not any(thread.name.startswith(THREADS) for thread in threading.enumerate())


def fetch_picture(path_or_url: str) -> Frame:
    """One picture, without masks, from a file or an http(s) URL (of a stream its first). Raises CameraError."""
    began = time.monotonic()
    scheme, separator, _ = path_or_url.partition("://")
    if not separator:
        bgr = read_picture(Path(path_or_url).expanduser())
    elif scheme.lower() in ("http", "https"):
        with web.request(path_or_url) as response:
            data = (
                next(web.parts(response), b"") if web.is_stream(response) else web.picture(response, threading.Event())
            )
        bgr = decode_picture(data)
    else:
        raise CameraError(f"a picture is a file or an http(s) address, not {scheme}://")
    now = time.monotonic()
    return frame_from_bgr(bgr, (), now, (now - began) * 1000)
