"""HTTP cameras: a site with one path per behaviour, one with a Digest login, and servers that send given bytes."""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np

Reply = bytes | Iterable[bytes] | None

USER, PASSWORD = "viewer", "s3cr/t p@ss"
LOGIN = "viewer:s3cr%2Ft%20p%40ss@"  # the same in a URL


@cache
def jpeg(shade: int) -> bytes:
    return cv2.imencode(".jpg", np.full((48, 64, 3), shade, np.uint8))[1].tobytes()


@contextmanager
def answering(
    reply: Callable[[bytes], Reply], hang_up: bool = False, port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[int]:
    """A port on 127.0.0.1 that answers each request with `reply(request)`: bytes, chunks of bytes, or None for silence.

    With `hang_up`, it closes the connection after the first answer. Port 0 is a free one. `tls` encrypts.
    """
    connections: list[socket.socket] = []

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                if tls:
                    connection = tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                connections.append(connection)
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

    def talk(connection: socket.socket) -> None:
        with suppress(OSError):
            while (request := connection.recv(4096)) and (response := reply(request)) is not None:
                for chunk in [response] if isinstance(response, bytes) else response:
                    connection.sendall(chunk)
                if hang_up:
                    connection.shutdown(socket.SHUT_RDWR)

    with socket.create_server(("127.0.0.1", port)) as listening:
        server = threading.Thread(target=accept, daemon=True)
        server.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            server.join(10)
            for connection in connections:
                connection.close()


def trickle(head: bytes, chunk: bytes, pause_s: float = 0.1) -> Iterator[bytes]:
    """`head`, then `chunk` after each pause, without an end."""
    yield head
    while True:
        threading.Event().wait(pause_s)
        yield chunk


class DigestCamera:
    """Requires a Digest login by RFC 7616, or by RFC 2069 if `qop` is empty. Answers the right one with `body`.

    `protocol` is `HTTP/1.1` or `RTSP/1.0`.
    """

    def __init__(self, algorithm: str, qop: str, body: bytes, protocol: str = "HTTP/1.1") -> None:
        self.algorithm, self.qop, self.body, self.protocol = algorithm, qop, body, protocol

    def __call__(self, request: bytes) -> bytes:
        text = request.decode()
        method, uri, _ = text.split(" ", 2)
        header = re.search(r"^Authorization: Digest (.*?)\r$", text, re.MULTILINE)
        if header and self._is_right(_fields(header[1]), method, uri):
            head = f"{self.protocol} 200 OK\r\nContent-Length: {len(self.body)}\r\n\r\n"
            return head.encode() + self.body
        challenge = 'Digest realm="cam", nonce="n0nce", opaque="o"'
        challenge += f", algorithm={self.algorithm}" if self.algorithm else ""
        challenge += f', qop="{self.qop}"' if self.qop else ""
        return f"{self.protocol} 401 No\r\nWWW-Authenticate: {challenge}\r\nContent-Length: 0\r\n\r\n".encode()

    def _is_right(self, sent: dict[str, str], method: str, uri: str) -> bool:
        algorithm = self.algorithm or "MD5"
        secret = _hash(algorithm, USER, "cam", PASSWORD)
        if algorithm.endswith("-sess"):
            secret = _hash(algorithm, secret, "n0nce", sent.get("cnonce", ""))
        middle = ["00000001", sent.get("cnonce", ""), "auth"] if self.qop else []
        response = _hash(algorithm, secret, "n0nce", *middle, _hash(algorithm, method, uri))
        expected = {"username": USER, "realm": "cam", "nonce": "n0nce", "uri": uri, "opaque": "o"}
        expected |= {"algorithm": self.algorithm} if self.algorithm else {}
        expected |= {"qop": "auth", "nc": "00000001"} if self.qop else {}
        return sent.get("response") == response and expected.items() <= sent.items()


def _fields(header: str) -> dict[str, str]:
    return {name: quoted or plain for name, quoted, plain in re.findall(r'(\w+)=(?:"([^"]*)"|([^",\s]+))', header)}


def _hash(algorithm: str, *parts: str) -> str:
    digest = hashlib.sha256 if algorithm.startswith("SHA-256") else hashlib.md5
    return digest(":".join(parts).encode()).hexdigest()


class Site(BaseHTTPRequestHandler):
    """An HTTP camera with one path per behaviour. `shade` is the grey value of its pictures."""

    shade = 100
    meeting = threading.Barrier(2)
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        handle = getattr(self, "on_" + self.path.strip("/").partition("?")[0], None)
        self.close_connection = True
        if handle is None:
            self.send(404)
        else:
            with suppress(ConnectionError):  # the test has closed the connection
                handle()

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def on_jpeg(self) -> None:
        self.send(200, jpeg(Site.shade), Content_Type="image/jpeg")

    def on_html(self) -> None:
        self.send(200, b"<html>log in</html>", Content_Type="text/html")

    def on_basic(self) -> None:
        expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") == expected:
            self.on_jpeg()
        else:
            self.send(401, WWW_Authenticate='Basic realm="cam"')

    def on_loop(self) -> None:
        self.send(302, Location="/loop")

    def on_huge(self) -> None:
        self.send(200, b"", Content_Length=str(10**9), Content_Type="image/jpeg")

    def on_endless(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "image/jpeg")
        self.end_headers()
        for _ in range(40):
            self.wfile.write(b"\0" * 1024 * 1024)

    def on_cut(self) -> None:
        self.send(200, jpeg(10)[:200], Content_Length=str(len(jpeg(10))), Content_Type="image/jpeg")

    def on_meeting(self) -> None:
        """A stream that starts once two clients have asked for it, or after 1 s."""
        with suppress(threading.BrokenBarrierError):
            Site.meeting.wait(1)
        self.on_stream()

    def on_stream(self, with_length: bool = True, boundary: str = "frame", count: int = 10**6) -> None:
        self.send_response(200)
        self.send_header("Content-Type", f'multipart/x-mixed-replace; boundary="{boundary}"')
        self.end_headers()
        for _ in range(count):
            length = f"Content-Length: {len(jpeg(Site.shade))}\r\n" if with_length else ""
            head = f"\r\n--{boundary.removeprefix('--')}\r\nContent-Type: image/jpeg\r\n{length}\r\n"
            self.wfile.write(head.encode() + jpeg(Site.shade))
            threading.Event().wait(0.04)

    def on_bare(self) -> None:
        self.on_stream(with_length=False, boundary="--odd")

    def on_dashes(self) -> None:
        self.on_stream(boundary="-----odd")

    def on_short(self) -> None:
        self.on_stream(count=20)


@contextmanager
def serving_site() -> Iterator[str]:
    """Host and port of a running Site."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
