"""The demo's broker: amqtt on loopback, in a thread with its own event loop. For the demo and tests only."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from edged.core.errors import EdgedError
from edged.core.pip import pip_install

HOST = "127.0.0.1"
START_S = 15.0  # amqtt's import alone takes a second on a slow machine
CLOSE_S = 5.0
SHUTDOWN_S = 1.0  # amqtt sometimes waits for a client that has gone
CONNECT_S = 10.0
LISTENER = "default"
MQTT_3_1_1 = 4
WRONG_VERSION = b"\x20\x02\x00\x01"  # CONNACK of MQTT 3.1.1: unacceptable protocol version


class DemoBroker:
    """A broker without access control, on loopback. MQTT 3.1.1 only, so retained messages do not expire."""

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    def start(self) -> int:
        """Listen on loopback, on the given port or a free one; the port. Raises EdgedError if that fails."""
        try:
            import amqtt.broker  # noqa: F401
        except ImportError as error:
            install = pip_install("edged[demo]")
            raise EdgedError(f"the demo's broker needs the package amqtt: {install}") from error
        # amqtt logs every packet, and a traceback for each subscriber that disconnects
        for name in ("amqtt", "transitions"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            listening = socket.create_server((HOST, self._port))
        except OSError as error:
            raise EdgedError(f"the demo's broker cannot listen on port {self._port}: {error.strerror}") from error
        ready: Future[int] = Future()
        self._thread = threading.Thread(target=self._run, args=(listening, ready), name="edged-broker", daemon=True)
        self._thread.start()
        try:
            return ready.result(START_S)
        except TimeoutError as error:
            self.close()
            raise EdgedError(f"the demo's broker did not start within {START_S:.0f} s") from error

    def close(self) -> None:
        """Disconnect all clients and stop, within 5 s. A second call does nothing."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if self._loop is not None and self._stop is not None:
            with suppress(RuntimeError):  # the loop has already ended
                self._loop.call_soon_threadsafe(self._stop.set)
        thread.join(CLOSE_S)

    def _run(self, listening: socket.socket, ready: Future[int]) -> None:
        with listening:
            try:
                asyncio.run(self._serve(listening, ready))
            except Exception as error:
                if ready.done():
                    raise
                ready.set_exception(EdgedError(f"the demo's broker failed to start: {error}"))

    async def _serve(self, listening: socket.socket, ready: Future[int]) -> None:
        from amqtt.broker import Broker

        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        broker = Broker(
            {
                "listeners": {LISTENER: {"type": "external"}},
                "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
            }
        )
        await broker.start()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError, EOFError, TimeoutError, ValueError):
                await _accept(broker, reader, writer)
            writer.close()

        server = await asyncio.start_server(accept, sock=listening)
        ready.set_result(listening.getsockname()[1])
        await self._stop.wait()
        server.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(broker.shutdown(), SHUTDOWN_S)


class _ReplayingReader:
    """The reader that amqtt expects, beginning with the bytes that were already read."""

    def __init__(self, head: bytes, reader: asyncio.StreamReader) -> None:
        self._head = head
        self._reader = reader

    async def read(self, n: int = -1) -> bytes:
        if n < 0:
            return await self._reader.read(n)
        head, self._head = self._head[:n], self._head[n:]
        return head if len(head) == n else head + await self._reader.readexactly(n - len(head))

    def feed_eof(self) -> None:
        self._reader.feed_eof()


async def _accept(broker: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    from amqtt.adapters import StreamWriterAdapter

    # amqtt takes a CONNECT of MQTT 5 for an incomplete one of 3.1.1 and waits forever, so its version is read first
    head, version = await asyncio.wait_for(_connect_head(reader), CONNECT_S)
    if version != MQTT_3_1_1:
        writer.write(WRONG_VERSION)
        await writer.drain()
        return
    await broker.external_connected(_ReplayingReader(head, reader), StreamWriterAdapter(writer), LISTENER)


async def _connect_head(reader: asyncio.StreamReader) -> tuple[bytes, int]:
    """The first bytes of a CONNECT, up to and including the protocol version, and the version."""
    head = await reader.readexactly(1)
    if head[0] >> 4 != 1:
        raise ValueError("not a CONNECT")
    for _ in range(4):  # the remaining length takes up to four bytes
        head += await reader.readexactly(1)
        if head[-1] < 0x80:
            break
    size = await reader.readexactly(2)
    rest = await reader.readexactly(min(int.from_bytes(size, "big"), 16) + 1)
    return head + size + rest, rest[-1]
