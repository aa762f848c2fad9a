"""Keeps a camera connected: reconnects with a back-off that grows with the time it is away."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from threading import Event as StopSignal

from edged.cameras.health import UNEXPECTED, Health
from edged.cameras.reasons import LOGIN_PAUSE_S, LoginRefused
from edged.core.errors import CameraError, Stopped, is_shortage
from edged.core.outage import Outage
from edged.core.text import system_text

LEAST_PAUSE_S, MOST_PAUSE_S = 1.0, 60.0
PAUSE_SHARE = 0.2  # of the time without a picture: a camera that is back is found within a fifth of its outage
JITTER = (1.0, 1.2)
BRIEF_S = 1.0  # a connection that is lost so soon after its first picture does not reset the back-off
NEW_AFTER_S = 60.0  # an unexpected error of a connection that lasted so long is logged with its traceback again

logger = logging.getLogger("edged.camera")


def keep_connected(
    session: Callable[[], None],
    health: Health,
    closing: StopSignal,
    wait: Callable[[float], object] | None = None,
    most_s: float = MOST_PAUSE_S,
) -> None:
    """Run `session` again and again until `closing` is set; no failure is reported after that.

    `session` raises CameraError when the connection is lost.

    The back-off starts over with each session that delivered a picture (see Health.mark_online) and was not brief.
    `wait` waits for that many seconds, `most_s` at most, or shorter if there is a sign that the camera is back; by
    default `closing.wait`.
    """
    wait = wait or closing.wait
    unexpected = Outage(f"camera {health.name}", logger)  # without an end, which is logged by `health`
    brief = 0  # sessions in a row that were
    while not closing.is_set():
        refused, began = False, time.monotonic()
        try:
            session()
            continue
        except Stopped:  # `closing` was set during a wait
            continue
        except CameraError as error:
            reason, refused = str(error), isinstance(error, LoginRefused)
        except Exception as error:  # an unexpected error must not end this thread
            # A shortage: such as no descriptor for a module that PyAV imports when it first needs it.
            reason = system_text(error) if is_shortage(error) else UNEXPECTED
            if time.monotonic() - began >= NEW_AFTER_S:
                unexpected.forget(lambda _: True)
            if reason == UNEXPECTED:
                unexpected.begin(f"unexpected error: {error!r}", level=logging.ERROR, exc_info=error)
        if closing.is_set():  # another connection may report by the same health already
            return
        if health.online:
            brief = brief + 1 if health.online_s < BRIEF_S else 0
        pause_s = back_off_s(health.away_s, brief if health.online else 0)
        pause_s = LOGIN_PAUSE_S if refused else min(pause_s, most_s)
        health.mark_offline(reason, pause_s)
        wait(pause_s * random.uniform(*JITTER))


def back_off_s(away_s: float, brief: int = 0) -> float:
    """Seconds until the next attempt, for a camera that has been away for this long, or had so many brief sessions."""
    doubled_s = LEAST_PAUSE_S * float(2 ** min(max(0, brief - 1), 10))
    return min(MOST_PAUSE_S, max(doubled_s, PAUSE_SHARE * away_s))
