"""Why a USB camera cannot be used, in words, from the errno of the driver."""

from __future__ import annotations

import errno
import grp
import os
import stat
from pathlib import Path

from edged.cameras.usb_v4l2 import META_CAPTURE
from edged.core.errors import CameraError

GONE = (errno.ENOENT, errno.ENODEV, errno.ENXIO)
ABSENT = "does not exist (unplugged?)"
BUSY = "is in use by another program"
OWN_HANDLES = Path("/proc/self/fd")


class HeldByEdged(CameraError):
    """The device is open in this process: as another camera, or as a previous connection that is not closed yet."""


def open_reason(path: str, error: OSError) -> str:
    """Why opening the device failed: the end of a sentence."""
    match error.errno:
        case errno.EACCES:
            return f"cannot be opened by this user{_hint_for(path)}"
        case errno.EPERM:
            return "cannot be opened by this service (see DeviceAllow= in its unit)"
        case errno.EBUSY:
            return BUSY
        case code if code in GONE:
            return ABSENT
        case _:
            return f"cannot be opened: {error.strerror}"


def _hint_for(path: str) -> str:
    try:
        status = os.stat(path)  # noqa: PTH116  # as in node_state
    except OSError:
        return ""
    return owner_hint(status.st_mode, status.st_gid, {os.getegid(), *os.getgroups()})


def owner_hint(mode: int, group_id: int, own_groups: set[int]) -> str:
    """Which group may open a device, for a user of `own_groups` who may not."""
    try:
        group = grp.getgrgid(group_id).gr_name
    except KeyError:
        group = str(group_id)
    if group_id in own_groups or mode & 0o060 != 0o060:
        return f" (it belongs to the group {group}, and has the mode {stat.S_IMODE(mode):04o})"
    return f", who is not in the group {group}"


def examination_error(path: str, error: OSError) -> CameraError:
    """The error for a device that was opened, and does not answer as a free camera."""
    if error.errno == errno.EBUSY and is_open_here(path):
        return HeldByEdged(f"{path} is still in use by edged itself (by another camera with the same source?)")
    reasons = {errno.EBUSY: BUSY, errno.ENOTTY: "is not a video device", **dict.fromkeys(GONE, ABSENT)}
    return CameraError(f"{path} {reasons.get(error.errno or 0, f'does not respond: {error.strerror}')}")


def not_a_camera(flags: int) -> str:
    """What a node without pictures is: the end of a sentence. `flags` are V4L2_CAP_..."""
    if flags & META_CAPTURE:
        return "is a metadata node of this camera, not its video node (which usually has the number before it)"
    return "is a video device, but not a camera: it delivers no pictures"


def start_reason(path: str, error: OSError) -> str:
    """Why the driver refused to start the stream."""
    match error.errno:
        case errno.ENOSPC:
            return (
                "the USB controller has not enough bandwidth left for this camera: "
                "set a smaller size: or fps:, or connect it to another controller"
            )
        case errno.EBUSY:
            return f"{path} {BUSY}"
        case code if code in GONE:
            return f"{path} {ABSENT}"
        case _:
            return f"the driver of {path} refused to start the stream: {error.strerror}"


def is_open_here(path: str) -> bool:
    """True if this process has the device open."""
    try:
        device = os.stat(path).st_rdev  # noqa: PTH116  # as in node_state
        handles = list(OWN_HANDLES.iterdir())
    except OSError:
        return False
    return sum(_device_of(handle) == device for handle in handles) > 1  # one is the handle that found it busy


def _device_of(handle: Path) -> int | None:
    try:
        return handle.stat().st_rdev
    except OSError:  # closed meanwhile
        return None
