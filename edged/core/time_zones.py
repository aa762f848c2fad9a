"""Time zones by name."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from edged.core.text import printable, shorten


def named_zone(name: str) -> ZoneInfo:
    """The time zone of this IANA name. Raises ValueError with a sentence for the user."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f'"{printable(shorten(name))}" is not a time zone (such as Asia/Seoul or UTC)') from None
