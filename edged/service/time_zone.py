"""The time zone of the schedule: the configured one, or else the system's."""

from __future__ import annotations

import logging
import os
import struct
from datetime import UTC, tzinfo
from functools import cache

import tzlocal

from edged.core.time_zones import named_zone

log = logging.getLogger("edged.schedule")


def zone(name: str | None) -> tzinfo:
    """The time zone of this IANA name; None: the system's. Raises ValueError with a sentence for the user."""
    return _system_zone() if name is None else named_zone(name)


@cache
def _system_zone() -> tzinfo:
    try:
        return tzlocal.get_localzone()
    except (LookupError, ValueError, OSError, struct.error):  # raised for an invalid TZ or a damaged zone file
        variable = os.environ.get("TZ")
        cause = f'TZ="{variable}" is not supported' if variable else "/etc/localtime cannot be read"
        log.warning("unknown system time zone: %s; using UTC (set timezone: in the config)", cause)
        return UTC
