"""USB cameras (V4L2). A thread per camera drains the driver's queue; only the pictures that are needed are decoded."""

from __future__ import annotations

import threading
import time

import cv2

from edged.cameras.frozen import FrozenCheck
from edged.cameras.health import Health
from edged.cameras.picture import frame_from_bgr, require_fresh
from edged.cameras.reconnect import keep_connected
from edged.cameras.usb_capture import Capture
from edged.cameras.usb_device import NodeState, UsbSystem, local_usb
from edged.cameras.usb_format import Wanted
from edged.cameras.usb_looks import TimedPicture, WaitingLooks
from edged.cameras.usb_reasons import HeldByEdged
from edged.cameras.usb_session import NotStarted, StartTime, UsbSession
from edged.cameras.waiting import CLOSE_S, POLL_S, THREAD_PREFIX, raise_if_ended
from edged.config.usb_devices import node_of
from edged.core.errors import CameraError
from edged.core.interfaces import Noise
from edged.core.specs import CameraSpec
from edged.core.types import CameraFigures, CameraReport, Frame

ANSWER_S = 5.0  # longer than OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT
START_S = 3.0  # from the open until the first picture, of most cameras
MOST_PAUSE_S = 2.0  # opening a local device disturbs nobody
NODE_POLL_S = 0.1
RELEASE_S = 5.0  # a camera that a reload closes releases its device within OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT


class UsbCamera:
    """A V4L2 camera, by index (`0`) or path. Its thread opens, reads and releases the device."""

    def __init__(
        self, spec: CameraSpec, report: CameraReport, usb: UsbSystem | None = None, noise: Noise | None = None
    ) -> None:
        self._spec = spec
        self._path = node_of(spec.source.address.reveal())
        self._usb = usb or local_usb()
        self._health = Health(spec.name, report)
        self._closing = threading.Event()
        self._looks = WaitingLooks()
        self._frozen = FrozenCheck(spec.frozen_after_s, noise)
        # What is learned about the camera, and kept over reconnects.
        self._start_time = StartTime()
        self._guard = self._usb.guard(spec.name, self._path)
        self._tried_node: NodeState | None = None
        self._thread = threading.Thread(target=self._run, name=THREAD_PREFIX + spec.name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def grab(self, stop: threading.Event) -> Frame:
        began = time.monotonic()
        bgr, captured = self._next_picture(stop, began + max(ANSWER_S, START_S + self._spec.warm_up_s))
        require_fresh(captured, self._spec.max_age_s)
        grab_ms = (time.monotonic() - began) * 1000
        frame = frame_from_bgr(bgr, self._spec.mask, captured, grab_ms, self._spec.rotate)
        return self._frozen.check(frame)

    def figures(self) -> CameraFigures:
        return self._health.figures()

    def close(self) -> None:
        """Returns after 1 s at most; the thread releases the device at the driver's next answer."""
        self._health.close()
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)

    def _next_picture(self, stop: threading.Event, deadline: float) -> TimedPicture:
        with self._looks.slot() as slot:
            self._check(stop, deadline)
            while not slot.wait(POLL_S):
                self._check(stop, deadline)
            return slot.take()

    def _check(self, stop: threading.Event, deadline: float) -> None:
        raise_if_ended(stop, self._closing)
        if self._health.online is False:
            raise CameraError(self._health.reason or "offline")
        if time.monotonic() > deadline:
            raise self._looks.refusal() or CameraError(self._health.reason or f"no picture for {ANSWER_S:.1f} s")

    def _run(self) -> None:
        keep_connected(self._session, self._health, self._closing, self._wait, MOST_PAUSE_S)

    def _wait(self, seconds: float) -> None:
        """Wait until the next attempt: 2 s at most, or until the device node is created or changed."""
        end = time.monotonic() + min(seconds, MOST_PAUSE_S)
        while (left := end - time.monotonic()) > 0 and not self._closing.wait(min(left, NODE_POLL_S)):
            if self._usb.node_state(self._path) not in (None, self._tried_node):
                return

    def _session(self) -> None:
        self._tried_node = self._usb.node_state(self._path)
        self._require_same_camera()
        capture = self._open()
        try:
            self._require_same_camera()  # it may have been plugged in after the first check
            session = UsbSession(capture, self._spec, self._health, self._looks, self._start_time)
            while not self._closing.is_set():
                session.step()
        except NotStarted:
            pass
        except cv2.error as error:
            raise CameraError(f"OpenCV failed on the camera (error {error.code})") from None
        finally:
            capture.release()
        if not self._closing.is_set():  # the device can only be asked once it is released
            raise CameraError(self._usb.why_not_started(self._path))

    def _require_same_camera(self) -> None:
        self._guard.check(self._path, self._usb.identify(self._path), self._usb.has_twin(self._path))

    def _open(self) -> Capture:
        """Waits for the device if this process has not released it yet. Raises CameraError."""
        wanted = Wanted(self._spec.size, self._spec.fps)
        end = time.monotonic() + RELEASE_S
        while True:
            try:
                return self._usb.open(self._path, wanted)
            except HeldByEdged:
                if self._closing.wait(NODE_POLL_S) or time.monotonic() > end:
                    raise
