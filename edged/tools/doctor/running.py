"""Checks whether edged is running and makes progress: by `bridge/state`, and by the health that it publishes."""

from __future__ import annotations

import time
from typing import Any, TypeAlias

from edged.core.errors import EdgedError
from edged.core.specs import Config
from edged.core.text import spoken
from edged.tools.doctor.check import Check, import_failure
from edged.tools.doctor.config import NO_CONFIG
from edged.tools.doctor.machine import Machine

POLL_S = 0.05
STATE, HEALTH = ("bridge", "state"), ("bridge", "health")
TOGETHER_S = 2.0  # within which both arrive, unless the broker does not let this login read one of them
MAX_AGE_S = 180.0  # edged publishes it every minute
NAME = "edged"

Retained: TypeAlias = dict[tuple[str, ...], dict[str, Any]]


def running(config: Config | None, machine: Machine) -> Check:
    """Reads what is retained. Bounded by the machine's limit for the broker."""
    if config is None:
        return Check(NAME, None, NO_CONFIG)
    try:
        return _judge(_retained(config, machine.broker_s))
    except ImportError as error:
        return Check(NAME, None, f"not tried: {import_failure(error)}")
    except EdgedError as error:
        return Check(NAME, None, f"not known: {error}")


def _judge(retained: Retained) -> Check:
    """By the state, which is right also at once after a stop; the age of the health tells that a running one hangs."""
    if retained.get(STATE, {}).get("state") == "offline":
        detail = "offline: it is stopped, is starting, or has lost the broker"
        return Check(NAME, False, detail, "start edged; its log says why")
    published_at = retained.get(HEALTH, {}).get("ts")
    if not isinstance(published_at, int | float):
        step = "start edged, or wait until it has been up a minute"
        return Check(NAME, False, "has not published bridge/health", step)
    age_s = max(0.0, time.time() - published_at)
    if age_s > MAX_AGE_S:
        return Check(NAME, False, f"has not published bridge/health for {spoken(age_s)}", "edged's log says why")
    return Check(NAME, True, f"running; published bridge/health {spoken(age_s)} ago")


def _retained(config: Config, limit_s: float) -> Retained:
    """The messages of STATE and HEALTH that there are. Raises EdgedError."""
    from edged.mqtt.follower import Follower

    follower, retained = Follower(config.mqtt, config.node), Retained()
    end = time.monotonic() + limit_s
    try:
        follower.start()
        while time.monotonic() < end and len(retained) < 2:
            message = follower.next(POLL_S)
            if message and message.topic in (STATE, HEALTH):
                retained[message.topic] = message.payload or {}
                end = min(end, time.monotonic() + TOGETHER_S)
            elif follower.failure:
                raise EdgedError(follower.failure.text)
        if not (retained or follower.connected):
            raise EdgedError(f"no reply from the broker within {spoken(limit_s)}")
        return retained
    finally:
        follower.close()
