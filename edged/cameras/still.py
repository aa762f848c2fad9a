"""A frame from a source that is read once per look."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from edged.cameras.health import UNEXPECTED, Health
from edged.cameras.jpeg import DamagedPicture
from edged.cameras.picture import Pixels, frame_from_bgr, require_fresh
from edged.core.errors import CameraError, StaleFrame, Stopped
from edged.core.specs import CameraSpec
from edged.core.types import Frame


class SourceStreams(Exception):
    """The source sends a stream instead of single pictures. Not a failure: its health does not change."""


@dataclass(frozen=True, slots=True)
class Still:
    """A picture (BGR), a description of its source, and when it was captured (monotonic; None: when it was read)."""

    bgr: Pixels
    about: str
    captured: float | None = None


def take_still(spec: CameraSpec, health: Health, read: Callable[[], Still]) -> Frame:
    """The frame of what `read` returns. Updates `health`. Raises StaleFrame, and what `read` raises."""
    began = time.monotonic()
    try:
        still = read()
    except StaleFrame as error:
        if not health.online:  # it can be read, but has given no picture since it could not
            health.mark_offline(str(error))
        raise
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
    captured = now if still.captured is None else still.captured
    frame = frame_from_bgr(still.bgr, spec.mask, captured, (now - began) * 1000, spec.rotate)
    health.mark_online(f"{still.about}, {still.bgr.shape[1]}x{still.bgr.shape[0]}")
    require_fresh(captured, spec.max_age_s)
    return frame
