"""The demo's own broker: amqtt on loopback, in a thread with a loop of its own. For trying edged out only."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from edged.core.errors import EdgedError

HOST = "127.0.0.1"
START_S = 15.0  # amqtt's import alone takes a second on a slow machine
CLOSE_S = 5.0
GOODBYE_S = 1.0  # amqtt sometimes waits for a client that is gone
GREETING_S = 10.0
LISTENER = "default"
MQTT_3_1_1 = 4
WRONG_VERSION = b"\x20\x02\x00\x01"  # CONNACK of MQTT 3.1.1: unacceptable protocol version


class DemoBroker:
    """A broker for everybody on this machine. It speaks MQTT 3.1.1, so that retained messages do not expire."""

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    def start(self) -> int:
        """Listen on loopback. The port: the one asked for, or a free one. Raises EdgedError if it cannot."""
        try:
            import amqtt.broker  # noqa: F401
        except ImportError as error:
            raise EdgedError("the demo's broker needs the package amqtt: pip install 'edged[demo]'") from error
        # amqtt logs every packet, and a traceback for every subscriber that goes away.
        for name in ("amqtt", "transitions"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            listening = socket.create_server((HOST, self._port))
        except OSError as error:
            raise EdgedError(f"the demo's broker cannot have port {self._port}: {error.strerror}") from error
        ready: Future[int] = Future()
        self._thread = threading.Thread(target=self._run, args=(listening, ready), name="edged-broker", daemon=True)
        self._thread.start()
        try:
            return ready.result(START_S)
        except TimeoutError as error:
            self.close()
            raise EdgedError(f"the demo's broker did not start within {START_S:.0f} s") from error

    def close(self) -> None:
        """Disconnect everybody and stop. Takes 5 s at most; a second call does nothing."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if self._loop is not None and self._stop is not None:
            with suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._stop.set)
        thread.join(CLOSE_S)

    def _run(self, listening: socket.socket, ready: Future[int]) -> None:
        with listening:
            try:
                asyncio.run(self._serve(listening, ready))
            except Exception as error:
                if ready.done():
                    raise
                ready.set_exception(EdgedError(f"the demo's broker does not start: {error}"))

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

        async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError, EOFError, TimeoutError, ValueError):
                await _welcome(broker, reader, writer)
            writer.close()

        server = await asyncio.start_server(welcome, sock=listening)
        ready.set_result(listening.getsockname()[1])
        await self._stop.wait()
        server.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(broker.shutdown(), GOODBYE_S)


class _Replayed:
    """A reader as amqtt wants it, which begins with what has been read already."""

    def __init__(self, seen: bytes, reader: asyncio.StreamReader) -> None:
        self._seen = seen
        self._reader = reader

    async def read(self, n: int = -1) -> bytes:
        if n < 0:
            return await self._reader.read(n)
        seen, self._seen = self._seen[:n], self._seen[n:]
        return seen if len(seen) == n else seen + await self._reader.readexactly(n - len(seen))

    def feed_eof(self) -> None:
        self._reader.feed_eof()


async def _welcome(broker: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    from amqtt.adapters import StreamWriterAdapter

    # amqtt reads a CONNECT of MQTT 5 as one of 3.1.1 that is not over yet, and waits for ever. So we look first.
    seen, version = await asyncio.wait_for(_connect_head(reader), GREETING_S)
    if version != MQTT_3_1_1:
        writer.write(WRONG_VERSION)
        await writer.drain()
        return
    await broker.external_connected(_Replayed(seen, reader), StreamWriterAdapter(writer), LISTENER)


async def _connect_head(reader: asyncio.StreamReader) -> tuple[bytes, int]:
    """The first bytes of a CONNECT, up to and with the protocol version, and that version."""
    seen = await reader.readexactly(1)
    if seen[0] >> 4 != 1:
        raise ValueError("not a CONNECT")
    for _ in range(4):  # the remaining length takes up to four bytes
        seen += await reader.readexactly(1)
        if seen[-1] < 0x80:
            break
    size = await reader.readexactly(2)
    rest = await reader.readexactly(min(int.from_bytes(size, "big"), 16) + 1)
    return seen + size + rest, rest[-1]
