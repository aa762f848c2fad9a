"""The protocol of sd_notify(3). Does nothing if systemd has not started this process."""

from __future__ import annotations

import os
import socket


def notify(*fields: str) -> bool:
    """Send fields such as `READY=1`. False if there is no socket to send to. Raises OSError."""
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
    """systemd's watchdog time-out: seconds within which it expects WATCHDOG=1. None without a watchdog."""
    limit, process = os.environ.get("WATCHDOG_USEC"), os.environ.get("WATCHDOG_PID")
    if not limit or (process and int(process) != os.getpid()):
        return None
    return int(limit) / 1e6
