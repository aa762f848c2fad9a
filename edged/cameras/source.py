"""Which camera a source is: the door into this package."""

from __future__ import annotations

import time
from pathlib import Path
from threading import Event as StopSignal

from edged.cameras import web
from edged.cameras.health import Health
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


def fetch_picture(path_or_url: str) -> Frame:
    """One picture, without masks, from a file or an http(s) URL (of a stream its first). Raises CameraError."""
    began = time.monotonic()
    scheme, separator, _ = path_or_url.partition("://")
    if not separator:
        bgr = read_picture(Path(path_or_url).expanduser())
    elif scheme.lower() in ("http", "https"):
        with web.request(path_or_url) as response:
            data = next(web.parts(response), b"") if web.is_stream(response) else web.picture(response, StopSignal())
        bgr = decode_picture(data)
    else:
        raise CameraError(f"a picture is a file or an http(s) address, not {scheme}://")
    now = time.monotonic()
    return frame_from_bgr(bgr, (), now, (now - began) * 1000)
