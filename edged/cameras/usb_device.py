"""Opens a USB camera's device, or says why it cannot be opened: OpenCV only returns False."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Protocol, TypeAlias

import cv2

from edged.cameras.usb_capture import Capture
from edged.cameras.usb_format import Wanted, set_up
from edged.cameras.usb_identity import IdentityGuard
from edged.cameras.usb_reasons import examination_error, not_a_camera, open_reason, start_reason
from edged.cameras.usb_v4l2 import CAPTURE, CAPTURE_MULTIPLANAR, Sizes, VideoNode
from edged.config.usb_devices import Identity, UsbDevices
from edged.core.errors import CameraError

NodeState: TypeAlias = tuple[int, int, int]  # changes when a device node is created again or gets other permissions


class UsbSystem(Protocol):
    """What this machine knows about USB cameras."""

    def node_state(self, path: str) -> NodeState | None:
        """None if there is no device node."""

    def identify(self, path: str) -> Identity | None:
        """The camera that the node belongs to now. None if that cannot be told."""

    def has_twin(self, path: str) -> bool:
        """True if only its port tells this camera from another one that is connected."""

    def guard(self, camera: str, path: str) -> IdentityGuard:
        """The guard of this camera's source, the same one for as long as the process lives."""

    def open(self, path: str, wanted: Wanted) -> Capture:
        """Open the device for reading. Raises CameraError with the reason, HeldByEdged if edged itself has it."""

    def why_not_started(self, path: str) -> str:
        """Why the driver does not start to deliver pictures."""


class LocalUsb:
    """The devices of this machine."""

    def __init__(self) -> None:
        self._guards: dict[tuple[str, str], IdentityGuard] = {}

    def node_state(self, path: str) -> NodeState | None:
        try:
            status = os.stat(path)  # noqa: PTH116  # called ten times a second
        except OSError:
            return None
        return status.st_rdev, status.st_ino, status.st_ctime_ns

    def identify(self, path: str) -> Identity | None:
        return UsbDevices().identify(path)

    def has_twin(self, path: str) -> bool:
        return bool(UsbDevices().twins(path))

    def guard(self, camera: str, path: str) -> IdentityGuard:
        return self._guards.setdefault((camera, path), IdentityGuard())

    def open(self, path: str, wanted: Wanted) -> Capture:
        with video_node(path) as node:
            sizes = examine(path, node)
        # No time-out parameters: V4L2 does not support them, and the open would fail.
        capture = cv2.VideoCapture(path, cv2.CAP_V4L2)
        if not capture.isOpened():
            capture.release()
            raise CameraError(f"{path} has no picture format that OpenCV supports, or its driver failed")
        set_up(capture, wanted, sizes)
        return capture

    def why_not_started(self, path: str) -> str:
        try:
            with video_node(path) as node:
                node.try_start()
        except OSError as error:
            return start_reason(path, error)
        except CameraError as error:
            return str(error)
        return f"the driver of {path} did not start the stream at the first attempt"


@cache
def local_usb() -> LocalUsb:
    """One for the process: a reload that opens a camera again must not accept another one in its place."""
    return LocalUsb()


@contextmanager
def video_node(path: str) -> Iterator[VideoNode]:
    """The opened device node. Raises CameraError with the reason if it is not a device that can be opened."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise CameraError(f"{path} {open_reason(path, error)}") from None
    try:
        if not stat.S_ISCHR(os.fstat(handle).st_mode):
            raise CameraError(f"{path} is not a video device")
        yield VideoNode(handle)
    finally:
        os.close(handle)


def examine(path: str, node: VideoNode) -> Sizes:
    """The sizes of a camera that is free. Raises CameraError if it is not a camera, or in use."""
    try:
        flags = node.capabilities()
        if not flags & (CAPTURE | CAPTURE_MULTIPLANAR):
            raise CameraError(f"{path} {not_a_camera(flags)}")
        node.require_idle()
        return node.sizes()
    except OSError as error:
        raise examination_error(path, error) from None
