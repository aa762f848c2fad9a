"""RTSP and HTTP streams. A thread per camera drains packets; nothing is decoded until a look asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import cv2

from edged.cameras.bounded import Cancelled
from edged.cameras.decode import decode
from edged.cameras.gop_buffer import GopBuffer
from edged.cameras.health import Health
from edged.cameras.live_edge import LiveEdge
from edged.cameras.packets import OpenStream
from edged.cameras.picture import frame_from_bgr, require_fresh
from edged.cameras.reconnect import keep_connected
from edged.cameras.waiting import CLOSE_S, POLL_S, THREAD_PREFIX, raise_if_ended
from edged.core.errors import CameraError
from edged.core.specs import CameraSpec
from edged.core.types import CameraFigures, Frame

NO_KEYFRAME_S = 30.0
FIRST_LOOK_S = 8.0  # how long the first look waits for a connection, which takes 0.5 to 5 s


class StreamCamera:
    """A camera whose packets are drained by a thread of its own."""

    def __init__(
        self,
        spec: CameraSpec,
        open_stream: Callable[[str, Cancelled], AbstractContextManager[OpenStream]],
        health: Health,
    ) -> None:
        self._spec = spec
        self._open_stream = open_stream
        self._health = health
        self._closing = threading.Event()
        self._changed = threading.Condition()
        self._live: GopBuffer | None = None  # while there is a connection and its first burst of old packets is over
        self._started = 0.0
        self._thread = threading.Thread(target=self._run, name=THREAD_PREFIX + spec.name, daemon=True)

    def start(self) -> None:
        self._started = time.monotonic()
        self._thread.start()

    def grab(self, stop: threading.Event) -> Frame:
        began = time.monotonic()
        snapshot = self._wait_until_live(stop).snapshot()
        require_fresh(snapshot.captured, self._spec.max_age_s)
        bgr = decode(snapshot)
        return frame_from_bgr(bgr, self._spec.mask, snapshot.captured, (time.monotonic() - began) * 1000)

    def figures(self) -> CameraFigures:
        return self._health.figures()

    def close(self) -> None:
        """Returns after 1 s at most. A thread inside FFmpeg ends later, at FFmpeg's time-out."""
        self._health.close()
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)

    def _wait_until_live(self, stop: threading.Event) -> GopBuffer:
        deadline = self._started + FIRST_LOOK_S
        with self._changed:
            while self._live is None and self._health.online is None and time.monotonic() < deadline:
                raise_if_ended(stop, self._closing)
                self._changed.wait(POLL_S)
            if self._live is None:
                raise CameraError(self._health.reason or "reconnecting to the camera")
            return self._live

    def _run(self) -> None:
        keep_connected(self._session, self._health, self._closing)

    def _session(self) -> None:
        """Drain one connection until it is lost (CameraError) or the camera is closed."""
        try:
            with self._open_stream(self._spec.source.address.reveal(), self._closing.is_set) as stream:
                self._drain(stream)
        except cv2.error as error:
            raise CameraError(f"OpenCV failed on the stream (error {error.code})") from None
        finally:
            self._set_live(None)

    def _drain(self, stream: OpenStream) -> None:
        gop, edge, opened = GopBuffer(stream.codec, stream.extradata), LiveEdge(), time.monotonic()
        for packet in stream.packets:
            if self._closing.is_set():
                return
            gop.add(packet, edge.captured(packet))
            if self._live is None and edge.reached and gop.has_keyframe:
                self._set_live(gop)
                self._health.mark_online(stream.about)
            elif not gop.has_keyframe and time.monotonic() - opened > NO_KEYFRAME_S:
                raise CameraError(
                    f"no keyframe in {NO_KEYFRAME_S:.0f} s: set the camera to send one every second or two"
                )

    def _set_live(self, gop: GopBuffer | None) -> None:
        with self._changed:
            self._live = gop
            self._changed.notify_all()
