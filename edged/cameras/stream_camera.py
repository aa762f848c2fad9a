"""RTSP and HTTP streams. A thread per camera drains packets; nothing is decoded until a look asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from edged.cameras.bounded import Cancelled
from edged.cameras.frozen import FrozenCheck
from edged.cameras.health import Health
from edged.cameras.live_stream import LiveStream
from edged.cameras.packets import OpenStream
from edged.cameras.picture import frame_from_bgr, require_fresh
from edged.cameras.reconnect import keep_connected
from edged.cameras.waiting import CLOSE_S, POLL_S, THREAD_PREFIX, raise_if_ended
from edged.core.errors import CameraError, StaleFrame
from edged.core.interfaces import Noise
from edged.core.specs import CameraSpec
from edged.core.types import CameraFigures, Frame

FIRST_LOOK_S = 8.0  # how long looks wait for the first connection, which takes 0.1 to 5 s


class StreamCamera:
    """A camera whose packets are drained by a thread of its own."""

    def __init__(
        self,
        spec: CameraSpec,
        open_stream: Callable[[str, Cancelled], AbstractContextManager[OpenStream]],
        health: Health,
        noise: Noise | None = None,
    ) -> None:
        self._spec = spec
        self._open_stream = open_stream
        self._health = health
        self._frozen = FrozenCheck(spec.frozen_after_s, noise)
        self._closing = threading.Event()
        self._changed = threading.Condition()
        self._live: LiveStream | None = None  # while there is a connection and a picture was decoded
        self._silence: str | None = None  # why an open connection has no picture
        self._tried = False  # the first connection has a picture, has failed or is silent
        self._started = 0.0
        self._thread = threading.Thread(target=self._run, name=THREAD_PREFIX + spec.name, daemon=True)

    def start(self) -> None:
        self._started = time.monotonic()
        self._thread.start()

    def grab(self, stop: threading.Event) -> Frame:
        began = time.monotonic()
        newest = self._wait_until_live(stop).newest(lambda: raise_if_ended(stop, self._closing))
        require_fresh(newest.captured, self._spec.max_age_s, newest.after_damage)
        grab_ms = (time.monotonic() - began) * 1000
        frame = frame_from_bgr(newest.bgr, self._spec.mask, newest.captured, grab_ms, self._spec.rotate)
        return self._frozen.check(frame, newest.clock_stands)

    def figures(self) -> CameraFigures:
        return self._health.figures()

    def close(self) -> None:
        """Returns after 1 s at most. A thread inside FFmpeg ends later, at FFmpeg's time-out."""
        self._health.close()
        self.stop()

    def stop(self) -> None:
        """As `close`, but the camera's health stays open, for another reader of the same camera."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)

    def _wait_until_live(self, stop: threading.Event) -> LiveStream:
        deadline = self._started + FIRST_LOOK_S
        with self._changed:
            while not self._tried and time.monotonic() < deadline:
                raise_if_ended(stop, self._closing)
                self._changed.wait(POLL_S)
            if self._live is None:
                if self._silence:
                    raise StaleFrame(self._silence)
                raise CameraError(self._health.reason or "reconnecting to the camera")
            return self._live

    def _run(self) -> None:
        keep_connected(self._session, self._health, self._closing, self._pause)

    def _pause(self, seconds: float) -> None:
        self._note_outcome()
        self._closing.wait(seconds)

    def _session(self) -> None:
        """Drain one connection until it is lost (CameraError) or the camera is closed."""
        try:
            with self._open_stream(self._spec.source.address.reveal(), self._closing.is_set) as stream:
                self._drain(stream)
        finally:
            self._set_live(None)

    def _drain(self, stream: OpenStream) -> None:
        live, opened = LiveStream(stream, self._health), time.monotonic()
        for packet in stream.packets:
            if self._closing.is_set():
                return
            if packet is None:
                self._nothing_arrives(time.monotonic() - opened)
                continue
            live.add(packet)
            if self._live is None and live.prove() and not self._closing.is_set():
                self._set_live(live)
                self._health.mark_online(live.about)
                self._note_outcome()
            elif self._live and not live.proven:
                self._set_live(None, "the newest keyframe of the stream is damaged")

    def _nothing_arrives(self, seconds: float) -> None:
        reason = f"connected, but the camera has sent nothing for {seconds:.0f} s"
        self._set_live(None, reason)
        self._health.mark_offline("connected, but the camera sends nothing")
        self._note_outcome()

    def _set_live(self, live: LiveStream | None, silence: str | None = None) -> None:
        with self._changed:
            self._live, self._silence = live, silence

    def _note_outcome(self) -> None:
        with self._changed:
            self._tried = True
            self._changed.notify_all()
