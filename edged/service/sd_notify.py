"""What edged tells systemd: ready, status, watchdog, stopping. Does nothing where systemd did not start it."""

from __future__ import annotations

import os
import socket


def notify(*fields: str) -> bool:
    """Send fields such as `READY=1`; whether there was somebody to tell. Raises OSError if that failed."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    if address[0] not in "@/":
        raise OSError(f"NOTIFY_SOCKET is {address!r}, which is not a local socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.connect("\0" + address[1:] if address[0] == "@" else address)
        channel.sendall("\n".join(fields).encode())
    return True


def watchdog_s() -> float | None:
    """The time within which systemd wants to hear WATCHDOG=1, in seconds; None if it does not ask for it."""
    limit, process = os.environ.get("WATCHDOG_USEC"), os.environ.get("WATCHDOG_PID")
    if not limit or (process and int(process) != os.getpid()):
        return None
    return int(limit) / 1e6
