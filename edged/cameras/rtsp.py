"""RTSP streams through FFmpeg, in raw mode: packets, not pictures."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import cv2

from edged.cameras.bounded import Cancelled
from edged.cameras.packets import CODEC_NAMES, OpenStream, Packet
from edged.cameras.preflight import describe
from edged.core.errors import CameraError

OPEN_S = 5.0
SILENT_S = 4.0  # without a packet for this long, the connection is lost


@contextmanager
def open_rtsp(address: str, cancelled: Cancelled) -> Iterator[OpenStream]:
    """Raises CameraError with the reason if the stream is not available, Stopped once cancelled."""
    describe(address, cancelled)
    capture = _open_capture(address)
    try:
        if not capture.isOpened():
            raise CameraError("the camera answers, but its stream does not open")
        codec = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode("latin-1").strip("\0 ")
        width, height = (int(capture.get(size)) for size in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        about = f"{CODEC_NAMES.get(codec, codec)}, {width}x{height}"
        yield OpenStream(codec, _extradata(capture), about, read_packets(capture))
    finally:
        capture.release()  # in the thread that read from it: from another one this crashes


def _open_capture(address: str) -> cv2.VideoCapture:
    began = time.monotonic()
    capture = _raw_capture(address)
    if not capture.isOpened() and time.monotonic() - began < 1:
        # A server based on GStreamer answers 503 while it tears down the stream that it set up for `describe`.
        capture.release()
        time.sleep(0.5)
        capture = _raw_capture(address)
    return capture


def _raw_capture(address: str) -> cv2.VideoCapture:
    return cv2.VideoCapture(
        address,
        cv2.CAP_FFMPEG,
        [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(OPEN_S * 1000)),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(SILENT_S * 1000)),
            *(cv2.CAP_PROP_FORMAT, -1),  # raw mode
        ],
    )


def _extradata(capture: cv2.VideoCapture) -> bytes:
    retrieved, data = capture.retrieve(None, int(capture.get(cv2.CAP_PROP_CODEC_EXTRADATA_INDEX)))
    return data.tobytes() if retrieved and data is not None else b""


class PacketCapture(Protocol):
    """The part of cv2.VideoCapture that `read_packets` uses."""

    def get(self, propId: int, /) -> float: ...  # noqa: N803 OpenCV's name
    def grab(self) -> bool: ...
    def retrieve(self) -> tuple[bool, Any]: ...


def read_packets(capture: PacketCapture) -> Iterator[Packet]:
    has_begun, since = False, time.monotonic()
    while True:
        grabbed = capture.grab()
        arrived = time.monotonic()
        # At its time-out FFmpeg delivers a leftover as if it were a packet; isOpened() stays True.
        if arrived - since > 0.9 * SILENT_S:
            raise CameraError(f"no packet for {arrived - since:.1f} s")
        if not grabbed:
            raise CameraError("the camera ended the stream" if has_begun else "the stream opened, but sent no picture")
        has_begun = True
        key = bool(capture.get(cv2.CAP_PROP_LRF_HAS_KEY_FRAME))
        stamp = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        retrieved, data = capture.retrieve()
        if retrieved and data is not None:
            yield Packet(data.tobytes(), key, since, arrived, stamp)
            since = time.monotonic()
