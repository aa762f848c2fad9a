"""Checks whether edged is running and makes progress, by what it publishes every minute."""

from __future__ import annotations

import time

from edged.core.errors import EdgedError
from edged.core.specs import Config
from edged.core.text import spoken
from edged.tools.doctor.check import Check, import_failure
from edged.tools.doctor.config import NO_CONFIG
from edged.tools.doctor.machine import Machine

POLL_S = 0.05
HEALTH = ("bridge", "health")
MAX_AGE_S = 180.0  # edged publishes it every minute
NAME = "edged"


def running(config: Config | None, machine: Machine) -> Check:
    """Reads the retained bridge/health. Bounded by the machine's limit for the broker."""
    if config is None:
        return Check(NAME, None, NO_CONFIG)
    try:
        published_at = _newest_health(config, machine.broker_s)
    except ImportError as error:
        return Check(NAME, None, f"not tried: {import_failure(error)}")
    except EdgedError as error:
        return Check(NAME, None, f"not known: {error}")
    if published_at is None:
        return Check(
            NAME, False, "has not published bridge/health", "start edged, or wait until it has been up a minute"
        )
    age_s = max(0.0, time.time() - published_at)
    if age_s > MAX_AGE_S:
        return Check(NAME, False, f"has not published bridge/health for {spoken(age_s)}", "edged's log says why")
    return Check(NAME, True, f"running; published bridge/health {spoken(age_s)} ago")


def _newest_health(config: Config, limit_s: float) -> float | None:
    """When bridge/health was published, in seconds since 1970; None if there is none. Raises EdgedError."""
    from edged.mqtt.follower import Follower

    follower = Follower(config.mqtt, config.node)
    end = time.monotonic() + limit_s
    try:
        follower.start()
        while time.monotonic() < end:
            message = follower.next(POLL_S)
            if message and message.topic == HEALTH and message.payload:
                stamp = message.payload.get("ts")
                return float(stamp) if isinstance(stamp, int | float) else None
            if follower.failure:
                raise EdgedError(follower.failure.text)
        if not follower.connected:
            raise EdgedError(f"no reply from the broker within {spoken(limit_s)}")
        return None
    finally:
        follower.close()
