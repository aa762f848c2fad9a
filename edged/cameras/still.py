"""A frame from a source that is read once per look."""

from __future__ import annotations

import time
from collections.abc import Callable

from edged.cameras.health import UNEXPECTED, Health
from edged.cameras.jpeg import DamagedPicture
from edged.cameras.picture import Pixels, frame_from_bgr
from edged.core.errors import CameraError, Stopped
from edged.core.specs import CameraSpec
from edged.core.types import Frame


class SourceStreams(Exception):
    """The source sends a stream instead of single pictures. Not a failure: its health does not change."""


def take_still(spec: CameraSpec, health: Health, read: Callable[[], tuple[Pixels, str]]) -> Frame:
    """The frame of `read`, which returns the pixels (BGR) and a description of the source. Updates `health`."""
    began = time.monotonic()
    try:
        bgr, about = read()
    except CameraError as error:
        if isinstance(error, DamagedPicture):
            health.count_damaged()
        health.mark_offline(str(error))
        raise
    except OSError as error:
        reason = f"{spec.source.shown} cannot be read: {error.strerror}"
        health.mark_offline(reason)
        raise CameraError(reason) from None
    except (Stopped, SourceStreams):
        raise
    except Exception:  # logged by the look
        health.mark_offline(UNEXPECTED)
        raise
    now = time.monotonic()
    frame = frame_from_bgr(bgr, spec.mask, now, (now - began) * 1000, spec.rotate)
    health.mark_online(f"{about}, {bgr.shape[1]}x{bgr.shape[0]}")
    return frame
