"""What OpenCV does with a V4L2 device: the same steps for a real one in the guest and for the stand-in of the tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import cv2

SIZES = ((640, 480), (1920, 1080))
WANTED = (1280, 720)
AT_ONCE_S = 1.0
MJPG = cv2.VideoWriter.fourcc(*"MJPG")
Facts = dict[str, Any]


def format_facts(capture: Any) -> Facts:
    """Of a camera with MJPG in SIZES."""
    accepted = [
        capture.set(cv2.CAP_PROP_FOURCC, MJPG),
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, WANTED[0]),
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, WANTED[1]),
        capture.set(cv2.CAP_PROP_CONVERT_RGB, 0),
    ]
    size = [int(capture.get(edge)) for edge in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)]
    grabbed = capture.grab()
    retrieved, data = capture.retrieve()
    raw = data.tobytes()
    return {
        "accepted": accepted,
        "size_for_1280x720": size,
        "grabbed": grabbed,
        "retrieved": retrieved,
        "rows_of_raw_data": data.shape[0],
        "raw_data_is_the_jpeg": raw.startswith(b"\xff\xd8\xff") and raw.endswith(b"\xff\xd9"),
        "stamp_is_monotonic": 0 < time.monotonic() - capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 < AT_ONCE_S,
    }


def missing_format_facts(capture: Any) -> Facts:
    """Of a camera without MJPG."""
    accepted = capture.set(cv2.CAP_PROP_FOURCC, MJPG)
    return {"accepted": accepted, "is_mjpg": int(capture.get(cv2.CAP_PROP_FOURCC)) == MJPG}


def outage_facts(capture: Any, silence: Callable[[bool], object], unplug: Callable[[], object]) -> Facts:
    """Of a camera that becomes silent, sends again, becomes silent, and is unplugged during the grab."""
    first = capture.grab()
    silence(True)
    capture.grab()  # one may be in the queue
    grabbed, silent_s = timed(capture)
    later = threading.Timer(0.5, silence, [False])
    later.start()
    recovered, _ = timed(capture)
    later.join()
    silence(True)
    capture.grab()
    pull = threading.Timer(0.5, unplug)
    pull.start()
    waited, wait_s = timed(capture)
    pull.join()
    again, again_s = timed(capture)
    return {
        "first": first,
        "silent": grabbed,
        "silent_waits_for_the_time_out": silent_s > 2.0,
        "recovers_without_reopening": recovered,
        "unplugged_during_grab": waited,
        "unplugged_ends_the_grab": wait_s < 0.5 + AT_ONCE_S,
        "unplugged": again,
        "unplugged_at_once": again_s < AT_ONCE_S,
        "still_opened": capture.isOpened(),
    }


def refused_facts(capture: Any) -> Facts:
    """Of a camera that refuses STREAMON."""
    grabbed, seconds = timed(capture)
    return {"grabbed": grabbed, "at_once": seconds < AT_ONCE_S}


def timed(capture: Any) -> tuple[bool, float]:
    began = time.monotonic()
    grabbed = capture.grab()
    return grabbed, time.monotonic() - began
