"""Cameras whose sessions last a second: an RTSP and an HTTP server in a process of their own. Prints `READY rtsp http`.

The first part of a path is how each RTSP session ends: /close, /reset, /half (in the middle of a packet), /garbage.
Other RTSP paths do not exist (404), and /login asks for a password. HTTP: /stream, which ends; /jpeg; /cut, a JPEG of
which the end is missing; others do not exist.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.clips import clip
from support.http import jpeg
from support.rtp import payloads, rtp
from support.rtsp_script import Script
from support.rtsp_sdp import description

FPS = 10
SMALL = clip(width=64, height=64, fps=FPS, gop=5, pictures=50)
PICTURES = 10  # of a session
TICKS = 90_000 // FPS
ENDINGS = ("close", "reset", "half", "garbage")
HALF = b"$\0" + (1000).to_bytes(2) + b"\x80\x60half a packet"
GARBAGE = bytes(range(1, 32)) * 100
SHADES = itertools.cycle(range(40, 200))


async def read_request(reader: asyncio.StreamReader) -> tuple[str, str, str] | None:
    """Method, path and CSeq; None at the end. RTCP of the client is skipped."""
    while (first := await reader.read(1)) == b"$":
        await reader.readexactly(int.from_bytes((await reader.readexactly(3))[1:]))
    if not first:
        return None
    head = (first + await reader.readuntil(b"\r\n\r\n")).decode()
    method, url = head.split()[:2]
    sequence = next((line.split(":")[1].strip() for line in head.splitlines() if line.startswith("CSeq")), "0")
    return method, url.partition("://")[2].partition("/")[2], sequence


def answer(sequence: str, status: int, *headers: str, body: str = "") -> bytes:
    length = [f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([f"RTSP/1.0 {status} Scripted", f"CSeq: {sequence}", *headers, *length, "", body]).encode()


async def serve_rtsp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    playing: asyncio.Task[None] | None = None
    with suppress(OSError, asyncio.IncompleteReadError):
        while request := await read_request(reader):
            method, path, sequence = request
            ending = path.partition("/")[0]
            if method == "PLAY":
                writer.write(answer(sequence, 200, "Session: 1"))
                playing = asyncio.create_task(play(writer, ending))
            else:
                writer.write(reply(method, ending, sequence))
            if method == "TEARDOWN":
                break
    if playing:
        playing.cancel()
    writer.close()


def reply(method: str, ending: str, sequence: str) -> bytes:
    match method:
        case "DESCRIBE" if ending == "login":
            return answer(sequence, 401, 'WWW-Authenticate: Basic realm="camera"')
        case "DESCRIBE" if ending not in ENDINGS:
            return answer(sequence, 404)
        case "DESCRIBE":
            return answer(sequence, 200, "Content-Type: application/sdp", body=description(Script(clip=SMALL)))
        case "SETUP":
            return answer(sequence, 200, "Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Session: 1")
        case _:
            return answer(sequence, 200, "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")


async def play(writer: asyncio.StreamWriter, ending: str) -> None:
    sequence = 0
    for place in range(PICTURES):
        parts = payloads(SMALL, SMALL.units[place], True, 1400)
        for number, part in enumerate(parts, 1):
            packet = rtp(part, 96, sequence, place * TICKS, number == len(parts))
            writer.write(b"$\0" + len(packet).to_bytes(2) + packet)
            sequence += 1
        await asyncio.sleep(1 / FPS)
    if ending == "reset":
        writer.transport.abort()
    else:
        writer.write({"half": HALF, "garbage": GARBAGE}.get(ending, b""))
        writer.close()


async def serve_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, asyncio.IncompleteReadError):
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1]
        if path == b"/stream":
            await stream(writer)
        else:
            writer.write(still(path))
            await writer.drain()
    writer.close()


def still(path: bytes) -> bytes:
    body = {b"/jpeg": jpeg(next(SHADES)), b"/cut": jpeg(10)[:200]}.get(path, b"")
    status = "200 OK" if body else "404 No"
    return f"HTTP/1.1 {status}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def stream(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=next\r\n\r\n")
    for _ in range(PICTURES):
        body = jpeg(next(SHADES))
        writer.write(f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        writer.write(b"\r\n")
        await writer.drain()
        await asyncio.sleep(1 / FPS)


async def main() -> None:
    servers = [await asyncio.start_server(serve, "127.0.0.1", 0) for serve in (serve_rtsp, serve_http)]
    print("READY", *(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
