"""Keeps a camera connected: reconnects with a growing back-off."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from threading import Event as StopSignal

from edged.cameras.health import UNEXPECTED, Health
from edged.cameras.reasons import LoginRefused
from edged.core.errors import CameraError, Stopped

BACK_OFF_S = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0)
STEADY_S = 60.0  # a connection that lasted longer resets the back-off

logger = logging.getLogger("edged.camera")


def keep_connected(session: Callable[[], None], health: Health, closing: StopSignal) -> None:
    """Run `session` again and again until `closing` is set. It raises CameraError when the connection is lost."""
    failures = 0
    while not closing.is_set():
        began, refused = time.monotonic(), False
        try:
            session()
            continue
        except Stopped:  # `closing` was set during a wait
            continue
        except CameraError as error:
            reason, refused = str(error), isinstance(error, LoginRefused)
        except Exception:  # an unexpected error must not end this thread
            if health.reason != UNEXPECTED:
                logger.exception("camera %s: unexpected error", health.name)
            reason = UNEXPECTED
        failures = 1 if time.monotonic() - began > STEADY_S else failures + 1
        pause_s = BACK_OFF_S[-1] if refused else BACK_OFF_S[min(failures, len(BACK_OFF_S)) - 1]
        health.mark_offline(reason, pause_s)
        closing.wait(pause_s * random.uniform(1.0, 1.2))
