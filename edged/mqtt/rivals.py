"""Other programs that use the client id or the node name of this edged. Reported once, and once when they are gone.

Every edged publishes its `instance` on `bridge/health` and reads what others publish there. Two with one client id
disconnect each other whenever they connect; MQTT 5 brokers should say so, but not all do.
"""

from __future__ import annotations

import logging
import math

from edged.core.json_object import json_object
from edged.mqtt.back_off import retry_pause_s

log = logging.getLogger(__name__)

GONE_S = 150.0  # health is published every minute, and the longest pause is one minute too


class Rivals:
    """All times are of the monotonic clock. For one thread."""

    def __init__(self, broker: str, node: str, client_id: str, instance: str) -> None:
        self._broker = broker
        self._node = node
        self._client_id = client_id
        self._instance = instance
        self._logged: set[str] = set()
        self._own_seen = False
        self._foreign: bytes | None = None  # the last retained message that was not ours
        self._seen_at = -math.inf
        self._losses = 0

    @property
    def present(self) -> bool:
        return bool(self._logged)

    def taken_over(self, now: float) -> None:
        """The broker says that another client has connected with our client id."""
        self._seen(now, f'another client connected with the client id "{self._client_id}"')

    def heard(self, payload: bytes, retained: bool, now: float) -> None:
        """A message on `bridge/health`."""
        instance = _instance(payload)
        if instance == self._instance:
            self._own_seen = True
        elif instance is not None and (not retained or self._is_new(payload)):
            self._seen(now, f'another edged with the node name "{self._node}" is running')

    def _is_new(self, retained: bytes) -> bool:
        """True if this was published while this process runs.

        Until our own message came back, it may be of the process before this one. After that, a broker may have
        restored it from a copy that it had saved; but it would restore the same one each time.
        """
        if not self._own_seen:
            return False
        before, self._foreign = self._foreign, retained
        return before is not None and before != retained

    def pause_s(self) -> float:
        """The wait after the connection was lost to another client: 1, 2, 4 s, and so on; at most a minute."""
        self._losses += 1
        return retry_pause_s(self._losses)

    def gone(self, connected_at: float, now: float) -> bool:
        """True, and logged, when there is no other any more: the connection has lasted GONE_S without a sign of one."""
        if not self.present or now < max(connected_at, self._seen_at) + GONE_S:
            return False
        self._logged.clear()
        self._losses = 0
        log.info("broker %s: no other edged with the node name or client id any more", self._broker)
        return True

    def _seen(self, now: float, sign: str) -> None:
        self._seen_at = now
        if sign not in self._logged:
            self._logged.add(sign)
            log.warning("broker %s: %s; each edged needs its own node and client id", self._broker, sign)


def _instance(payload: bytes) -> str | None:
    instance = (json_object(payload) or {}).get("instance")
    return instance if isinstance(instance, str) else None
