"""One connection to a USB camera: takes every picture off the driver's queue, and decodes those that are needed."""

from __future__ import annotations

import time

import cv2
import numpy as np

from edged.cameras.health import Health
from edged.cameras.picture import Pixels, decode_picture, require_fresh
from edged.cameras.usb_capture import Capture
from edged.cameras.usb_format import describe
from edged.cameras.usb_looks import WaitingLooks
from edged.cameras.usb_stamps import StampClock
from edged.cameras.usb_warm_up import BlankPictures, WarmUp
from edged.core.errors import CameraError, StaleFrame
from edged.core.specs import CameraSpec
from edged.core.text import spoken

SILENT_S = 2.0  # a grab that fails after longer than this ran into OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT
STALL_S = 6.0  # without a picture, after there were some: reopened
YET_S = 5.0  # without a picture, after it was opened: offline, and not reopened yet
QUEUED_S = 0.005  # a grab that takes less found its picture in the queue
OLD_S = 0.5  # a picture of this age is passed over if it was in the queue
DAMAGED_S = 2.0  # nothing but damaged pictures for this long: offline
RETRY_S = 0.5  # how often a picture is decoded while the camera is offline
UNPLUGGED = "the camera was unplugged, or its driver failed"
FIRST_PATIENCE_S, LEAST_PATIENCE_S, MOST_PATIENCE_S = 20.0, 10.0, 30.0


class NotStarted(CameraError):
    """The driver refused to deliver pictures from the start."""


class StartTime:
    """How long to wait for a camera's first picture. Reopening it restarts it, so it would never get there."""

    def __init__(self) -> None:
        self.patience_s = FIRST_PATIENCE_S

    def succeeded(self, start_s: float) -> None:
        self.patience_s = min(MOST_PATIENCE_S, max(LEAST_PATIENCE_S, 3 * start_s))

    def failed(self) -> None:
        self.patience_s = min(MOST_PATIENCE_S, 2 * self.patience_s)


class UsbSession:
    """For the thread of its camera."""

    def __init__(
        self, capture: Capture, spec: CameraSpec, health: Health, looks: WaitingLooks, start_time: StartTime
    ) -> None:
        self._capture = capture
        self._spec = spec
        self._health = health
        self._looks = looks
        self._start_time = start_time
        self._stamps = StampClock()
        self._blank = BlankPictures()
        self._opened = self._last_picture = time.monotonic()
        self._warm_up: WarmUp | None = None  # from the first picture on
        self._is_warm = False
        self._damaged_since: float | None = None
        self._damage = ""
        self._next_try = 0.0  # for a camera that is offline

    @property
    def _has_started(self) -> bool:
        return self._warm_up is not None

    def step(self) -> None:
        """Take the next picture. Waits for it 3 s at most. Raises CameraError if the camera has to be reopened."""
        since = time.monotonic()
        if not self._capture.grab():
            self._no_picture(time.monotonic() - since)
            return
        now = time.monotonic()
        self._count_in(now)
        # The kernel's time stamp of the picture.
        captured = self._stamps.captured(self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, now)
        is_backlog = now - since < QUEUED_S and now - captured > OLD_S
        if self._is_needed(now) and not is_backlog:
            self._use(captured, now)

    def _count_in(self, now: float) -> None:
        self._last_picture = now
        if not self._warm_up:
            self._warm_up = WarmUp(self._spec.warm_up_s, now)
            self._start_time.succeeded(now - self._opened)

    def _is_needed(self, now: float) -> bool:
        if self._health.online:
            return bool(self._looks) or not self._is_warm
        return now >= self._next_try

    def _no_picture(self, waited_s: float) -> None:
        if waited_s < SILENT_S:
            raise CameraError(UNPLUGGED) if self._has_started else NotStarted("not started")
        silent_s = time.monotonic() - self._last_picture
        if self._has_started:
            self._stalled(silent_s)
        else:
            self._not_started_yet(silent_s)

    def _stalled(self, silent_s: float) -> None:
        if self._health.online is not False:
            self._health.mark_offline(f"no picture for {silent_s:.1f} s")
        if silent_s >= STALL_S:
            raise CameraError(self._health.reason or "no picture")

    def _not_started_yet(self, silent_s: float) -> None:
        patience_s = self._start_time.patience_s
        if silent_s >= patience_s:
            self._start_time.failed()
            raise CameraError(f"no picture within {spoken(patience_s)} after it was opened")
        if silent_s >= YET_S and self._health.online is not False:
            self._health.mark_offline("no picture yet since it was opened")

    def _use(self, captured: float, now: float) -> None:
        """Decode the picture, and pass it to the looks unless it is to be refused."""
        try:
            picture = self._decode()
        except CameraError as error:
            self._damaged(error, now)
            return
        self._damaged_since = None
        if not self._health.online:
            self._health.mark_online(f"USB, {describe(self._capture)}{self._size_note()}")
        try:
            self._require_usable(picture, captured)
        except StaleFrame as error:
            self._looks.refuse(StaleFrame, str(error))
        else:
            self._looks.put((picture, captured))

    def _decode(self) -> Pixels:
        """The picture last grabbed. Raises CameraError if it is damaged."""
        decoded, data = self._capture.retrieve()
        if not decoded or data is None:
            raise CameraError("it cannot be decoded")
        picture = np.asarray(data, dtype=np.uint8)
        is_converted = picture.ndim == 3 and picture.shape[2] == 3
        return picture if is_converted else decode_picture(picture.tobytes())

    def _damaged(self, error: CameraError, now: float) -> None:
        self._health.count_damaged()
        self._looks.refuse(CameraError, f"the picture is damaged: {error}")
        if self._damaged_since is None:
            # The reason is that of the first one: it is published, and each picture may be damaged in another way.
            self._damaged_since, self._damage = now, f"all pictures are damaged: {error}"
        if now - self._damaged_since >= DAMAGED_S or self._health.online is False:
            self._next_try = now + RETRY_S
            self._health.mark_offline(self._damage)

    def _require_usable(self, picture: Pixels, captured: float) -> None:
        """Raises StaleFrame for a picture that does not show the scene as it is."""
        problem = self._blank.problem(picture, captured)
        self._is_warm = self._is_warm or not self._warm_up or self._warm_up.is_over(picture, captured)
        if problem:
            raise StaleFrame(problem)
        if not self._is_warm:
            raise StaleFrame(f"the camera was just opened, and warms up for {spoken(self._spec.warm_up_s)} at most")
        require_fresh(captured, self._spec.max_age_s)

    def _size_note(self) -> str:
        if not self._spec.size:
            return ""
        width, height = self._spec.size
        actual = (self._capture.get(cv2.CAP_PROP_FRAME_WIDTH), self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        return "" if actual == (width, height) else f"; it does not offer {width}x{height}"
