"""Payloads of messages that are on disk only. A store that cannot be read now is tried again every second."""

from __future__ import annotations

import math
import time

from edged.core.errors import MessageUnreadable, StoreUnreadable
from edged.core.interfaces import Store
from edged.mqtt.outbox import Pending

READ_AGAIN_S = 1.0
GIVE_UP_S = 60.0  # the disk may be unable to read one message for good, and others wait behind it


class StoredPayloads:
    """For one thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._failing: dict[int, float] = {}  # messages that cannot be read although others can, and since when
        self._again_at = -math.inf

    @property
    def on_hold(self) -> bool:
        """Nothing is read now, because that has just failed."""
        return time.monotonic() < self._again_at

    def of(self, pending: Pending) -> bytes | None:
        """None if the store does not have it, or cannot read it for GIVE_UP_S although it can read others.

        Raises StoreUnreadable, at once while it is `on_hold`.
        """
        return self.read(pending.number) if pending.payload is None else pending.payload

    def read(self, number: int) -> bytes | None:
        """The same for a message that was not in memory."""
        if self.on_hold:
            raise StoreUnreadable("the store could not be read a moment ago")
        try:
            payload = self._store.payload(number)
        except MessageUnreadable:
            now = time.monotonic()
            if now >= self._failing.setdefault(number, now) + GIVE_UP_S:
                return None
            self._again_at = now + READ_AGAIN_S
            raise
        except StoreUnreadable:
            self._failing.clear()
            self._again_at = time.monotonic() + READ_AGAIN_S
            raise
        self._failing.pop(number, None)
        return payload
