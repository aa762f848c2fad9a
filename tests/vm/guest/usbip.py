"""A simulated USB device on the kernel's `vhci_hcd`: the device's end of the USB/IP protocol, over a socket pair."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections import deque
from pathlib import Path
from typing import Protocol

CONTROLLER = Path("/sys/devices/platform/vhci_hcd.0")
HIGH_SPEED = 3
SUBMIT, UNLINK, SUBMITTED, UNLINKED = 1, 2, 3, 4
STALL, RESET = -32, -104  # EPIPE, ECONNRESET
FREE = "004"  # a port's state in `status`
WAIT_S = 10.0

REQUEST = struct.Struct(">5I5i8s")  # command, seqnum, devid, direction, endpoint; flags, length, ...; setup
SUBMIT_REPLY = struct.Struct(">5I5i8x")
UNLINK_REPLY = struct.Struct(">5Ii24x")


class Device(Protocol):
    """What a simulated device answers."""

    def control(self, setup: bytes, data: bytes) -> bytes | None:
        """The answer to a control request, None to stall it."""

    def plugged(self, wire: Wire) -> None: ...

    def unplugged(self) -> None: ...


class Wire:
    """A plugged device. `send` completes the host's waiting read of the bulk endpoint."""

    def __init__(self, port: int, device: Device) -> None:
        self._port = port
        self._device = device
        self._changed = threading.Condition()
        self._reads: deque[tuple[int, int]] = deque()  # sequence number and length
        self._open = False
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def plug(self) -> None:
        """Attach to the port, once the kernel has released it. Returns before the driver has found the device."""
        wait_until_free(self._port)
        self._ours, kernels = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._open = True
        self._thread.start()
        with kernels:
            (CONTROLLER / "attach").write_text(f"{self._port} {kernels.fileno()} {self._port + 1} {HIGH_SPEED}")
        self._device.plugged(self)

    def unplug(self) -> None:
        """Detach, as if the plug was pulled. Returns when the device's threads have ended."""
        self._close()
        self._device.unplugged()
        self._thread.join(WAIT_S)

    def send(self, data: bytes, seconds: float) -> bool:
        """False if the host does not read within `seconds`, or the device is unplugged."""
        with self._changed:
            self._changed.wait_for(lambda: self._reads or not self._open, seconds)
            if not self._open or not self._reads:
                return False
            number, length = self._reads.popleft()
            return self._reply(
                SUBMIT_REPLY.pack(SUBMITTED, number, 0, 0, 0, 0, len(data[:length]), 0, 0, 0) + data[:length]
            )

    def _serve(self) -> None:
        while (head := self._receive(REQUEST.size)) is not None:
            command, number, _, incoming, endpoint, _, length, _, _, _, setup = REQUEST.unpack(head)
            if command == UNLINK:
                self._unlink(number, struct.unpack_from(">I", head, 20)[0])
            elif endpoint:
                with self._changed:
                    self._reads.append((number, length))
                    self._changed.notify_all()
            else:
                data = b"" if incoming else self._receive(length)
                if data is None:
                    break
                self._control(number, setup, data, bool(incoming))
        self._close()

    def _control(self, number: int, setup: bytes, data: bytes, incoming: bool) -> None:
        answer = self._device.control(setup, data)
        body = (answer or b"") if incoming else b""
        status = STALL if answer is None else 0
        length = len(body) if incoming else len(data)
        with self._changed:
            self._reply(SUBMIT_REPLY.pack(SUBMITTED, number, 0, 0, 0, status, length, 0, 0, 0) + body)

    def _unlink(self, number: int, other: int) -> None:
        with self._changed:
            waiting = [read for read in self._reads if read[0] != other]
            status = RESET if len(waiting) < len(self._reads) else 0
            self._reads = deque(waiting)
            self._reply(UNLINK_REPLY.pack(UNLINKED, number, 0, 0, 0, status))

    def _reply(self, message: bytes) -> bool:
        """Called with the lock, so that messages do not mix."""
        try:
            self._ours.sendall(message)
        except OSError:
            return False
        return True

    def _receive(self, length: int) -> bytes | None:
        data = b""
        while len(data) < length:
            try:
                part = self._ours.recv(length - len(data))
            except OSError:
                return None
            if not part:
                return None
            data += part
        return data

    def _close(self) -> None:
        self._open = False
        with contextlib.suppress(OSError):
            self._ours.shutdown(socket.SHUT_RDWR)
        with self._changed:
            self._changed.notify_all()


def wait_until_free(port: int) -> None:
    deadline = time.monotonic() + WAIT_S
    while state(port) != FREE:
        if time.monotonic() > deadline:
            raise TimeoutError(f"USB port {port} is not released")
        time.sleep(0.02)


def state(port: int) -> str:
    lines = (CONTROLLER / "status").read_text().splitlines()[1:]
    return next(fields[2] for fields in map(str.split, lines) if int(fields[1]) == port)
