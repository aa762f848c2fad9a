"""A TCP proxy between edged and a camera or the broker, that fails in the ways of a network."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from random import Random
from typing import Literal, TypeAlias

from support.broker import HOST, free_port, protocol_level
from support.storm.replay import Replayer

# silent: nothing arrives on either side, and nothing is closed. deaf: what the server sends is lost.
# held: what the server sends arrives later. trickle: a few bytes at a time. garbage: other bytes in their place.
# replayed: packets of RTSP connections that begin now arrive again later.
# mqtt 3.1.1: a CONNECT of MQTT 5 is refused; everything else passes.
Mode: TypeAlias = Literal["passing", "silent", "deaf", "held", "trickle", "garbage", "replayed", "mqtt 3.1.1"]

POLL_S = 0.05
UNSUPPORTED_VERSION = b"\x20\x02\x00\x01"  # the CONNACK of a broker that knows MQTT 3.1.1 only
TRICKLE_BYTES = 7


class _Later:
    """Sends to one socket what it is given, `lag_s` later, and keeps the order when the lag ends."""

    def __init__(self, target: socket.socket, lag_s: float) -> None:
        self.lag_s = lag_s
        self._target = target
        self._waiting: SimpleQueue[tuple[float, bytes]] = SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    def send(self, data: bytes) -> None:
        self._waiting.put((time.monotonic(), data))

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                since, data = self._waiting.get()
                while time.monotonic() < since + self.lag_s:
                    time.sleep(POLL_S / 5)
                self._target.sendall(data)


class Proxy:
    """Listens on `port`, and connects to 127.0.0.1:`target`. `affected` counts the connections and pieces of data that
    were cut, lost, delayed or changed."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = free_port()
        self.mode: Mode = "passing"
        self.affected = 0
        self._chance = Random(0)
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._opened: dict[socket.socket, float] = {}
        self._replayers: dict[socket.socket, Replayer] = {}
        self._later: dict[socket.socket, _Later] = {}
        self._listening: socket.socket | None = None
        self.mend()

    def mend(self) -> None:
        """Accept connections, and carry what is sent."""
        self.mode = "passing"
        for later in list(self._later.values()):
            later.lag_s = 0.0
        if self._listening is None:
            self._listening = socket.create_server((HOST, self.port))
            threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def cut(self) -> None:
        """Close every connection, and refuse others until `mend`."""
        listening, self._listening = self._listening, None
        if listening is not None:
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            listening.close()
        self._end(lambda end: end.shutdown(socket.SHUT_RDWR))

    def reset(self) -> None:
        """End every connection with RST."""
        self._end(_reset)

    def fail(self, mode: Mode, seed: int = 0) -> None:
        """Until `mend`."""
        self._chance.seed(seed)
        self.mode = mode

    def lag(self, seconds: float, since_s: float) -> None:
        """What the server sends on the connections that have been open for `since_s` arrives so much later, until
        `mend`."""
        before = time.monotonic() - since_s
        with self._lock:
            old = [near for near, _ in self._pairs if self._opened[near] < before]
        for near in old:
            self._later[near] = _Later(near, seconds)

    def _end(self, end: Callable[[socket.socket], None]) -> None:
        with self._lock:
            pairs, self._pairs = self._pairs, []
        self.affected += len(pairs)
        for each in (each for pair in pairs for each in pair):
            with suppress(OSError):
                end(each)

    def _accept(self, listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listening.accept()
                try:
                    far = socket.create_connection((HOST, self.target), 5)
                except OSError:
                    near.close()
                    continue
                far.settimeout(None)
                with self._lock:
                    self._pairs.append((near, far))
                    self._opened[near] = time.monotonic()
                for each in ((near, far, False), (far, near, True)):
                    threading.Thread(target=self._carry, args=each, daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, downwards: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if self.mode == "mqtt 3.1.1" and not downwards and _asks_for_mqtt_5(data):
                    self.affected += 1
                    source.sendall(UNSUPPORTED_VERSION)
                    break
                self._pass_on(data, target, downwards)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)
        self._later.pop(target, None)
        self._replayers.pop(target, None)
        if downwards:  # the thread of the other direction ends with its socket
            with suppress(OSError):
                target.shutdown(socket.SHUT_RD)
            source.close()
            target.close()
        with self._lock:
            self._pairs = [pair for pair in self._pairs if source not in pair]
            self._opened.pop(source, None)

    def _pass_on(self, data: bytes, target: socket.socket, downwards: bool) -> None:
        mode: Mode = "passing" if self.mode == "mqtt 3.1.1" else self.mode
        if mode == "silent" or (mode == "deaf" and downwards):
            self.affected += 1
            return
        if downwards and (later := self._later.get(target)):
            self.affected += later.lag_s > 0
            later.send(data)
            return
        if mode == "passing" or not downwards:
            target.sendall(data)
            return
        if mode == "replayed":
            replayer = self._replayers.setdefault(target, Replayer(target))
            before = replayer.replayed
            replayer.send(data)
            self.affected += replayer.replayed - before
            return
        self.affected += 1
        if mode == "garbage":
            target.sendall(self._chance.randbytes(len(data)))
        else:
            self._late(data, target, TRICKLE_BYTES if mode == "trickle" else 0)

    def _late(self, data: bytes, target: socket.socket, at_a_time: int) -> None:
        """Send the data once the proxy passes again; before that, so many bytes of it at a time."""
        sent = 0
        while self.mode in ("held", "trickle") and sent < len(data):
            target.sendall(data[sent : sent + at_a_time])
            sent += at_a_time
            time.sleep(POLL_S)
        target.sendall(data[sent:])


def _asks_for_mqtt_5(data: bytes) -> bool:
    return data[:1] == b"\x10" and b"MQTT" in data[:12] and protocol_level(data) == 5


def _reset(end: socket.socket) -> None:
    """Its thread closes the socket when it has noticed; without lingering that sends RST, not FIN."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.shutdown(socket.SHUT_RD)
